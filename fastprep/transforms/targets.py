"""Targets that follow the geometry of their images: masks, boxes and points. The argument `labels` of a loader takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from fastprep.transforms.box_formats import FORMATS
from fastprep.transforms.draws import is_number

Interpolation = Literal["nearest", "bilinear"]
_MOST_CLASSES = 256  # of a mask, which uint8 holds


@dataclass(frozen=True, eq=False)
class Mask:
    """Masks that are cropped, mirrored, turned and resized with their images.

    Parameters
    ----------
    source : str or array_like
        Name of the dataset of masks in each file, shape (N, H, W) or (N, H, W, C) unless `axes` or the file name others, with the
        height and the width of the images; FILE:NAME for a dataset of other files; or an array of such a shape. A dataset may
        also have a PNG, TIFF, GIF or BMP for each mask, as rows of bytes, which has the size of its image.
    axes : str or None, default None
        Axes of that dataset, as those of the images in `fastprep.Loader`, such as "NWH". Not for an array.
    interpolation : {"nearest", "bilinear"}, default "nearest"
        "nearest" takes the number of one pixel, so that numbers of classes stay such, and keeps the type. "bilinear" is for
        quantities such as depths: it resizes as images are resized, and gives float32.
    classes : sequence of float or None, default None
        Numbers that stand in the masks, one for each class: batches then have the place of each number in this sequence, 0 to
        255 as uint8. ``classes=(0, 255)`` makes 0 and 1 of black and white. A mask with another number is an error. None hands
        the numbers on as they are stored. It needs "nearest".
    fill : float or None, default None
        What there is outside of a mask, where a crop or a policy turns or shifts images: with `classes` one of them. None is 0,
        or the first one of `classes`.

    Raises
    ------
    ValueError
        If an argument is not as above.

    Examples
    --------
    >>> crop = fastprep.RandomCrop(224, mirror=True)
    >>> fastprep.Loader("train.h5", 16, crop, labels=fastprep.Mask("masks"))
    >>> fastprep.Loader("cells.h5", 16, crop, labels=fastprep.Mask("masks", classes=(0, 255)))
    """

    source: Any
    axes: str | None = field(default=None, kw_only=True)
    interpolation: Interpolation = field(default="nearest", kw_only=True)
    classes: Sequence[float] | None = field(default=None, kw_only=True)
    fill: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_source("Mask", self.source)
        if self.interpolation not in ("nearest", "bilinear"):
            raise ValueError(f'interpolation of a Mask must be "nearest" or "bilinear", got {self.interpolation!r}')
        if self.classes is not None:
            object.__setattr__(self, "classes", _classes_of_masks(self.classes))
            if self.interpolation != "nearest":
                raise ValueError('classes of a Mask need interpolation="nearest": between two classes there is none')
        if self.fill is None:
            object.__setattr__(self, "fill", self.classes[0] if self.classes else 0)
        if isinstance(self.fill, bool) or not isinstance(self.fill, int | float | np.number):
            raise ValueError(f"fill of a Mask must be a number, got {self.fill!r}")
        if self.classes is not None and self.fill not in self.classes:
            raise ValueError(f"fill of a Mask must be one of its classes, {self.classes}, got {self.fill!r}")
        if self.axes is not None and not isinstance(self.source, str):
            raise ValueError("axes of a Mask are for the name of a dataset; transpose an array to (N, H, W) or (N, H, W, C)")


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes around objects, which are mapped with their images.

    A batch has an array of float32, shape (rows, max_boxes, 4), or (rows, max_boxes, 5) with the class of each box in the last
    column. Boxes are mapped by their corners, and clipped to the image. Those of which too little is left are dropped; the others
    come first, in the order that they are stored in, and the rest is filled up with -1.

    Parameters
    ----------
    source : str or array_like
        Name of the dataset of boxes in each file, FILE:NAME, or an array: shape (N, M, 4), (N, M, 5) with a class in the last
        column, or (N, 4) with one box for each image. The datasets may also have rows of variable length with four numbers for
        each box, and arrays may be a list with an array of shape (M, 4) or (M, 5) for each image. Boxes that have no area, or
        NaN, count as none.
    format : str, default "xyxy"
        What the four numbers are, as in Keras: "xyxy" for left, top, right and bottom edge, "yxyx", "xywh" for left and top edge,
        width and height, or "center_xywh"; and each of these with ``rel_`` before it for numbers relative to width and height of
        the image. Others are pixels, of which pixel k covers k..k+1. Batches have the same format, for the output image. Images
        of different sizes count each by itself.
    max_boxes : int or None, default None
        Number of boxes in each row; of more that are left after the crop, the first ones are taken. None takes the largest number
        that an image of these files has, which may be another one for the files for validation.
    min_visible : float, default 0
        Least share of a box's area, after mapping, that must lie in the output image, 0..1; 0.0001 less will do, because edges
        are rounded. A box with sides of less than a thousandth of a pixel in it is dropped in any case.
    classes : str, array_like or None, default None
        Class of each box, in a dataset or an array of its own: shape (N, M), or rows as long as those of the boxes have boxes.
        Classes are finite and not negative, and float32 holds them: whole numbers up to 2**24.

    Raises
    ------
    ValueError
        If an argument is not as above.
    """

    source: Any
    format: str = field(default="xyxy", kw_only=True)
    max_boxes: int | None = field(default=None, kw_only=True)
    min_visible: float = field(default=0.0, kw_only=True)
    classes: Any = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_source("Boxes", self.source)
        if self.classes is not None:
            check_source("classes of Boxes", self.classes)
        if self.format not in FORMATS:
            raise ValueError(f"format of Boxes must be one of {', '.join(FORMATS)}, got {self.format!r}")
        n = self.max_boxes
        if n is not None and (isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1):
            raise ValueError(f"max_boxes of Boxes must be an integer of at least 1, or None, got {n!r}")
        share = self.min_visible
        if not is_number(share) or not 0 <= share <= 1:
            raise ValueError(f"min_visible of Boxes must be a number in 0..1, got {share!r}")


@dataclass(frozen=True, eq=False)
class Points:
    """Points in images, such as those of faces and bodies, which are mapped with their images.

    A batch has an array of float32, shape (rows, M, 3): x, y, and 0 for a point that is not in the output image. For others, the
    last number is the visibility that is stored, or 1. x and y of points that are not in the image are 0.

    Parameters
    ----------
    source : str or array_like
        Name of the dataset of points in each file, FILE:NAME, or an array: x and y in pixels, shape (N, M, 2), (N, M, 3) with a
        visibility, which is 0 for a point that is not labelled, or flat rows of x and y, (N, 2 * M). A point with NaN is not
        labelled. Flat rows with a visibility have to be reshaped to (N, M, 3).
    center : float, default 0.5
        Position of the centre of the first pixel: 0.5 where pixel k covers k..k+1, and 0 where points are numbers of pixels.
    pairs : sequence of (int, int), default ()
        Numbers of the points that change places where an image is mirrored, such as the left and the right eye.

    Raises
    ------
    ValueError
        If an argument is not as above.
    """

    source: Any
    center: float = field(default=0.5, kw_only=True)
    pairs: Sequence[tuple[int, int]] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        check_source("Points", self.source)
        if not is_number(self.center) or self.center not in (0, 0.5):
            raise ValueError(f"center of Points must be 0.5 or 0, got {self.center!r}")
        pairs = tuple(self.pairs) if isinstance(self.pairs, list | tuple) else ((),)
        if not all(isinstance(pair, list | tuple) and len(pair) == 2 and all(map(_is_number, pair)) for pair in pairs):
            raise ValueError(f"pairs of Points must be pairs of their numbers, from 0 on, got {self.pairs!r}")
        named = [int(number) for pair in pairs for number in pair]
        if len(set(named)) < len(named):
            raise ValueError(f"pairs of Points must name each point once, got {self.pairs!r}")
        object.__setattr__(self, "pairs", tuple((int(one), int(other)) for one, other in pairs))


Target = Mask | Boxes | Points
"""What follows the geometry of its images."""


def _classes_of_masks(classes: Any) -> tuple[float, ...]:
    """Return the numbers of classes in masks as a tuple."""
    numbers = list(classes) if isinstance(classes, Sequence | np.ndarray) and not isinstance(classes, str) else []
    are_different = all(map(is_number, numbers)) and len(set(numbers)) == len(numbers)
    if not are_different or not 0 < len(numbers) <= _MOST_CLASSES:
        rule = f"classes of a Mask must be different finite numbers, {_MOST_CLASSES} at most, such as (0, 255)"
        raise ValueError(f"{rule}, got {classes!r}")
    return tuple(np.asarray(numbers).tolist())


def check_source(owner: str, source: ArrayLike | str) -> None:
    """Check that a source is a name, or may be an array.

    Raises
    ------
    ValueError
        If it is neither.
    """
    is_array = isinstance(source, list | tuple) or hasattr(source, "__array__")
    if not is_array and not (isinstance(source, str) and source):
        raise ValueError(f"{owner} must be of a dataset's name, FILE:NAME, or an array, got {source!r:.80}")


def _is_number(number: object) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool) and bool(number >= 0)
