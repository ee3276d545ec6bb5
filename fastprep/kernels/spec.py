"""What happens to the pixels: checked once, with mean and scale laid out, and pointers handed to the CPU kernel."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, cast

import ml_dtypes
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprep.kernels import _cpu
from fastprep.transforms import FLIPPED, MIRRORED, check_fits, check_size

DTypeName = Literal["float32", "float16", "bfloat16"]
Layout = Literal["channels_last", "channels_first"]

SOURCE_DTYPES = ("uint8", "uint16", "float32", "float64")  # the CPU kernel takes all but uint16
_NUMPY_DTYPES = {"float32": np.dtype(np.float32), "float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}


# Larger batches are written around the caches (docs/notes/cpu-kernel.md has the measurement)
STREAM_BYTES = 8 << 20


def cpu_version() -> str:
    """Return which version of the CPU kernel is used: the quickest that the processor can run.

    The environment variable ``FASTPREP_CPU_KERNEL`` asks for another one; all give the same bits.

    Returns
    -------
    {"portable", "avx2", "avx512"}

    Raises
    ------
    ValueError
        If the variable names none that this processor can run.
    """
    supported = _cpu.supported_versions()
    wanted = os.environ.get("FASTPREP_CPU_KERNEL", "")
    if wanted and wanted not in supported:
        raise ValueError(f"FASTPREP_CPU_KERNEL must be one of {', '.join(supported)} on this processor, got {wanted!r}")
    return wanted or supported[-1]


@dataclass(frozen=True, eq=False)
class CropSpec:
    """What happens to the pixels, the same for every batch.

    Parameters
    ----------
    image_shape : (int, int, int)
        Height, width and channels of the source images.
    source_dtype : {"uint8", "uint16", "float32", "float64"}
    size : (int, int)
        Height and width of the crops.
    mean : array_like, scalar or shape (C,) or (H, W, C), optional
        Subtracted; of a mean image, the value at the same source pixel.
    scale : array_like, scalar or shape (C,), optional
        Multiplied with after the subtraction.
    dtype : {"float32", "float16", "bfloat16"}
    layout : {"channels_last", "channels_first"}

    Raises
    ------
    ValueError
        If an argument is not one of these, or a crop is larger than the image.
    """

    image_shape: tuple[int, int, int]
    source_dtype: str
    size: tuple[int, int]
    mean: ArrayLike | None = None
    scale: ArrayLike | None = None
    dtype: DTypeName = "float32"
    layout: Layout = "channels_last"

    def __post_init__(self) -> None:
        _check_choice("dtype", self.dtype, _NUMPY_DTYPES)
        _check_choice("layout", self.layout, ("channels_last", "channels_first"))
        _check_choice("images must have one of the types", self.source_dtype, SOURCE_DTYPES)
        check_fits(check_size(self.size), *self.image_shape[:2])
        _ = self.mean_values, self.scale_values  # raise here, not in a worker

    @property
    def out_dtype(self) -> np.dtype:
        """Type of the result; that of package ml_dtypes for bfloat16."""
        return _NUMPY_DTYPES[self.dtype]

    def out_shape(self, n_out: int) -> tuple[int, int, int, int]:
        """Shape of n_out crops."""
        channels = self.image_shape[2]
        return (n_out, *self.size, channels) if self.layout == "channels_last" else (n_out, channels, *self.size)

    @property
    def crop_bytes(self) -> int:
        """Bytes of one crop of the result."""
        return int(np.prod(self.out_shape(1))) * self.out_dtype.itemsize

    @cached_property
    def mean_values(self) -> NDArray[np.float32] | None:
        """The mean as float32: None, shape (C,), or, of a mean image, (H, W, C)."""
        if self.mean is None:
            return None
        height, width, channels = self.image_shape
        mean = np.asarray(self.mean, np.float32)
        if mean.shape == self.image_shape:
            return _finite("mean", np.ascontiguousarray(mean))
        return _finite("mean", _per_channel("mean", mean, channels, f", or ({height}, {width}, {channels})"))

    @cached_property
    def scale_values(self) -> NDArray[np.float32] | None:
        """The scale as float32: None, or shape (C,)."""
        if self.scale is None:
            return None
        return _finite("scale", _per_channel("scale", np.asarray(self.scale, np.float32), self.image_shape[2]))

    @cached_property
    def mean_rows(self) -> NDArray[np.float32]:
        """The mean as the CPU kernel reads it.

        Shape (1, planes, row), or of a mean image (2 H, planes, row): its lines, and once more from right to left. There is one
        plane of all channels, or, channels first, one for each. A row has at least W pixels; no mean is a mean of 0.
        """
        height, width, channels = self.image_shape
        mean = np.zeros(channels, np.float32) if self.mean_values is None else self.mean_values
        if mean.ndim < 3:
            return self._in_planes(np.broadcast_to(mean, (1, self._row_pixels, channels)))
        padded = np.zeros((2 * height, self._row_pixels, channels), np.float32)
        padded[:height, :width], padded[height:, :width] = mean, mean[:, ::-1]
        return self._in_planes(padded)

    @cached_property
    def scale_rows(self) -> NDArray[np.float32]:
        """The scale as the CPU kernel reads it: shape (planes, row), like the mean's; no scale is a scale of 1."""
        scale = np.ones(1, np.float32) if self.scale_values is None else self.scale_values
        return self._in_planes(np.broadcast_to(scale, (1, self._row_pixels, self.image_shape[2])))[0]

    @property
    def _row_pixels(self) -> int:
        return max(self.image_shape[1], _cpu.MIN_PIXELS)

    def _in_planes(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.layout == "channels_last":
            return np.ascontiguousarray(rows).reshape(len(rows), 1, -1)
        return np.ascontiguousarray(rows.transpose(0, 2, 1))

    def cpu_sink(self, table: NDArray[np.int32], n_slots: int, out: NDArray) -> _cpu.CropSink:
        """Return a sink that executes a crop table on the CPU.

        Parameters
        ----------
        table : ndarray of int32, shape (n_out, 4)
            Source slot, y, x, flags.
        n_slots : int
            Images there will be.
        out : ndarray of `out_dtype`, shape `out_shape(n_out)`, C-contiguous, aligned, writeable

        Returns
        -------
        CropSink
            Serves one thread at a time.

        Raises
        ------
        ValueError
            If a row of the table leads outside the images, or `out` is not as above.
        """
        table = self.checked_table(table, n_slots)
        shape = self.out_shape(len(table))
        if out.shape != shape or out.dtype != self.out_dtype or not (out.flags.carray and out.flags.writeable):
            raise ValueError(
                f"out must be a writeable, aligned, C-contiguous {self.dtype} array of shape {shape}, got {out.dtype} {out.shape}"
            )
        order = np.argsort(table[:, 0], kind="stable")
        firsts = np.searchsorted(table[order, 0], np.arange(n_slots + 1)).astype(np.int64)
        return _cpu.CropSink(
            _cpu.VERSIONS[cpu_version()],
            _cpu.SOURCE_TYPES[self.source_dtype],
            _cpu.TARGET_TYPES[self.dtype],
            self.layout == "channels_first",
            out.nbytes >= STREAM_BYTES,
            self.image_shape,
            self.size,
            self.mean_rows,
            self.scale_rows,
            self.scale is not None,
            np.ascontiguousarray(table[order]),
            order.astype(np.int64),
            firsts,
            out.reshape(-1).view(np.uint8),
            self.crop_bytes,
            self.image_shape[1] * self.image_shape[2] * np.dtype(self.source_dtype).itemsize,
        )

    def checked_table(self, table: NDArray[np.int32], n_slots: int) -> NDArray[np.int32]:
        """Return a crop table as int32, if all of its rows lie inside `n_slots` images.

        Raises
        ------
        ValueError
            If a row does not, or it is no table.
        """
        table = np.asarray(table)
        if table.ndim != 2 or table.shape[1] != 4 or len(table) == 0 or table.dtype.kind not in "iu":
            raise ValueError(f"table must be integers of shape (n_out, 4), n_out > 0, got {table.dtype} {table.shape}")
        limits = (n_slots - 1, self.image_shape[0] - self.size[0], self.image_shape[1] - self.size[1], MIRRORED | FLIPPED)
        for column, (name, limit) in enumerate(zip(("slot", "y", "x", "flags"), limits, strict=True)):
            low, high = table[:, column].min(), table[:, column].max()
            if low < 0 or high > limit:
                raise ValueError(f"{name} in the crop table must lie in 0..{limit}, found {low}..{high}")
        return table.astype(np.int32, copy=False)


def dtype_name(dtype: object) -> DTypeName:
    """Return the name of a type of numbers, given as that name, a numpy type, or a type of a framework that has a name.

    Raises
    ------
    ValueError
        If it is not one that the kernel writes.
    """
    try:
        name = dtype if isinstance(dtype, str) else np.dtype(dtype).name  # type: ignore[call-overload]
    except TypeError:
        name = getattr(dtype, "name", dtype)
    _check_choice("dtype", name, _NUMPY_DTYPES)
    return cast(DTypeName, name)


def _check_choice(name: str, value: object, choices: object) -> None:
    if not isinstance(value, str) or value not in choices:  # type: ignore[operator]
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")  # type: ignore[call-overload]


def _per_channel(name: str, values: NDArray[np.float32], channels: int, also: str = "") -> NDArray[np.float32]:
    if values.shape not in ((), (channels,)):
        raise ValueError(f"{name} must be a scalar or have the shape ({channels},){also}, got {values.shape}")
    return np.ascontiguousarray(np.broadcast_to(values, (channels,)))


def _finite(name: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, found NaN or infinity")
    return values
