"""Mean and scale of a batch undone by their own numbers, so that it can be looked at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastprep.kernels import CropSpec, blend
from fastprep.transforms import FLIPPED, MIRRORED, BlendTable


def channels_last(x: NDArray, spec: CropSpec) -> NDArray[np.float32]:
    """Return x of a batch as float32, shape (rows, h, w, C), and as a copy."""
    values = np.array(x, np.float32)
    return values if spec.layout == "channels_last" else np.moveaxis(values, 1, -1)


def pixels_of(x: NDArray, spec: CropSpec, crops: NDArray[np.int32], blends: BlendTable | None) -> NDArray[np.float32]:
    """Return the pixels of which a kernel made x: divided by the scale, and with the mean added back.

    Parameters
    ----------
    x : ndarray, shape (rows, h, w, C) or (rows, C, h, w)
    spec : CropSpec
        The operation that made it, which does not standardise.
    crops : ndarray of int32, shape (rows, 4)
        Crop table, which says what part of a mean image was subtracted.
    blends : BlendTable or None
        By which mean images were blended with their images.

    Returns
    -------
    ndarray of float32, shape (rows, h, w, C)
        Where the scale is 0 it is the mean, because nothing else is left.
    """
    values = channels_last(x, spec)
    if spec.scale_values is not None:
        scale = spec.scale_values
        values = np.divide(values, scale, out=np.zeros_like(values), where=scale != 0)
    mean = spec.mean_values
    if mean is None:
        return values
    return values + (mean if mean.ndim == 1 else _parts_of(mean, spec.size, crops, blends))


def _parts_of(
    mean: NDArray[np.float32], size: tuple[int, int], crops: NDArray[np.int32], blends: BlendTable | None
) -> NDArray[np.float32]:
    """Return the part of a mean image that belongs to each row; only images that are cut out and turned over have one."""
    height, width = size
    parts = np.empty((len(crops), height, width, mean.shape[2]), np.float32)
    for own, (_, y, x, flags) in zip(parts, crops.tolist(), strict=True):
        part = mean[y : y + height, x : x + width]
        part = part[:, ::-1] if flags & MIRRORED else part
        own[...] = part[::-1] if flags & FLIPPED else part
    if blends is not None:
        blend(parts, blends)
    return parts
