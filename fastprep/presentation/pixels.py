"""Numbers of images as colours that a screen has: red, green and blue, or grey, from 0 to 255."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprep.kernels import warp
from fastprep.transforms import Resize
from fastprep.transforms.geometry import rows_of

_ROUNDING = 1e-3  # of mean and scale that were undone, to which bfloat16 and float16 add theirs


class Range(NamedTuple):
    """Numbers that become black and white; what lies beyond is cut off.

    Attributes
    ----------
    black, white : float
    """

    black: float
    white: float


BYTES = Range(0.0, 255.0)
STANDARDISED = Range(-2.0, 2.0)
"""Grey for 0, and black and white two standard deviations away."""


def in_rgb(images: NDArray, channel_order: str | None) -> NDArray:
    """Return the channels of images that are drawn: red, green and blue, or the first three, or one.

    Parameters
    ----------
    images : ndarray, shape (..., C)
    channel_order : str or None
        Letters of the channels, such as "BGR", if they are known.

    Returns
    -------
    ndarray, shape (..., 3) or (..., 1)
    """
    order, n_channels = (channel_order or "").upper(), images.shape[-1]
    if {"R", "G", "B"} <= set(order) and len(order) == n_channels:
        return images[..., [order.index(letter) for letter in "RGB"]]
    return images[..., :3] if n_channels >= 3 else images[..., :1]


def range_of(images: Iterable[NDArray]) -> Range:
    """Return the range in which images are drawn that are not of bytes, or may not be.

    Returns
    -------
    Range
        0 to 255 for numbers of that kind, and 0 to 1 likewise; else to the largest number, and from the least one if that is
        below 0. Numbers that are not finite do not count.
    """
    finite = [values for image in images if (values := image[np.isfinite(image)]).size]
    lowest = min((float(values.min()) for values in finite), default=0.0)
    highest = max((float(values.max()) for values in finite), default=0.0)
    if lowest < -_ROUNDING * max(1.0, highest):
        return Range(lowest, highest if highest > lowest else lowest + 1)
    return Range(0.0, 1.0) if 0 < highest <= 1 + _ROUNDING else Range(0.0, max(highest, 255.0)) if highest > 255.5 else BYTES


def as_bytes(images: NDArray, span: Range = BYTES) -> NDArray[np.uint8]:
    """Return images as uint8, black for NaN.

    Parameters
    ----------
    images : ndarray, shape (..., 1 or 3)
    span : Range
    """
    factor = 255 / (span.white - span.black)
    levels = np.rint((images - span.black) * factor if span.black else images * factor)
    return np.clip(np.nan_to_num(levels, nan=0.0, posinf=255.0, neginf=0.0), 0, 255).astype(np.uint8)


def shrunk(image: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Return an image whose longer side has at most `side` pixels, resized as a loader would.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, C)
    side : int

    Returns
    -------
    ndarray of float32, shape (h, w, C)
    """
    height, width, _ = image.shape
    if max(height, width) <= side:
        return image
    factor = side / max(height, width)
    size = max(1, math.floor(height * factor + 0.5)), max(1, math.floor(width * factor + 0.5))
    table = rows_of(Resize(size), height, width, np.zeros(1, np.int64), 0, 0)
    return warp(np.ascontiguousarray(image, np.float32)[None], table, size)[0]
