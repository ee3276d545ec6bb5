"""The kernels on their own, for arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprep._sink import hand_over
from fastprep.kernels.choices import SOURCE_DTYPES, DTypeName, Layout, source_arguments
from fastprep.kernels.device import Gpu, device_number
from fastprep.kernels.launches import make_on
from fastprep.kernels.spec import CropSpec
from fastprep.kernels.warp_spec import WarpSpec
from fastprep.transforms import TransformTable, check_size


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
    order: str = "HWC",
    channels: Sequence[int] | None = None,
    standardize: bool = False,
) -> Any:
    """Execute a crop table: cut out, mirror, flip, subtract the mean, scale and convert, in one pass.

    ``out[k, i, j, c] = (float32(images[slot, y + i', x + j', c]) - mean[c]) * scale[c]``, where i' = h-1-i if flipped, else i,
    and j' = w-1-j if mirrored, else j. Each step is rounded to float32 and none is fused; the result is rounded to `dtype`.

    Parameters
    ----------
    images : array of uint8, uint16, int16, float32 or float64, shape (n, H, W, C), or with other axes after n, see `order`
        A CUDA device copies numpy arrays, and reads C-contiguous cupy arrays without a copy.
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
    order : str
        Order of the axes of an image: "HWC", or another order of these letters.
    channels : sequence of int, optional
        Channel of the images, 0 and up, for each channel of the result; mean and scale are for these. None: all of them.
    standardize : bool
        Bring each output image to mean 0 and standard deviation 1, as `fastprep.Loader` does, after mean and scale.

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
    images, arguments = _checked_images(images, number, order, channels)
    spec = CropSpec(*arguments.place, check_size(size), mean, scale, dtype, layout, **arguments.source, standardize=standardize)
    if number is not None:
        return make_on(Gpu(number), spec, images, table, out)
    return _on_cpu(spec, images, table, out)


def warp(
    images: Any,
    table: TransformTable,
    size: tuple[int, int],
    mean: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    dtype: DTypeName = "float32",
    layout: Layout = "channels_last",
    out: Any = None,
    device: str = "cpu",
    order: str = "HWC",
    channels: Sequence[int] | None = None,
    fill: ArrayLike = 0.0,
    erase_value: ArrayLike = 0.0,
    standardize: bool = False,
) -> Any:
    """Execute a transform table: cut out, resize or map, turn, recolour, subtract the mean, scale, convert, erase, in one pass.

    Parameters
    ----------
    images : array of uint8, uint16, int16, float32 or float64, shape (n, H, W, C), or with other axes after n, see `order`
        A CUDA device copies numpy arrays, and reads C-contiguous cupy arrays without a copy.
    table : TransformTable
        With colors, images have one or three channels.
    size : (int, int)
        Height h and width w of the result, in pixels.
    mean, scale : array_like, scalar or shape (C,), optional
        As in `crop`.
    dtype, layout, out, device, order, channels
        As in `crop`.
    fill : array_like, scalar or shape (C,), optional
        What there is outside of an image, where the table has matrices, in the numbers of the images.
    erase_value : array_like, scalar or shape (C,), optional
        What erased rectangles become, in the numbers of the result.
    standardize : bool
        As in `crop`; rectangles are erased after that.

    Returns
    -------
    array of `dtype`, shape (n_out, h, w, C) or (n_out, C, h, w)
        `out`, if it was given.

    Raises
    ------
    ValueError
        If an argument is not as above, or a row of the table leads outside the images or the result.
    DeviceUnavailableError
        If the device, its driver or cupy is missing.
    """
    number = device_number(device)
    images, arguments = _checked_images(images, number, order, channels)
    spec = WarpSpec(
        *arguments.place, check_size(size), mean, scale, dtype, layout, **arguments.source,
        geometry=table.geometry, fill=fill, has_colors=table.colors is not None,
        erase_value=None if table.erasures is None else erase_value, standardize=standardize,
    )  # fmt: skip
    if number is not None:
        return make_on(Gpu(number), spec, images, table, out)
    return _on_cpu(spec, images, table, out)


class _Arguments(NamedTuple):
    place: tuple[tuple[int, int, int], str]  # image_shape and source_dtype
    source: dict[str, Any]


def _checked_images(images: Any, number: int | None, order: str, channels: Sequence[int] | None) -> tuple[Any, _Arguments]:
    """Return the images as the kernel of a device reads them, and what a `CropSpec` says of them."""
    is_on_host = number is None or not hasattr(images, "__cuda_array_interface__")
    if is_on_host:
        images = np.asarray(images)
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"images must have the shape (n, {', '.join(order)}), got {images.shape}")
    if images.dtype.name not in SOURCE_DTYPES:
        raise ValueError(f"images must have one of the types {', '.join(SOURCE_DTYPES)}, got {images.dtype}")
    shape, picked, n_source = source_arguments(images.shape[1:], order, channels)
    source = {"order": order, "channels": picked, "source_channels": n_source}
    if is_on_host:
        images = np.ascontiguousarray(images, images.dtype.newbyteorder("="))
    return images, _Arguments((shape, images.dtype.name), source)


def _on_cpu(spec: CropSpec, images: NDArray, table: NDArray[np.int32] | TransformTable, out: NDArray | None) -> NDArray:
    if out is None:
        out = np.empty(spec.out_shape(len(table)), spec.out_dtype)
    sink = spec.cpu_sink(table, len(images), out)
    offsets = np.arange(len(images), dtype=np.int64) * images[0].nbytes
    hand_over(images.reshape(-1).view(np.uint8), offsets, np.arange(len(images), dtype=np.int64), sink)
    return out
