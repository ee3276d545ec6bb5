"""Launches of the CUDA kernel: the constants that `crop.cu` is compiled with, its grid and its arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprep.kernels.choices import DTypeName, Layout, source_arguments
from fastprep.kernels.spec import CheckedTable, CropSpec
from fastprep.transforms import check_size

_NAME = "fastprep_crop"
# Size of a block's tile: large enough for the work before its loops to be negligible, and small enough for several blocks to fit
# into the 64 KiB of shared memory of the smallest multiprocessor. One block may have 48 KiB at most.
_TILE_ELEMENTS = 8192
_TILE_BYTES = 24 * 1024
MAX_BLOCKS = 2**31 - 1
_NO_MEAN, _CHANNEL_MEAN, _IMAGE_MEAN = range(3)  # MEAN in crop.cu


@dataclass(frozen=True, eq=False)
class Plan:
    """A launch of the CUDA kernel, from `plan`.

    Parameters
    ----------
    source : str
        CUDA C++ that includes nothing.
    options : tuple of str
        Options for NVRTC or nvcc, in addition to the architecture.
    name : str
        Name of the kernel.
    grid, block : (int,)
        Number of blocks, and of threads in a block.
    spec : CropSpec
        The operation on the pixels.
    images : array, shape (n, ...) with the rest of `spec.source_shape`
        Of images of different sizes all numbers, shape (n,).
    table : ndarray of int32, shape (n_out, words)
        What the kernel reads: for crops slot, y, x and flags. For images of different sizes there are further rows.
    n_out : int
        Number of output images.
    """

    source: str
    options: tuple[str, ...]
    name: str
    grid: tuple[int]
    block: tuple[int]
    spec: CropSpec
    images: Any
    table: NDArray[np.int32]
    n_out: int

    def arguments(self, out: Any, not_finite: Any = None) -> tuple[Any, ...]:
        """Return the arguments of the launch.

        Parameters
        ----------
        out : array of `dtype`, shape (n_out, h, w, C) or (n_out, C, h, w), C-contiguous
            Where the result goes, on any device. For bfloat16, uint16 is accepted, too, for its bits.
        not_finite : array of uint32, shape (n_out,), optional
            Only if `spec.checks_finite`: all 0; the kernel writes a 1 for each crop that has a result which is not finite.

        Returns
        -------
        images, table, mean, scale, out, and not_finite if it is checked
            In the kernel's order. `images` and `out` are the given arrays. The table (int32), mean and scale (float32) are
            numpy arrays, which the launcher copies to the device; a null pointer (`numpy.uint64`) stands for no mean or no scale.

        Raises
        ------
        ValueError
            If `out` is not as above.
        """
        shape = self.spec.out_shape(self.n_out)
        dtypes = [self.spec.out_dtype, *([np.dtype(np.uint16)] if self.spec.dtype == "bfloat16" else [])]
        if tuple(out.shape) != shape or out.dtype not in dtypes or not out.flags.c_contiguous:
            raise ValueError(f"out must be a C-contiguous {self.spec.dtype} array of shape {shape}, got {out.dtype} {out.shape}")
        null = np.uint64(0)
        mean, scale = self.spec.mean_values, self.spec.scale_values
        arguments = self.images, self.table, null if mean is None else mean, null if scale is None else scale, out
        return (*arguments, not_finite) if self.spec.checks_finite else arguments


def plan(
    images: Any,
    table: NDArray[np.int32],
    size: tuple[int, int],
    mean: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    dtype: DTypeName = "float32",
    layout: Layout = "channels_last",
    *,
    order: str = "HWC",
    channels: Sequence[int] | None = None,
) -> Plan:
    """Plan a launch of the CUDA kernel that executes a crop table. A pure function, which needs neither a GPU nor cupy.

    The result of the launch is that of `fastprep.kernels.crop`, bit for bit; only the bits of a NaN may differ.

    Parameters
    ----------
    images : array of uint8, uint16, int16, float32 or float64, shape (n, H, W, C), C-contiguous
        On any device, because only its shape, type and order matter here. `Plan.arguments` returns it unchanged.
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
    order, channels
        See `fastprep.kernels.crop`.

    Returns
    -------
    Plan
        `source`, `options`, `name`, `grid`, `block`, and `arguments(out)`. Source and options depend only on shapes and types,
        so one compiled kernel serves all batches of a loader.

    Raises
    ------
    ValueError
        If an argument is not as above.

    Examples
    --------
    >>> import numpy as np
    >>> launch = plan(np.zeros((8, 256, 256, 3), np.uint8), np.array([[0, 14, 14, 0]]), (227, 227), mean=127.5)
    >>> launch.name, launch.grid, launch.block
    ('fastprep_crop', (19,), (192,))
    """
    if len(images.shape) != 4 or 0 in images.shape or not images.flags.c_contiguous or not images.dtype.isnative:
        raise ValueError(
            f"images must be C-contiguous, of the shape (n, H, W, C) and in native byte order, got {images.dtype} {images.shape}"
        )
    shape, picked, n_source = source_arguments(images.shape[1:], order, channels)
    spec = CropSpec(
        shape, images.dtype.name, check_size(size), mean, scale, dtype, layout,
        order=order, channels=picked, source_channels=n_source,
    )  # fmt: skip
    return plan_of(spec, images, spec.checked_table(table, images.shape[0]))


def plan_of(spec: CropSpec, images: Any, table: CheckedTable) -> Plan:
    """Plan a launch for arguments that have been checked; see `plan`. Of a standardising operation, it is for `spec.made`.

    Parameters
    ----------
    spec : CropSpec
    images : array of `spec.source_dtype`, shape (n, *spec.source_shape), C-contiguous
    table : ndarray of int32, shape (n_out, 4)
        From ``spec.checked_table(table, n)``, which is not called again here.

    Raises
    ------
    ValueError
        If the table has too many rows for one launch.
    """
    return planned("crop.cu", _NAME, _constants(spec.made), spec.made, images, table)


def planned(
    kernel: str,
    name: str,
    constants: dict[str, Any],
    spec: CropSpec,
    images: Any,
    table: NDArray[np.int32],
    n_out: int | None = None,
) -> Plan:
    """Plan a launch of a kernel with a block for each tile of each output image.

    Parameters
    ----------
    kernel : str
        Name of its file.
    name : str
    constants : dict
        Its macros, of which these functions read CROP_HEIGHT, CROP_WIDTH, TILE_ROWS, TILE_COLUMNS and THREADS.
    spec, images
        As in `Plan`.
    table : ndarray of int32, shape (n_out, words)
        What the kernel reads.
    n_out : int, optional
        Number of output images, where the table has further rows.

    Raises
    ------
    ValueError
        If the table has too many rows for one launch.
    """
    tiles = -(-constants["CROP_HEIGHT"] // constants["TILE_ROWS"]) * -(-constants["CROP_WIDTH"] // constants["TILE_COLUMNS"])
    n_out = len(table) if n_out is None else n_out
    if n_out * tiles > MAX_BLOCKS:
        raise ValueError(f"table must have at most {MAX_BLOCKS // tiles} rows for crops of this size, got {n_out}")
    # The PTX of the kernel's arithmetic is never fused; --fmad=false tells readers of the options.
    options = options_of(constants)
    return Plan(source_of(kernel), options, name, (n_out * tiles,), (constants["THREADS"],), spec, images, table, n_out)


@cache
def source_of(kernel: str) -> str:
    """Return the source of a kernel by the name of its file."""
    return "".join(Path(__file__).with_name(name).read_text() for name in ("numbers.cuh", kernel))


def options_of(constants: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the options for NVRTC, in addition to the architecture, that compile a kernel with these macros."""
    return ("--std=c++17", "--fmad=false", *(f"-D{macro}={value}" for macro, value in constants.items()))


def _constants(spec: CropSpec) -> dict[str, Any]:
    """Return the macros that `crop.cu` needs."""
    height, width, channels = spec.image_shape
    channels_first = spec.layout == "channels_first"
    mean = _NO_MEAN if spec.mean_values is None else _CHANNEL_MEAN if spec.mean_values.ndim == 1 else _IMAGE_MEAN
    element_bytes = np.dtype(spec.source_dtype).itemsize + (4 if mean == _IMAGE_MEAN else 0)
    rows, columns, staged = _tile(spec, element_bytes)
    return {
        "HEIGHT": height,
        "WIDTH": width,
        "CHANNELS": channels,
        "CROP_HEIGHT": spec.size[0],
        "CROP_WIDTH": spec.size[1],
        "SOURCE": spec.source_dtype,
        "TARGET": spec.dtype,
        "CHANNELS_FIRST": int(channels_first),
        "MEAN": mean,
        "SCALE": int(spec.scale is not None),
        "TILE_ROWS": rows,
        "TILE_COLUMNS": columns,
        "STAGED": int(staged),
        "THREADS": _threads(1 if channels_first else channels, 16 // spec.out_dtype.itemsize),
        **({"CHECK_FINITE": 1} if spec.checks_finite else {}),
        **_reordering(spec),
    }


def _reordering(spec: CropSpec) -> dict[str, Any]:
    """Return the macros for sources with other axes or channels than (H, W, C); none for those."""
    if spec.order == "HWC" and spec.picks_all:
        return {}
    row, column, channel = spec.source_steps
    picked = {} if spec.picks_all else {"PICKED": ",".join(map(str, spec.picked))}
    steps = {"ROW_STEP": row, "COLUMN_STEP": column, "CHANNEL_STEP": channel}
    return {"SOURCE_CHANNELS": spec.n_source_channels, **steps, **picked}


def _tile(spec: CropSpec, element_bytes: int) -> tuple[int, int, bool]:
    """Return rows and columns of a tile, and whether it fits into shared memory."""
    (height, width), channels = spec.size, spec.image_shape[2]
    room = _TILE_BYTES // element_bytes - 16
    pitch = width * channels + 30  # at most, see PITCH in crop.cu
    if pitch <= room:
        rows = min(room // pitch, max(1, _TILE_ELEMENTS // (width * channels)))
        return even(height, rows), width, True
    if channels + 30 <= room:
        return 1, even(width, (room - 30) // channels), True
    return 1, even(width, max(1, _TILE_ELEMENTS // channels)), False


def even(length: int, most: int) -> int:
    """Return the length of equal parts, at most `most`; the last part may be a little shorter."""
    return -(-length // -(-length // most))


def _threads(channels: int, vector: int) -> int:
    """Return the number of threads in a block, such that a thread has the same channels in all of its stores, if possible."""
    for threads in (192, 160, 224, 256, 288, 320, 352, 384, 416, 448, 480, 512):
        if threads * vector % channels == 0:
            return threads
    return 192
