"""Crops that resize: the whole image, or a part of random area and shape."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray

from fastprep.transforms.crops import check_size
from fastprep.transforms.draws import Draws, Stream
from fastprep.transforms.geometry import Side, Size, check_flags, check_turn, drawn_rows, first_rows, has_sizes, resized_size
from fastprep.transforms.table import Geometry, TransformTable


@dataclass(frozen=True)
class Resize:
    """The whole image, resized by a triangle filter that reaches as far as the reduction asks for, so that nothing aliases.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the result in pixels; or the length of its shorter side, to which the longer one is in proportion,
        rounded down as in `torchvision.transforms.Resize`.

    Notes
    -----
    Output pixel i has its centre at (i + 1/2) * source length / output length. Results are within one of 256 levels of Pillow's
    ``resize(size, BILINEAR)``, which rounds to 8 bits twice on the way.
    """

    size: Size
    n_crops = 1

    def __post_init__(self) -> None:
        pair = check_size(self.size)
        object.__setattr__(self, "size", pair if isinstance(self.size, tuple | list) else pair[0])

    def fitted(self, height: int, width: int) -> Resize:
        """Return the same for images of one size, as `Loader` needs it: with both sides of the result."""
        return Resize(cast(Size, resized_size(self.size, height, width)))

    @property
    def height_width(self) -> tuple[int, int]:
        """Height and width of the result, in pixels. A single number counts for both sides until the images' size is known."""
        return check_size(self.size)

    def geometry(self, height: Side, width: Side) -> Geometry:
        """Return "box", or "crop" for images that all have that size."""
        return "crop" if not has_sizes(height) and resized_size(self.size, height, width) == (height, width) else "box"

    def table(self, height: Side, width: Side, samples: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int32]:
        """Return slots and flags of a batch: int32, shape (n, 4), the slot of each sample, and zeros."""
        return first_rows(len(samples))

    def rows(self, height: Side, width: Side, samples: NDArray[np.int64], seed: int, epoch: int) -> TransformTable:
        """Return the geometry of a batch of images of this size, or of these."""
        crops = self.table(height, width, samples, seed, epoch)
        if self.geometry(height, width) == "crop":
            return TransformTable(crops)
        boxes = np.zeros((len(samples), 4))
        boxes[:, 2], boxes[:, 3] = height, width
        return TransformTable(crops, boxes)


@dataclass(frozen=True)
class RandomResizedCrop:
    """A part of random area and aspect ratio at a random place, resized to one size; drawn anew for each sample and epoch.

    Parameters
    ----------
    size : int or (int, int)
        Side, or (height, width), of the result in pixels.
    scale : (float, float)
        Least and largest area of the part, as a fraction of the image's.
    ratio : (float, float)
        Least and largest width of the part, as a multiple of its height.
    mirror, flip, turn : bool
        As in `RandomCrop`.

    Notes
    -----
    Parts are distributed as those of `torchvision.transforms.RandomResizedCrop.get_params`: the area is uniform and the logarithm
    of the ratio is uniform, both sides are rounded to whole pixels, the first of ten tries that fits into the image is taken, and
    if none does, the largest central part with a ratio in the range. Each number is a stateless hash of (seed, epoch, sample id,
    try). They are resized as by `Resize`; pixels around the part count where the filter reaches them.

    References
    ----------
    Szegedy et al.: "Going deeper with convolutions", CVPR 2015, section 6.
    """

    size: Size
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    mirror: bool = field(default=False, kw_only=True)
    flip: bool = field(default=False, kw_only=True)
    turn: bool = field(default=False, kw_only=True)
    n_crops = 1
    is_random = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", check_size(self.size))
        for name, most in (("scale", 1.0), ("ratio", math.inf)):
            object.__setattr__(self, name, check_range(name, getattr(self, name), most))
        check_flags(self)
        check_turn(self.turn, self.height_width)

    @property
    def height_width(self) -> tuple[int, int]:
        """Height and width of the result, in pixels."""
        return check_size(self.size)

    def geometry(self, height: Side, width: Side) -> Geometry:
        """Return "box"."""
        return "box"

    def table(self, height: Side, width: Side, samples: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int32]:
        """Return slots and flags of a batch: int32, shape (n, 4); y and x are 0, since boxes have the places."""
        return drawn_rows(self, samples, seed, epoch)

    def rows(self, height: Side, width: Side, samples: NDArray[np.int64], seed: int, epoch: int) -> TransformTable:
        """Return the geometry of a batch of images of this size, or of these."""
        return TransformTable(
            self.table(height, width, samples, seed, epoch), self._boxes(height, width, samples, seed, epoch).astype(np.float64)
        )

    def _boxes(self, height: Side, width: Side, samples: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int64]:
        """Return y, x, height and width of each part in pixels: int64, shape (n, 4)."""
        draws, size = Draws(samples, seed, epoch), (height, width)
        streams = Stream.PART_AREA, Stream.PART_ASPECT
        sides = draws.sides(*streams, self.scale, self.ratio, size, least=1, most=(width, height))[:, ::-1]  # widths to heights
        has_none = (sides == 0).any(axis=1)
        sides = np.where(has_none[:, None], np.stack(self._fallback(height, width), axis=-1), sides)
        places = draws.places(Stream.PART_Y, Stream.PART_X, size, sides)
        places[has_none] = ((np.stack(size, axis=-1) - sides) // 2)[has_none]
        return np.concatenate([places, sides], axis=1)

    def _fallback(self, height: Side, width: Side) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return height and width of the largest part with a ratio in the range."""
        least, largest = self.ratio
        quotient = width / height
        lower = np.rint(np.clip(width / least, 1, height)).astype(np.int64)
        narrower = np.rint(np.clip(height * largest, 1, width)).astype(np.int64)
        return np.where(quotient < least, lower, height), np.where(quotient > largest, narrower, width)


def numbers_of(values: object) -> tuple[float, ...]:
    """Return a number, or a tuple or list of numbers, as floats; nothing for anything else."""
    several = tuple(values) if isinstance(values, tuple | list) else (values,)
    if any(isinstance(value, bool) or not isinstance(value, numbers.Real) for value in several):
        return ()
    return tuple(float(value) for value in several)


def check_range(name: str, values: object, most: float = math.inf) -> tuple[float, float]:
    """Return a range of positive numbers.

    Raises
    ------
    ValueError
        If it is not a pair of ascending numbers in 0..most without 0.
    """
    pair = numbers_of(values)
    if len(pair) != 2:
        raise ValueError(f"{name} must be (least, largest), got {values!r}")
    if not 0 < pair[0] <= pair[1] or not pair[1] <= most or math.isinf(pair[1]):
        limit = "" if math.isinf(most) else f", at most {most:g}"
        raise ValueError(f"{name} must be positive and ascending{limit}, got {values!r}")
    return pair[0], pair[1]
