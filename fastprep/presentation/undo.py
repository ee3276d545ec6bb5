"""Mean and scale of a batch undone by their own numbers, so that it can be looked at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fastprep.kernels import CropSpec, blend
from fastprep.kernels.choices import Layout
from fastprep.presentation.pixels import BYTES, STANDARDISED, Range, range_of
from fastprep.transforms import FLIPPED, MIRRORED, BlendTable


class Normalisation(NamedTuple):
    """What was done to the pixels of an input last.

    Attributes
    ----------
    mean : ndarray of float32, shape (C,) or (H, W, C), or None
    scale : ndarray of float32, shape (C,), or None
    is_standardised : bool
        Whether each row has mean 0 and standard deviation 1, which can't be undone.
    layout : {"channels_last", "channels_first"}
    is_of_bytes : bool
        Whether the pixels were uint8.
    """

    mean: NDArray[np.float32] | None
    scale: NDArray[np.float32] | None
    is_standardised: bool
    layout: Layout
    is_of_bytes: bool

    @classmethod
    def of(cls, spec: CropSpec) -> Self:
        """Return that of an operation on the pixels."""
        return cls(spec.mean_values, spec.scale_values, spec.standardize, spec.layout, spec.source_dtype == "uint8")

    @property
    def has_mean_image(self) -> bool:
        """Whether each pixel has a mean of its own."""
        return self.mean is not None and self.mean.ndim == 3

    def span(self, images: Iterable[NDArray]) -> Range:
        """Return the numbers that are black and white in images of which this is undone."""
        if self.is_standardised:
            return STANDARDISED
        return BYTES if self.is_of_bytes else range_of(images)


def undoing_in_words(each: Iterable[Normalisation]) -> str:
    """Return what is done about mean and scale where images are drawn."""
    normalisations = list(each)
    if any(own.is_standardised for own in normalisations):
        return "standardised: grey is 0, and black and white are two standard deviations away"
    is_any = any(own.mean is not None or own.scale is not None for own in normalisations)
    return "mean and scale undone" if is_any else "no mean, no scale"


def channels_last(x: NDArray, layout: Layout) -> NDArray[np.float32]:
    """Return x of a batch as float32, shape (rows, h, w, C), and as a copy."""
    values = np.array(x, np.float32)
    return values if layout == "channels_last" else np.moveaxis(values, 1, -1)


def undone(values: NDArray[np.float32], scale: NDArray | None, mean: NDArray | None) -> NDArray[np.float32]:
    """Return the pixels of which a batch was made: divided by the scale, and with the mean added back.

    Parameters
    ----------
    values : ndarray of float32, shape (rows, h, w, C)
    scale : ndarray of float32, shape (C,), or None
    mean : ndarray of float32, shape (C,), (h, w, C) or (rows, h, w, C), or None

    Returns
    -------
    ndarray of float32, shape (rows, h, w, C)
        Where the scale is 0 it is the mean, because nothing else is left.
    """
    if scale is not None:
        values = np.divide(values, scale, out=np.zeros_like(values), where=scale != 0)
    return values if mean is None else values + mean


def mean_parts(
    mean: NDArray[np.float32], size: tuple[int, int], crops: NDArray[np.int32], blends: BlendTable | None
) -> NDArray[np.float32]:
    """Return the part of a mean image that was subtracted from each row; only images that are cut out and turned over have one.

    Parameters
    ----------
    mean : ndarray of float32, shape (H, W, C)
    size : (int, int)
        Height and width of the rows.
    crops : ndarray of int32, shape (rows, 4)
        Crop table.
    blends : BlendTable or None
        By which the parts were blended with their images.
    """
    height, width = size
    parts = np.empty((len(crops), height, width, mean.shape[2]), np.float32)
    for own, (_, y, x, flags) in zip(parts, crops.tolist(), strict=True):
        part = mean[y : y + height, x : x + width]
        part = part[:, ::-1] if flags & MIRRORED else part
        own[...] = part[::-1] if flags & FLIPPED else part
    if blends is not None:
        blend(parts, blends)
    return parts
