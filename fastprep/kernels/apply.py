"""The crop kernel on its own, for arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprep._sink import hand_over
from fastprep.kernels import _cpu
from fastprep.kernels.device import Gpu, crop_on, device_number
from fastprep.kernels.spec import SOURCE_DTYPES, CropSpec, DTypeName, Layout
from fastprep.transforms import check_size


def crop(
    images: Any,
    table: NDArray[np.int32],
    size: tuple[int, int],
    mean: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    dtype: DTypeName = "float32",
    layout: Layout = "channels_last",
    out: Any = None,
    device: str = "cpu",
) -> Any:
    """Execute a crop table: cut out, mirror, flip, subtract the mean, scale and convert, in one pass.

    ``out[k, i, j, c] = (float32(images[slot, y + i', x + j', c]) - mean[c]) * scale[c]``, where i' = h-1-i if flipped, else i,
    and j' = w-1-j if mirrored, else j. Each step is rounded to float32 and none is fused; the result is rounded to `dtype`.

    Parameters
    ----------
    images : array of uint8, float32 or float64, shape (n, H, W, C)
        On a CUDA device also uint16. It copies numpy arrays, and reads C-contiguous cupy arrays without a copy.
    table : ndarray of int32, shape (n_out, 4)
        Source slot 0..n-1, y 0..H-h, x 0..W-w, flags (`fastprep.transforms.MIRRORED` + `FLIPPED`). On the host.
    size : (int, int)
        Height h and width w of the crops, in pixels.
    mean : array_like, scalar or shape (C,) or (H, W, C), optional
        Subtracted from each source pixel. From a mean image, the value at the position of the source pixel is taken.
    scale : array_like, scalar or shape (C,), optional
        Factor applied after the subtraction.
    dtype : {"float32", "float16", "bfloat16"}
        Type of the result, rounded to nearest even.
    layout : {"channels_last", "channels_first"}
        Order of the result's axes.
    out : array of `dtype`, optional
        Where the result goes: C-contiguous, on the device, shape (n_out, h, w, C), or (n_out, C, h, w) with channels first.
    device : {"cpu", "cuda", "cuda:0", "cuda:1", ...}
        Where the kernel runs.

    Returns
    -------
    array of `dtype`, shape (n_out, h, w, C) or (n_out, C, h, w)
        `out`, if it was given. A numpy array, or a cupy array if `device` is a CUDA device. bfloat16 is `ml_dtypes.bfloat16`.

    Raises
    ------
    ValueError
        If an argument is not as above.
    DeviceUnavailableError
        If the device, its driver or cupy is missing.
    """
    number = device_number(device)
    is_on_host = number is None or not hasattr(images, "__cuda_array_interface__")
    if is_on_host:
        images = np.asarray(images)
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"images must have the shape (n, H, W, C), got {images.shape}")
    known = tuple(_cpu.SOURCE_TYPES) if number is None else SOURCE_DTYPES
    if images.dtype.name not in known:
        raise ValueError(f"images must have one of the types {', '.join(known)}, got {images.dtype}")
    spec = CropSpec(images.shape[1:], images.dtype.name, check_size(size), mean, scale, dtype, layout)
    if is_on_host:
        images = np.ascontiguousarray(images, images.dtype.newbyteorder("="))
    if number is not None:
        return crop_on(Gpu(number), spec, images, table, out)
    if out is None:
        out = np.empty(spec.out_shape(len(table)), spec.out_dtype)
    sink = spec.cpu_sink(table, len(images), out)
    offsets = np.arange(len(images), dtype=np.int64) * images[0].nbytes
    hand_over(images.reshape(-1).view(np.uint8), offsets, np.arange(len(images), dtype=np.int64), sink)
    return out
