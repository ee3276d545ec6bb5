"""Rectangles that are erased: a frozen description that turns (seed, epoch, sample ids) into their places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastprep.transforms.draws import Draws, Stream, check_probability, is_number
from fastprep.transforms.resizing import check_range


@dataclass(frozen=True)
class RandomErasing:
    """A rectangle of random area and shape at a random place, filled with a constant; drawn anew for each sample and epoch.

    Parameters
    ----------
    p : float
        Probability that an image has one.
    scale : (float, float)
        Least and largest area, as a fraction of the image's.
    ratio : (float, float)
        Least and largest height, as a multiple of the width.
    value : float or sequence of C floats
        What is filled in, in the numbers of x: where a mean is subtracted, 0 is the mean.

    Notes
    -----
    Rectangles are distributed as those of ``torchvision.transforms.RandomErasing``: the area is uniform and the logarithm of the
    ratio is uniform, both sides are rounded to whole pixels, and the first of ten tries that is lower and narrower than the image
    is taken; if none is, the image stays whole.

    References
    ----------
    Zhong, Zheng, Kang, Li, Yang: "Random erasing data augmentation", AAAI 2020.
    """

    p: float = 0.5
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    value: float | Sequence[float] = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "p", check_probability("p", self.p))
        object.__setattr__(self, "scale", check_range("scale", self.scale, 1.0))
        object.__setattr__(self, "ratio", check_range("ratio", self.ratio, math.inf))
        values = np.ravel(self.value).tolist() if isinstance(self.value, tuple | list | np.ndarray) else [self.value]
        if not values or not all(map(is_number, values)):
            raise ValueError(f"value must be a finite number, or one for each channel, got {self.value!r}")
        object.__setattr__(self, "value", float(self.value) if is_number(self.value) else tuple(map(float, values)))  # type: ignore[arg-type]

    def rectangles(self, height: int, width: int, samples: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int32]:
        """Return the rectangle of each sample.

        Parameters
        ----------
        height, width : int
            Size of a row of x in pixels.
        samples : ndarray of int64, shape (n,)
            Sample ids.
        seed, epoch : int
            The rectangles are a pure function of them, the samples and the size.

        Returns
        -------
        ndarray of int32, shape (n, 4)
            y, x, height and width in pixels; zeros for none.
        """
        draws = Draws(samples, seed, epoch)
        chosen = np.flatnonzero(draws.happens(Stream.ERASES, self.p))
        streams, size = (Stream.ERASED_AREA, Stream.ERASED_RATIO), (height, width)
        sides = np.zeros((len(samples), 2), np.int64)
        sides[chosen] = Draws(samples[chosen], seed, epoch).sides(
            *streams, self.scale, self.ratio, size, least=0, most=(height - 1, width - 1)
        )
        places = draws.places(Stream.ERASED_Y, Stream.ERASED_X, size, sides)
        rectangles = np.concatenate([places, sides], axis=1).astype(np.int32)
        rectangles[(sides == 0).any(axis=1)] = 0
        return rectangles
