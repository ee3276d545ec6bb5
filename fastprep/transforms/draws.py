"""Random numbers of transforms: pure functions of (seed, epoch, sample), each kind on a stream of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.sampling import hashing

_TRIES = 10
Range = tuple[float, float]
Sides = tuple[int | NDArray[np.int64], int | NDArray[np.int64]]


class Stream(IntEnum):
    """Names of the streams. A number that changes changes every user's epochs."""

    Y = 1
    X = 2
    MIRROR = 3
    FLIP = 4
    TURN = 5
    PART_AREA = 6
    PART_ASPECT = 7
    PART_Y = 8
    PART_X = 9
    ANGLE = 10
    SHIFT_X = 11
    SHIFT_Y = 12
    SCALE = 13
    SHEAR_X = 14
    SHEAR_Y = 15
    BRIGHTNESS = 20
    CONTRAST = 21
    SATURATION = 22
    HUE = 23
    GRAYSCALE = 24
    LIGHTING = 25
    PERMUTES = 30
    PERMUTATION = 31
    ERASES = 40
    ERASED_AREA = 41
    ERASED_RATIO = 42
    ERASED_Y = 43
    ERASED_X = 44
    MIXES = 50
    MIXED_SHARE = 51
    CUTS = 52
    CUT_SHARE = 53
    CUT_Y = 54
    CUT_X = 55
    SWITCHES = 56
    FUNCTION = 60
    POLICY_OPERATION = 70
    POLICY_SIGN = 71
    POLICY_BIN = 72


class Draws:
    """Random numbers of some samples.

    Parameters
    ----------
    samples : ndarray of int64, shape (n,)
        Sample ids. The numbers of a sample depend on no other sample.
    seed, epoch : int
    """

    def __init__(self, samples: NDArray[np.int64], seed: int, epoch: int) -> None:
        self.samples = samples
        self._seed, self._epoch = seed, epoch

    def uniform(self, stream: Stream, limits: tuple[Any, Any] = (0.0, 1.0), *turn: int) -> NDArray[np.float64]:
        """Draw numbers that are uniform in a range, its upper end excluded: float64, shape (n,). `turn`: which of several.

        The range is one of numbers, or of arrays of shape (n,).
        """
        low, high = limits
        return low + (high - low) * hashing.uniform(hashing.key(self._seed, self._epoch, stream, *turn), self.samples)

    def _uniforms(self, streams: Sequence[tuple[int, ...]]) -> NDArray[np.float64]:
        """Draw numbers in 0..1 of several streams, each with the `turn` after it, in one go: float64, shape (streams, n)."""
        return hashing.uniforms([hashing.key(self._seed, self._epoch, *stream) for stream in streams], self.samples)

    def integers(self, stream: Stream, n_values: int | NDArray[np.int64], *turn: int) -> NDArray[np.int64]:
        """Draw integers that are uniform in 0..n_values-1, shape (n,). `turn`: which of several."""
        return hashing.draw(hashing.key(self._seed, self._epoch, stream, *turn), self.samples, n_values)

    def rows(self, columns: Sequence[tuple[int, Stream, int | NDArray[np.int64], int]]) -> NDArray[np.int32]:
        """Return rows of four numbers, the first of which is the row's own, with integers added to the others.

        Parameters
        ----------
        columns : sequence of tuple
            The column to which integers are added, their stream, how many values there are, as in `integers`, and what each is
            multiplied by.

        Returns
        -------
        ndarray of int32, shape (n, 4)
        """
        streams = [(column, hashing.key(self._seed, self._epoch, stream), n, times) for column, stream, n, times in columns]
        return hashing.draw_rows(self.samples, streams)

    def happens(self, stream: Stream, p: float) -> NDArray[np.bool_]:
        """Draw what is true with probability p, shape (n,)."""
        return self.uniform(stream) < p

    def sides(
        self,
        area: Stream,
        ratio: Stream,
        scale: Range,
        ratios: Range,
        size: Sides,
        least: int,
        most: Sides,
    ) -> NDArray[np.int64]:
        """Draw the two sides of a part of an image, as `get_params` of torchvision's transforms do.

        The part's area is uniform and the logarithm of its ratio is uniform. Both sides are rounded to whole pixels, and the
        first of ten tries whose sides lie within limits is taken.

        Parameters
        ----------
        area, ratio : Stream
        scale : (float, float)
            Least and largest area, as a fraction of the image's.
        ratios : (float, float)
            Least and largest first side, as a multiple of the second.
        size : (int, int), or two ndarray of int64, shape (n,)
            The image's sides, or those of the image of each sample.
        least : int
            Least length of both sides.
        most : (int, int), or two ndarray of int64, shape (n,)
            Largest length of each.

        Returns
        -------
        ndarray of int64, shape (n, 2)
            Zeros where no try has fitted.
        """
        sides = np.zeros((len(self.samples), 2), np.int64)
        left = np.arange(len(self.samples))  # samples without sides that fit
        area_of_image, longest = np.asarray(size[0] * size[1]), np.stack(most, axis=-1)
        for tries in (range(1), range(1, _TRIES)):  # most need one; for the few others, all are as fast as one after the other
            if not len(left):
                break
            mine = Draws(self.samples[left], self._seed, self._epoch)
            area_of_each = area_of_image[left] if area_of_image.ndim else area_of_image
            tried = mine._tries(area, ratio, scale, ratios, area_of_each, tries)
            fits = ((tried >= least) & (tried <= (longest[left] if longest.ndim == 2 else longest))).all(axis=2)
            chosen = np.flatnonzero(fits.any(axis=0))
            sides[left[chosen]] = tried[fits.argmax(axis=0)[chosen], chosen].astype(np.int64)
            left = np.delete(left, chosen)
        return sides

    def _tries(
        self, area: Stream, ratio: Stream, scale: Range, ratios: Range, area_of_image: NDArray[np.int64], tries: range
    ) -> NDArray[np.float64]:
        """Draw the two sides of some tries: whole numbers, shape (tries, n, 2)."""
        areas, quotients = (self._uniforms([(stream, k) for k in tries]) for stream in (area, ratio))
        least, largest = math.log(ratios[0]), math.log(ratios[1])
        pixels = area_of_image * (scale[0] + (scale[1] - scale[0]) * areas)
        quotient = np.exp(least + (largest - least) * quotients)
        return np.rint(np.sqrt(np.stack([pixels * quotient, pixels / quotient], axis=2)))

    def places(self, y: Stream, x: Stream, size: Sides, sides: NDArray[np.int64]) -> NDArray[np.int64]:
        """Draw y and x of parts with these heights and widths, inside an image of a size: int64, shape (n, 2)."""
        (height, width), (heights, widths) = size, sides.T
        return np.stack([self.integers(y, height - heights + 1), self.integers(x, width - widths + 1)], axis=1)

    def normal(self, stream: Stream, n_each: int) -> NDArray[np.float64]:
        """Draw `n_each` independent numbers for each sample, of mean 0 and standard deviation 1: float64, shape (n, n_each).

        References
        ----------
        Box, Muller: "A note on the generation of random normal deviates", Annals of Mathematical Statistics 29, 1958.
        """
        uniform = self._uniforms([(stream, k, which) for which in range(2) for k in range(n_each)])
        radii = np.sqrt(-2 * np.log1p(-uniform[:n_each]))
        return steady(radii * np.cos(2 * math.pi * uniform[n_each:])).T

    def symmetric_beta(self, stream: Stream, alpha: float) -> NDArray[np.float64]:
        """Draw numbers of the beta distribution whose two parameters are `alpha` > 0: float64, shape (n,), multiples of 2**-16.

        Notes
        -----
        If T is Student's t with 2 alpha degrees of freedom, (1 + T / sqrt(2 alpha + T**2)) / 2 has this distribution; T follows
        from two uniform numbers, without rejection.

        References
        ----------
        Bailey: "Polar generation of random variates with the t-distribution", Mathematics of Computation 62, 1994.
        Devroye: "Random variate generation in one line of code", Winter Simulation Conference 1996.
        """
        cosine = np.cos(2 * math.pi * self.uniform(stream, (0, 1), 1))
        with np.errstate(divide="ignore", over="ignore"):  # with a small alpha T may be infinite, and the number 0 or 1
            square = np.expm1(-np.log(self.uniform(stream, (0, 1), 0)) / alpha) * cosine**2
            half = 0.5 / np.sqrt(1 + 1 / square)
        return steady(0.5 + np.copysign(half, cosine), bits=16)


def steady(values: NDArray[np.float64], bits: int = 24) -> NDArray[np.float64]:
    """Round to multiples of 2**-bits, so that the last bits of a machine's logarithms and sines do not matter."""
    return np.rint(values * 2.0**bits) * 2.0**-bits


def check_probability(name: str, value: float) -> float:
    """Return a probability.

    Raises
    ------
    ValueError
        If it is not a number in 0..1.
    """
    if not is_number(value) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be a probability in 0..1, got {value!r}")
    return float(value)


def check_integer_in(name: str, value: object, least: int, most: int) -> int:
    """Return an integer of a range.

    Raises
    ------
    ValueError
        If it is another value.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= most:
        raise ValueError(f"{name} must be an integer in {least}..{most}, got {value!r}")
    return int(value)


def check_positive(name: str, value: float) -> float:
    """Return a number above 0.

    Raises
    ------
    ValueError
        If it is not finite and above 0.
    """
    if not is_number(value) or not value > 0:
        raise ValueError(f"{name} must be a number above 0, got {value!r}")
    return float(value)


def is_number(value: object) -> bool:
    """Tell whether a value is a finite number, and not a bool."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool) and math.isfinite(value)
