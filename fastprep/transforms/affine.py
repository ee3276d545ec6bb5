"""Random rotation, translation, scale and shear of whole images."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fastprep.transforms.crops import check_size
from fastprep.transforms.draws import Draws, Stream
from fastprep.transforms.geometry import Side, Size, check_flags, drawn_rows
from fastprep.transforms.resizing import check_range, numbers_of
from fastprep.transforms.table import FARTHEST, Geometry, TransformTable

Range = tuple[float, float]


@dataclass(frozen=True)
class RandomAffine:
    """Rotation, translation, scale and shear about the centre of the image, drawn anew for each sample and epoch.

    Parameters
    ----------
    size : int or (int, int), optional
        Side, or (height, width), of the central part of the mapped image that is the result, in pixels, placed as
        by `CenterCrop`. None: the size of the image.
    degrees : float or (float, float)
        Range of the rotation in degrees with the clock, (-degrees, degrees) for a number.
    translate : (float, float), optional
        Largest shift to either side as a fraction of the image's width and of its height, in 0..1. Shifts are whole pixels.
    scale : (float, float), optional
        Range of the factor by which the content grows.
    shear : float, (float, float) or (float, float, float, float), optional
        Range of the shear along x in degrees, (-shear, shear) for a number; and with four numbers that along y. Between -90 and
        90.
    fill : float or sequence of C floats
        What there is outside of the image, in the numbers of the source: 0..255 for uint8.
    mirror, flip : bool
        As in `RandomCrop`, after the rest.

    Notes
    -----
    Parameters mean what they do in `torchvision.transforms.v2.RandomAffine`, and each number is uniform in its range, from a
    stateless hash of (seed, epoch, sample id). Pixels are interpolated bilinearly, with `fill` beyond the edges; where content
    shrinks much, it aliases.
    """

    size: Size | None = None
    degrees: float | Range = 0.0
    translate: Range | None = None
    scale: Range | None = None
    shear: float | Range | tuple[float, float, float, float] | None = None
    fill: float | tuple[float, ...] = field(default=0.0, kw_only=True)
    mirror: bool = field(default=False, kw_only=True)
    flip: bool = field(default=False, kw_only=True)
    n_crops = 1
    is_random = True

    def __post_init__(self) -> None:
        # after this, degrees, translate and scale are pairs, and shear four numbers
        checked = {
            "size": None if self.size is None else check_size(self.size),
            "degrees": _range_around_zero("degrees", self.degrees),
            "translate": _fractions("translate", (0.0, 0.0) if self.translate is None else self.translate),
            "scale": check_range("scale", (1.0, 1.0) if self.scale is None else self.scale),
            "shear": _shears(0.0 if self.shear is None else self.shear),
            "fill": tuple(self.fill) if isinstance(self.fill, tuple | list) else self.fill,
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        check_flags(self)

    @property
    def height_width(self) -> tuple[int, int]:
        """Height and width of the result, in pixels.

        Raises
        ------
        ValueError
            If they are those of images of which nothing is known yet.
        """
        if self.size is None:
            raise ValueError("size is None, the size of the images: the crop of a loader has it")
        return check_size(self.size)

    def fitted(self, height: int, width: int) -> RandomAffine:
        """Return the same for images of one size, as `Loader` needs it: with the size of the result."""
        return self if self.size is not None else dataclasses.replace(self, size=(height, width))

    def geometry(self, height: Side, width: Side) -> Geometry:
        """Return "matrix".

        Raises
        ------
        ValueError
            If images of this size could be mapped so far that the kernels can't count the pixels.
        """
        if (farthest := np.max(self.farthest(height, width))) > FARTHEST:
            raise ValueError(
                f"scale and shear of a crop must keep within 2**30 pixels of the image, found up to {farthest:.3g} for images of "
                f"{np.max(height)}x{np.max(width)} pixels: take a larger least scale or a smaller shear, got {self}"
            )
        return "matrix"

    def farthest(self, height: Side, width: Side) -> Any:
        """Return what |a| * w + |b| * h + |c| is at most, for a row (a, b, c) of a matrix and a result of h x w pixels."""
        steepest = math.prod(1 + max(abs(_tangent(np.array(limits)))) for limits in self._shears)
        h, w = (height, width) if self.size is None else self.height_width
        return 4 * steepest / cast(Range, self.scale)[0] * (height + width + (h + w))

    def table(self, height: Side, width: Side, samples: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int32]:
        """Return slots and flags of a batch: int32, shape (n, 4); y and x are 0, since matrices have the places."""
        return drawn_rows(self, samples, seed, epoch)

    def rows(self, height: Side, width: Side, samples: NDArray[np.int64], seed: int, epoch: int) -> TransformTable:
        """Return the geometry of a batch of images of this size, or of these."""
        matrices = self._matrices(height, width, samples, seed, epoch)
        return TransformTable(self.table(height, width, samples, seed, epoch), matrices=matrices)

    def _matrices(self, height: Side, width: Side, samples: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.float64]:
        """Return where each position of the result lies in the source: float64, shape (n, 2, 3)."""
        draws = Draws(samples, seed, epoch)
        shear_x, shear_y = self._shears
        angles = (Stream.ANGLE, cast(Range, self.degrees)), (Stream.SHEAR_X, shear_x), (Stream.SHEAR_Y, shear_y)
        cosines, sines = cosine_and_sine(np.stack([draws.uniform(*angle) for angle in angles]))
        (cosine, *cosines_of_shear), (sine, *sines_of_shear) = cosines, sines
        tangent_x, tangent_y = np.divide(sines_of_shear, cosines_of_shear)
        scale = draws.uniform(Stream.SCALE, cast(Range, self.scale))
        # the map to the result is [[a, b], [c, d]] * scale, of determinant 1 before scaling: rotation @ shear y @ shear x
        a, c = cosine + sine * tangent_y, sine - cosine * tangent_y
        b, d = -a * tangent_x - sine, -c * tangent_x + cosine
        matrices = np.empty((len(samples), 2, 3))
        matrices[:, :, :2] = np.stack([d, -b, -c, a], axis=1).reshape(-1, 2, 2) / scale[:, None, None]
        h, w = (height, width) if self.size is None else self.height_width
        (x, y), (x0, y0) = (width / 2, height / 2), ((width - w) // 2, (height - h) // 2)
        most_x, most_y = (share * side for share, side in zip(cast(Range, self.translate), (width, height), strict=True))
        right = np.rint(draws.uniform(Stream.SHIFT_X, (-most_x, most_x)))
        down = np.rint(draws.uniform(Stream.SHIFT_Y, (-most_y, most_y)))
        corner = np.stack([x0 - x - right, y0 - y - down], axis=1)
        center = np.stack([x, y], axis=-1)
        matrices[:, :, 2] = matrices[:, :, 0] * corner[:, :1] + matrices[:, :, 1] * corner[:, 1:] + center
        return matrices

    @property
    def _shears(self) -> tuple[Range, Range]:
        """Ranges of shear along x and along y, in degrees."""
        four = cast(tuple[float, float, float, float], self.shear)
        return four[:2], four[2:]


def _range_around_zero(name: str, values: object) -> Range:
    """Return (least, largest) of a number, the largest to either side, or of such a pair; in degrees."""
    found = numbers_of(values)
    pair = (-found[0], found[0]) if len(found) == 1 else found
    if len(pair) != 2 or not all(math.isfinite(value) for value in pair) or not pair[0] <= pair[1]:
        raise ValueError(f"{name} must be a number that is not negative, or (least, largest), got {values!r}")
    return pair[0], pair[1]


def _fractions(name: str, values: object) -> Range:
    """Return a pair of numbers in 0..1."""
    pair = numbers_of(values)
    if len(pair) != 2 or not all(0 <= value <= 1 for value in pair):
        raise ValueError(f"{name} must be fractions of width and height, (x, y) in 0..1, got {values!r}")
    return pair[0], pair[1]


def _shears(values: object) -> tuple[float, float, float, float]:
    """Return the ranges of shear along x and along y, in degrees."""
    found = numbers_of(values)
    along_x, along_y = (found[:2], found[2:]) if len(found) == 4 else (values, 0.0)
    ranges = *_range_around_zero("shear", along_x), *_range_around_zero("shear", along_y)
    if not all(abs(value) < 90 for value in ranges):
        raise ValueError(f"shear must lie between -90 and 90 degrees, got {values!r}")
    return ranges


def cosine_and_sine(degrees: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return cosine and sine, the same on every machine, and exact for quarters of a turn.

    They are sums of Taylor's series within an eighth of a turn, whose rest is below 2**-58; libraries differ in the last bit.
    """
    quarter = np.rint(degrees / 90)
    angle = (degrees - 90 * quarter) * (math.pi / 180)
    cosine, sine = np.ones_like(angle), np.ones_like(angle)
    for k in range(16, 0, -2):
        cosine = 1 - cosine * angle * angle / (k * (k - 1))
        sine = 1 - sine * angle * angle / (k * (k + 1))
    sine = sine * angle
    turned = quarter % 4
    by_turns = [turned == k for k in range(4)]
    return np.select(by_turns, [cosine, -sine, -cosine, sine]), np.select(by_turns, [sine, cosine, -sine, -cosine])


def _tangent(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    cosine, sine = cosine_and_sine(degrees)
    return sine / cosine
