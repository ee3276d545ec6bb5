"""Blending the images of a batch on the CPU, for MixUp and CutMix."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.kernels import _cpu_warp
from fastprep.kernels.choices import NUMPY_DTYPES, Layout, check_choice, cpu_version
from fastprep.kernels.tables import integers
from fastprep.transforms import BlendTable

_PARTS = 2.0**16  # of a weight, so that it and 1 minus it are exact


def blend(x: NDArray[Any], table: BlendTable, layout: Layout = "channels_last") -> NDArray[Any]:
    """Blend each image with its partner, image n - 1 - k, as both were before, in place.

    The middle one of an odd n, and one whose weight is 1, stay as they are. Where its rectangle has a height, an image takes that
    part of its partner; all others become ``weight * own + (1 - weight) * other``, each step rounded to float32, and the result
    to the type of `x`.

    Parameters
    ----------
    x : ndarray of float32, float16 or bfloat16, shape (n, h, w, C) or (n, C, h, w), C-contiguous, writeable
    table : BlendTable
        With a row for each image.
    layout : {"channels_last", "channels_first"}
        Order of the axes of `x`.

    Returns
    -------
    ndarray
        `x`.

    Raises
    ------
    ValueError
        If an argument is not as above, a weight is not as in `BlendTable`, or a rectangle leads outside the images.
    """
    check_choice("layout", layout, ("channels_last", "channels_first"))
    name = next((name for name, dtype in NUMPY_DTYPES.items() if dtype == x.dtype), None)
    if name is None or x.ndim != 4 or 0 in x.shape or not (x.flags.carray and x.flags.writeable):
        raise ValueError(
            f"x must be a writeable, C-contiguous array of 4 axes and one of the types {', '.join(NUMPY_DTYPES)}, "
            f"got {x.dtype} {x.shape}"
        )
    height, width, channels = x.shape[1:] if layout == "channels_last" else (x.shape[2], x.shape[3], x.shape[1])
    weights, rectangles = checked_blend(table, len(x), (height, width))
    _cpu_warp.blend(
        x.reshape(len(x), -1).view(np.uint8),
        weights,
        rectangles,
        version=cpu_version(),
        dtype=name,
        channels_first=layout == "channels_first",
        image_shape=(height, width, channels),
    )
    return x


def checked_blend(table: BlendTable, n: int, size: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Check a blend table.

    Parameters
    ----------
    table : BlendTable
    n : int
        Number of images.
    size : (int, int)
        Height and width of an image, in pixels.

    Returns
    -------
    weights : ndarray of float32, shape (n,)
    rectangles : ndarray of int32, shape (n, 4)
        Both C-contiguous.

    Raises
    ------
    ValueError
        If a shape is another one, a weight is not as in `BlendTable`, or a rectangle leads outside the images.
    """
    weights = np.ascontiguousarray(table.weights, np.float32)
    rectangles = integers("rectangles of a blend table", table.rectangles, n)
    if weights.shape != (n,) or not ((weights >= 0) & (weights <= 1)).all():
        raise ValueError(f"weights in the blend table must be {n} numbers in 0..1, got the shape {weights.shape}")
    mixed = weights[rectangles[:, 2] == 0]
    if (mixed * _PARTS != np.floor(mixed * _PARTS)).any():
        raise ValueError("weights in the blend table must be multiples of 2**-16 in 0..1 where all pixels are mixed")
    ends = rectangles[:, :2] + rectangles[:, 2:].astype(np.int64)
    if (rectangles < 0).any() or (ends > size).any():
        raise ValueError(f"rectangles in the blend table must lie in images of {size[0]}x{size[1]} pixels")
    return weights, rectangles
