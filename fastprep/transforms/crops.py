"""Crops of a batch: frozen descriptions that turn (seed, epoch, sample ids) into a crop table.

A crop table is int32, shape (n_out, 4), with one row for each output image: source slot in the batch, y, x and flags. Flags are
the sum of `MIRRORED` (left-right), `FLIPPED` (top-bottom) and `TRANSPOSED` (rows and columns change places, before the others).
The kernels only execute the table.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from fastprep.transforms.geometry import Side, Size, boxes_of, check_flags, check_turn, drawn_rows, has_sizes, resized_size
from fastprep.transforms.table import MIRRORED, Geometry, TransformTable

Order = Literal["tutorial", "torchvision"]


class Crop(Protocol):
    """What `Loader` needs of its argument `crop`. `RandomCrop`, `CenterCrop` and `TenCrop`, for example, provide it."""

    @property
    def height_width(self) -> tuple[int, int]:
        """Height and width of the crops, in pixels."""
        ...

    @property
    def n_crops(self) -> int:
        """Number of crops of each image."""
        ...

    def table(self, height: int, width: int, samples: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int32]:
        """Return the crop table of a batch."""
        ...


# Saved states have the text of a crop, and those of earlier releases know nothing of these
_LATER = ("resize", "turn")


@dataclass(frozen=True, repr=False)
class _Sized:
    size: Size
    resize: Size | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", check_size(self.size))  # so that RandomCrop(3) equals RandomCrop((3, 3))
        if self.resize is not None:
            pair = check_size(self.resize, "resize")
            object.__setattr__(self, "resize", pair if isinstance(self.resize, tuple | list) else pair[0])

    def __repr__(self) -> str:
        shown = [one.name for one in fields(self) if one.name not in _LATER or getattr(self, one.name) != one.default]
        shown.sort(key=lambda name: name in _LATER)
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    @property
    def height_width(self) -> tuple[int, int]:
        """Height and width of the crops, in pixels."""
        return cast(tuple[int, int], self.size)  # since it was checked

    def _check_fits(self, height: Side, width: Side) -> tuple[int, int]:
        return check_fits(self.height_width, height, width, "image" if self.resize is None else "resized image")

    def _resized(self, height: Side, width: Side) -> tuple[Side, Side]:
        return (height, width) if self.resize is None else resized_size(self.resize, height, width)

    def geometry(self, height: Side, width: Side) -> Geometry:
        """Return "box" if images of this size, or of different sizes, are resized, else "crop".

        Raises
        ------
        ValueError
            If the crop is larger than the resized image.
        """
        resized = self._resized(height, width)
        if self.resize is None or (not has_sizes(height) and resized == (height, width)):
            return "crop"
        self._check_fits(*resized)
        return "box"

    def rows(self, height: Side, width: Side, samples: NDArray[np.int64], seed: int, epoch: int) -> TransformTable:
        """Return the geometry of a batch of images of this size, or of these; see `table` for what is drawn."""
        resized = self._resized(height, width)
        crops = self.table(*resized, samples, seed, epoch)
        if self.resize is None or (not has_sizes(height) and resized == (height, width)):
            return TransformTable(crops)
        return boxes_of(crops, self.height_width, resized, height, width)

    def table(self, height: Side, width: Side, samples: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int32]:
        """Return the crop table of a batch."""
        raise NotImplementedError


@dataclass(frozen=True, repr=False)
class RandomCrop(_Sized):
    """A crop at a position that is drawn anew for each sample and epoch.

    Parameters
    ----------
    size : int or (int, int)
        Side, or (height, width), of the crop in pixels.
    mirror : bool
        Mirror left-right with probability 1/2.
    flip : bool
        Flip top-bottom with probability 1/2.
    turn : bool
        Turn by 0, 90, 180 or 270 degrees, each with probability 1/4, before mirroring and flipping; pixels stay as they are. With
        `mirror` that gives the eight symmetries of the square alike, so the crop must be square.
    resize : int or (int, int), optional
        Size to which images are resized before they are cropped, in the same pass; see `Resize`.

    Notes
    -----
    y is uniform in 0..H-h and x in 0..W-w, ends included, both from a stateless hash of (seed, epoch, sample id). So the crop of
    a sample depends neither on its batch, nor on the worker, nor on the shard.
    """

    mirror: bool = field(default=False, kw_only=True)
    flip: bool = field(default=False, kw_only=True)
    turn: bool = field(default=False, kw_only=True)
    n_crops = 1
    is_random = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flags(self)
        check_turn(self.turn, self.height_width)

    def table(self, height: Side, width: Side, samples: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int32]:
        """Return the crop table of a batch.

        Parameters
        ----------
        height, width : int or ndarray of int64, shape (n,)
            Size of the source images in pixels, of all of them or of each; with `resize`, of the resized ones.
        samples : ndarray of int64, shape (n,)
            Sample ids. The image of `samples[k]` is in slot k.
        seed, epoch : int
            The table is a pure function of them, the samples and the size.

        Returns
        -------
        ndarray of int32, shape (n_crops * n, 4)
            Slot, y, x and flags of each crop: first those of slot 0, then those of slot 1, and so on.

        Raises
        ------
        ValueError
            If the crop is larger than the image.
        """
        h, w = self._check_fits(height, width)
        return drawn_rows(self, samples, seed, epoch, (height - h, width - w))


@dataclass(frozen=True, repr=False)
class _FixedCrop(_Sized):
    """Crops at the same positions in every image, for any seed and epoch."""

    order: Order = "tutorial"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order not in ("tutorial", "torchvision"):
            raise ValueError(f'order must be "tutorial" or "torchvision", got {self.order!r}')

    def table(self, height: Side, width: Side, samples: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int32]:
        """Return the crop table of a batch, as `RandomCrop.table` does; `seed` and `epoch` do not matter."""
        h, w = self._check_fits(height, width)
        crops = self._crops(height - h, width - w)
        rows = np.empty((len(samples), len(crops), 4), np.int32)
        rows[:, :, 0] = np.arange(len(samples))[:, None]
        for k, crop in enumerate(crops):
            for column, values in enumerate(crop, 1):
                rows[:, k, column] = values
        return rows.reshape(-1, 4)

    def _crops(self, bottom: Side, right: Side) -> list[tuple[Side, Side, int]]:
        """Return (y, x, flags) of each crop of an image in which crops fit at y = 0..bottom and x = 0..right."""
        raise NotImplementedError

    def _center(self, bottom: Side, right: Side) -> tuple[Side, Side]:
        if self.order == "tutorial":
            return bottom // 2, right // 2
        # half to even, as Python's round(), which torchvision calls
        return np.rint(bottom / 2).astype(np.int64), np.rint(right / 2).astype(np.int64)


@dataclass(frozen=True, repr=False)
class CenterCrop(_FixedCrop):
    """The middle of the image.

    Parameters
    ----------
    size : int or (int, int)
        Side, or (height, width), of the crop in pixels.
    order : {"tutorial", "torchvision"}
        Rounding of the offset (H-h)/2 if it is not whole. "tutorial": down, as in Keras' CenterCrop and in Kornia. "torchvision":
        half to even, as in torchvision.transforms.functional.center_crop.
    resize : int or (int, int), optional
        Size to which images are resized before they are cropped, in the same pass; see `Resize`.
    """

    n_crops = 1

    def _crops(self, bottom: Side, right: Side) -> list[tuple[Side, Side, int]]:
        return [(*self._center(bottom, right), 0)]


@dataclass(frozen=True, repr=False)
class TenCrop(_FixedCrop):
    """The four corners and the centre, and the mirror of each: ten consecutive crops for every image.

    Parameters
    ----------
    size : int or (int, int)
        Side, or (height, width), of the crops in pixels.
    order : {"tutorial", "torchvision"}
        "tutorial": top-left, top-right, bottom-right, bottom-left, centre, then the mirror of each of those crops.
        "torchvision": top-left, top-right, bottom-left, bottom-right, centre, then the same positions in the mirrored image, as
        in torchvision.transforms.functional.ten_crop; so the sixth is the mirror of the top-right crop.
    resize : int or (int, int), optional
        Size to which images are resized before they are cropped, in the same pass; see `Resize`.

    Notes
    -----
    The average of the predictions for these ten crops is from Krizhevsky, Sutskever, Hinton: "ImageNet classification with deep
    convolutional neural networks", NIPS 2012.
    """

    n_crops = 10

    def _crops(self, bottom: Side, right: Side) -> list[tuple[Side, Side, int]]:
        center = self._center(bottom, right)
        if self.order == "tutorial":
            five: list[tuple[Side, Side]] = [(0, 0), (0, right), (bottom, right), (bottom, 0), center]
            mirrored = five
        else:
            five = [(0, 0), (0, right), (bottom, 0), (bottom, right), center]
            mirrored = [(y, right - x) for y, x in five]  # x in the mirrored image is right - x in the image itself
        return [(y, x, 0) for y, x in five] + [(y, x, MIRRORED) for y, x in mirrored]


def check_size(size: Size, name: str = "size") -> tuple[int, int]:
    """Return (height, width) of a side or a pair of sides.

    Raises
    ------
    ValueError
        If it is neither, or if a side is not positive.
    """
    sides = tuple(size) if isinstance(size, tuple | list) else (size, size)
    if len(sides) != 2 or any(isinstance(s, bool) or not isinstance(s, int | np.integer) or s < 1 for s in sides):
        raise ValueError(f"{name} must be a positive integer or (height, width), got {size!r}")
    return int(sides[0]), int(sides[1])


class TooSmallError(ValueError):
    """An image that is smaller than its crop.

    Attributes
    ----------
    number : int
        Which of several images it is.
    """

    def __init__(self, problem: str, number: int) -> None:
        super().__init__(problem)
        self.number = number


def check_fits(size: tuple[int, int], height: Side, width: Side, image: str = "image") -> tuple[int, int]:
    """Return `size`, a pair (height, width) in pixels, if such a crop fits into the image, or into each of several.

    Raises
    ------
    TooSmallError
        If it does not.
    """
    if isinstance(height, int) and isinstance(width, int) and size[0] <= height and size[1] <= width:
        return size  # soon told of a batch of images of one size
    heights, widths = np.atleast_1d(height), np.atleast_1d(width)
    is_small = (size[0] > heights) | (size[1] > widths)
    if is_small.any():
        number = int(is_small.argmax())
        height, width = heights[number % len(heights)], widths[number % len(widths)]
        raise TooSmallError(f"crop is larger than the {image}: {size[0]}x{size[1]} from {height}x{width} pixels", number)
    return size


def fitted(crop: Crop | None, height: int, width: int) -> Crop:
    """Return a crop of images of a size: the whole images for None, and with its own size for one that follows the images'."""
    if crop is None:
        return CenterCrop((height, width))
    return crop.fitted(height, width) if hasattr(crop, "fitted") else crop


def check_crop(crop: object) -> None:
    """Check that an argument is a crop, or None.

    Raises
    ------
    ValueError
        If it is neither None nor a crop; a class such as `RandomCrop` is not a crop.
    """
    if crop is not None and (isinstance(crop, type) or not hasattr(crop, "table")):
        raise ValueError(f"crop must be like RandomCrop(227), CenterCrop(227), TenCrop(227), or None, got {crop!r}")
