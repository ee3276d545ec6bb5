"""Policies: operations out of a list, drawn for each row of x, each with a magnitude."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fastprep.transforms.affine import cosine_and_sine
from fastprep.transforms.colors import compose_colors, jittered, places_of, twisted, white_of
from fastprep.transforms.draws import Draws, Stream, check_integer_in, check_positive
from fastprep.transforms.geometry import compose_positions

GEOMETRY = ("rotation", "shear_x", "shear_y", "translation_x", "translation_y")
COLORS = ("brightness", "contrast", "color")
OPERATIONS = ("identity", *GEOMETRY, *COLORS)

_MOST_BINS = 1001
_MOST_OPERATIONS = 16

Levels = Mapping[str, NDArray[np.float64]]
"""The level of each operation for each row, with its sign, out of `bins` - 1; 0 for all but the one that was drawn."""


@dataclass(frozen=True)
class Policy:
    """What `RandAugment` and `TrivialAugment` have in common.

    Parameters
    ----------
    operations : sequence of str
        Those that are drawn, each as often.
    bins : int
        Number of magnitudes of an operation, from none to its largest in equal steps.
    fill : float or sequence of C floats, optional
        What there is outside of the image, in the numbers of the source. None: what the crop says, or 0.
    white : float, optional
        As in `ColorJitter`.
    """

    operations: Sequence[str] = field(default=OPERATIONS, kw_only=True)
    bins: int = field(default=31, kw_only=True)
    fill: float | tuple[float, ...] | None = field(default=None, kw_only=True)
    white: float | None = field(default=None, kw_only=True)

    _degrees: ClassVar[float]
    _shear: ClassVar[float]
    _change: ClassVar[float]

    def __post_init__(self) -> None:
        checked = {
            "operations": _check_operations(self.operations),
            "bins": check_integer_in("bins", self.bins, 2, _MOST_BINS),
            "fill": tuple(self.fill) if isinstance(self.fill, tuple | list) else self.fill,
            "white": None if self.white is None else check_positive("white", self.white),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        if self.fill is not None and not self.has_geometry:
            raise ValueError(
                f"fill goes with operations that move pixels, and {self.operations} do not: leave fill={self.fill} out"
            )

    @property
    def has_geometry(self) -> bool:
        """Whether an operation moves pixels."""
        return not set(GEOMETRY).isdisjoint(self.operations)

    @property
    def has_colors(self) -> bool:
        """Whether an operation changes colours."""
        return not set(COLORS).isdisjoint(self.operations)

    def fitted(self, dtype: str) -> Policy:
        """Return the same for images of a dtype, with the value of white.

        Raises
        ------
        ValueError
            If the contrast is changed, images are not of uint8, and `white` is None.
        """
        if "contrast" not in self.operations:
            return self
        return dataclasses.replace(self, white=white_of(self, self.white, dtype, "policy"))

    def positions(
        self, height: int, width: int, samples: NDArray[np.int64], seed: int, epoch: int, n_crops: int = 1
    ) -> NDArray[np.float64]:
        """Return where each position of the result lies in the crop.

        Parameters
        ----------
        height, width : int
            Size of the crop and of the result, in pixels.
        samples : ndarray of int64, shape (n,)
            Sample ids.
        seed, epoch : int
        n_crops : int
            Rows of each sample, each of which has draws of its own.

        Returns
        -------
        ndarray of float64, shape (n * n_crops, 2, 3)
            (x, y) in the crop = matrix @ (column, row, 1) in the result, in pixels; the centre of a pixel is at one half.
        """
        each = [self._positions(height, width, levels) for levels in self._levels(samples, seed, epoch, n_crops)]
        return functools.reduce(compose_positions, each)

    def matrices(
        self, samples: NDArray[np.int64], seed: int, epoch: int, channel_order: str | None = None, n_crops: int = 1
    ) -> NDArray[np.float64]:
        """Return the linear map of the channels of each row, as `ColorJitter.matrices` does: shape (n * n_crops, C, C + 1).

        Raises
        ------
        ValueError
            If images have other channels than R, G and B, or one channel, which has no colour to change.
        """
        places = places_of(channel_order, self, "policy")
        if len(places) == 1 and "color" in self.operations:
            others = tuple(name for name in self.operations if name != "color")
            raise ValueError(f'policy: images with one channel have no "color" to change: pass operations={others}')
        return compose_colors([self._maps(levels, places) for levels in self._levels(samples, seed, epoch, n_crops)])

    def reach(self, height: int, width: int) -> float:
        """Return by how much |a| * width + |b| * height + |c| of a row (a, b, c) of a matrix may grow at most.

        About the centre, rotation keeps lengths, and shear stretches them by its larger singular value.
        """
        stretch = ((self._shear + math.hypot(self._shear, 2)) / 2) ** self._n_drawn
        farthest = self._n_drawn * max(self._shifts(height, width))
        return 1 + stretch * (1.5 * (height + width) + farthest) / min(height, width)

    @property
    def _n_drawn(self) -> int:
        """Number of operations that are drawn for each row, one applied after the other."""
        return 1

    def _shifts(self, height: int, width: int) -> tuple[float, float]:
        """Return the largest translation along x and along y, in pixels."""
        raise NotImplementedError

    def _bins_drawn(self, draws: Draws, *turn: int) -> NDArray[np.int64]:
        """Return the number of the magnitude of each sample, 0..bins - 1."""
        raise NotImplementedError

    def _levels(self, samples: NDArray[np.int64], seed: int, epoch: int, n_crops: int) -> list[Levels]:
        """Draw the operations of each row, in their order."""
        draws = Draws(samples, seed, epoch)
        steps: list[Levels] = []
        for step in range(self._n_drawn):
            rows = []
            for crop in range(n_crops):
                operation = draws.integers(Stream.POLICY_OPERATION, len(self.operations), step, crop)
                sign = 1.0 - 2.0 * draws.integers(Stream.POLICY_SIGN, 2, step, crop)
                rows.append((operation, sign * self._bins_drawn(draws, step, crop)))
            operations, levels = (np.stack(part, axis=1).ravel() for part in zip(*rows, strict=True))
            steps.append({name: np.where(operations == k, levels, 0.0) for k, name in enumerate(self.operations)})
        return steps

    def _magnitude(self, levels: Levels, name: str, largest: float) -> NDArray[np.float64]:
        """Return the magnitude of an operation for each row; 0 where another one was drawn, or it is never drawn."""
        return largest * levels.get(name, np.zeros_like(levels[self.operations[0]])) / (self.bins - 1)

    def _positions(self, height: int, width: int, levels: Levels) -> NDArray[np.float64]:
        """Return the map from the result of one operation to what it was applied to, about the centre: shape (n, 2, 3)."""
        most_x, most_y = self._shifts(height, width)
        cosine, sine = cosine_and_sine(self._magnitude(levels, "rotation", self._degrees))
        shear_x, shear_y = (self._magnitude(levels, name, self._shear) for name in ("shear_x", "shear_y"))
        right = np.trunc(self._magnitude(levels, "translation_x", most_x))
        down = np.trunc(self._magnitude(levels, "translation_y", most_y))
        matrices = np.empty((len(cosine), 2, 3))
        matrices[:, 0, 0] = matrices[:, 1, 1] = cosine
        matrices[:, 0, 1], matrices[:, 1, 0] = sine + shear_x, shear_y - sine
        x, y = width / 2, height / 2
        matrices[:, 0, 2] = x - cosine * x - matrices[:, 0, 1] * y - right
        matrices[:, 1, 2] = y - matrices[:, 1, 0] * x - cosine * y - down
        return matrices

    def _maps(self, levels: Levels, places: Sequence[int]) -> NDArray[np.float64]:
        """Return the map of the channels by one operation: shape (n, C, C + 1). It is the identity where none was drawn."""
        brightness, contrast, saturation = (1 + self._magnitude(levels, name, self._change) for name in COLORS)
        twist = twisted(saturation, np.zeros_like(saturation))
        twist[saturation == 1] = np.eye(3)
        return jittered(brightness, contrast, twist, places, self.white)


@dataclass(frozen=True)
class RandAugment(Policy):
    """A few operations out of a list for each row of x, all of one magnitude, one applied after the other.

    Parameters
    ----------
    n : int
        Number of operations, 1..16. Each is drawn from the whole list, so that one may come twice.
    magnitude : int
        Number of their magnitude, 0..bins - 1; half of them have the opposite sign.
    operations : sequence of str
        Those that are drawn, each as often: out of "identity", "rotation", "shear_x", "shear_y", "translation_x",
        "translation_y", "brightness", "contrast" and "color". Without the five in the middle, a crop stays what it is.
    bins : int
        Number of magnitudes of an operation, 2..1001, from none to its largest in equal steps.
    fill : float or sequence of C floats, optional
        What there is outside of the image, in the numbers of the source: 0..255 for uint8. Colours change it, too. None: the
        `fill` of the crop if it has one, and else 0.
    white : float, optional
        As in `ColorJitter`, for contrast.

    Notes
    -----
    The largest magnitudes are 30 degrees of rotation, a shear by 0.3 pixels for each pixel, a translation by 150/331 of a side,
    cut to whole pixels, and factors of 1 - 0.9 and 1 + 0.9. They are those of ``torchvision.transforms.v2.RandAugment``.
    Operations are drawn by hashes of (seed, epoch, sample, row of the sample). What is done to a row is one matrix, and one
    linear map of its channels, defined as in `ColorJitter`.

    Five of the operations of the paper are not linear or not local, so they are not in the list: posterize, solarize,
    autocontrast, equalize and sharpness.

    References
    ----------
    Cubuk, Zoph, Shlens, Le: "RandAugment: Practical automated data augmentation with a reduced search space", CVPR workshops
    2020.
    """

    n: int = 2
    magnitude: int = 9

    _degrees: ClassVar = 30.0
    _shear: ClassVar = 0.3
    _change: ClassVar = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "n", check_integer_in("n", self.n, 1, _MOST_OPERATIONS))
        object.__setattr__(self, "magnitude", check_integer_in("magnitude", self.magnitude, 0, self.bins - 1))

    @property
    def _n_drawn(self) -> int:
        return self.n

    def _shifts(self, height: int, width: int) -> tuple[float, float]:
        return 150 * width / 331, 150 * height / 331

    def _bins_drawn(self, draws: Draws, *turn: int) -> NDArray[np.int64]:
        return np.full(len(draws.samples), self.magnitude)


@dataclass(frozen=True)
class TrivialAugment(Policy):
    """One operation out of a list for each row of x, of a random magnitude.

    Parameters
    ----------
    operations, bins, fill, white
        As in `RandAugment`.

    Notes
    -----
    The largest magnitudes are 135 degrees of rotation, a shear by 0.99 pixels for each pixel, a translation by 32 pixels, cut to
    whole ones, and factors of 1 - 0.99 and 1 + 0.99. They are those of ``torchvision.transforms.v2.TrivialAugmentWide``. The
    rest is as in `RandAugment`.

    References
    ----------
    Müller, Hutter: "TrivialAugment: Tuning-free yet state-of-the-art data augmentation", ICCV 2021.
    """

    _degrees: ClassVar = 135.0
    _shear: ClassVar = 0.99
    _change: ClassVar = 0.99

    def _shifts(self, height: int, width: int) -> tuple[float, float]:
        return 32.0, 32.0

    def _bins_drawn(self, draws: Draws, *turn: int) -> NDArray[np.int64]:
        return draws.integers(Stream.POLICY_BIN, self.bins, *turn)


def _check_operations(names: object) -> tuple[str, ...]:
    """Return the names of operations in the order of `OPERATIONS`."""
    found = tuple(names) if isinstance(names, tuple | list) else ()
    if not found or any(name not in OPERATIONS for name in found) or len(set(found)) < len(found) or found == ("identity",):
        rule = "operations must be different ones out of " + ", ".join(map(repr, OPERATIONS))
        raise ValueError(f"{rule}, and one of them not 'identity', got {names!r}")
    return tuple(name for name in OPERATIONS if name in found)
