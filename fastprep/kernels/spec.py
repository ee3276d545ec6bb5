"""The arguments of the kernels: checked once, with mean and scale laid out as the CPU kernel reads them."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal, NewType, cast

import ml_dtypes
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprep.kernels import _cpu
from fastprep.transforms import FLIPPED, MIRRORED, check_fits, check_size

DTypeName = Literal["float32", "float16", "bfloat16"]
Layout = Literal["channels_last", "channels_first"]
CheckedTable = NewType("CheckedTable", NDArray[np.int32])
"""A crop table from `CropSpec.checked_table`: int32, C-contiguous, and no row leads outside the images."""

SOURCE_DTYPES = ("uint8", "uint16", "float32", "float64")  # the CPU kernel takes all but uint16
# The least number that becomes infinity when it is rounded to the type
_FIRST_INFINITE = {"float32": 2.0**128 - 2.0**103, "float16": 65520.0, "bfloat16": 2.0**128 - 2.0**119}
_NUMPY_DTYPES = {"float32": np.dtype(np.float32), "float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}

STREAM_BYTES = 8 << 20
"""Batches of this size and larger are written around the caches (measured in docs/notes/cpu-kernel.md)."""


def cpu_version() -> str:
    """Return the version of the CPU kernel that is used: the fastest that the processor can run.

    The environment variable ``FASTPREP_CPU_KERNEL`` asks for another one. All versions give the same bits.

    Returns
    -------
    {"portable", "avx2", "avx512"}

    Raises
    ------
    ValueError
        If the variable names a version that this processor can't run.
    """
    supported = _cpu.supported_versions()
    wanted = os.environ.get("FASTPREP_CPU_KERNEL", "")
    if wanted and wanted not in supported:
        raise ValueError(f"FASTPREP_CPU_KERNEL must be one of {', '.join(supported)} on this processor, got {wanted!r}")
    return wanted or supported[-1]


@dataclass(frozen=True, eq=False)
class CropSpec:
    """The operation on the pixels, which is the same for every batch.

    Parameters
    ----------
    image_shape : (int, int, int)
        Height, width and channels of the source images, in pixels.
    source_dtype : {"uint8", "uint16", "float32", "float64"}
        Type of the source images; the CPU kernel does not take uint16.
    size : (int, int)
        Height and width of the crops, in pixels.
    mean : array_like, scalar or shape (C,) or (H, W, C), optional
        Subtracted from each source pixel. From a mean image, the value at the position of the source pixel is taken.
    scale : array_like, scalar or shape (C,), optional
        Factor applied after the subtraction.
    dtype : {"float32", "float16", "bfloat16"}
        Type of the result.
    layout : {"channels_last", "channels_first"}
        Order of the result's axes.
    check_finite : bool
        Stop at an image with a crop that has a result which `dtype` holds as NaN or infinity. Only sources of floats are checked.

    Raises
    ------
    ValueError
        If an argument is not as above, or if a crop is larger than the image.
    """

    image_shape: tuple[int, int, int]
    source_dtype: str
    size: tuple[int, int]
    mean: ArrayLike | None = None
    scale: ArrayLike | None = None
    dtype: DTypeName = "float32"
    layout: Layout = "channels_last"
    check_finite: bool = False

    def __post_init__(self) -> None:
        _check_choice("dtype", self.dtype, _NUMPY_DTYPES)
        _check_choice("layout", self.layout, ("channels_last", "channels_first"))
        _check_choice("images must have one of the types", self.source_dtype, SOURCE_DTYPES)
        check_fits(check_size(self.size), *self.image_shape[:2])
        _ = self.mean_values, self.scale_values  # raise here, not in a worker

    def __reduce__(self) -> tuple[Any, ...]:  # without what is computed from the fields
        return CropSpec, tuple(getattr(self, field.name) for field in fields(self))

    @property
    def out_dtype(self) -> np.dtype:
        """Type of the result; `ml_dtypes.bfloat16` for bfloat16."""
        return _NUMPY_DTYPES[self.dtype]

    def out_shape(self, n_out: int) -> tuple[int, int, int, int]:
        """Return the shape of a result of `n_out` crops."""
        channels = self.image_shape[2]
        return (n_out, *self.size, channels) if self.layout == "channels_last" else (n_out, channels, *self.size)

    @property
    def checks_finite(self) -> bool:
        """Whether the kernels check that results are finite."""
        return self.check_finite and np.dtype(self.source_dtype).kind == "f"

    def check_range(self, stored: np.dtype) -> None:
        """Check that `dtype` holds every result of integers of 8 or 16 bits as a finite number.

        Larger integers hardly ever fill their range. They come to the kernels as floats, so `check_finite` sees their results.

        Parameters
        ----------
        stored : dtype
            Type of the images in their file.

        Raises
        ------
        ValueError
            If `dtype` is too small for the range of `stored` after mean and scale.
        """
        if stored.kind not in "iu" or stored.itemsize > 2:
            return
        lowest, highest = np.iinfo(stored).min, np.iinfo(stored).max
        mean = np.zeros(1) if self.mean_values is None else self.mean_values.astype(np.float64)
        scale = np.ones(1) if self.scale_values is None else self.scale_values.astype(np.float64)
        largest = max(float(np.abs((bound - mean) * scale).max()) for bound in (lowest, highest))
        if largest >= _FIRST_INFINITE[self.dtype]:
            limit = float(ml_dtypes.finfo(self.out_dtype).max)
            raise ValueError(
                f"dtype {self.dtype!r} holds numbers up to {limit:.6g}, but {stored} images, "
                f"which may have {lowest}..{highest}, become as large as {largest:.6g}: pass a scale, such as "
                f"scale={1 / max(highest, -lowest):.3g}, or a larger dtype"
            )

    @property
    def crop_bytes(self) -> int:
        """Size of one crop of the result, in bytes."""
        return int(np.prod(self.out_shape(1))) * self.out_dtype.itemsize

    @cached_property
    def mean_values(self) -> NDArray[np.float32] | None:
        """Mean as float32: None, of shape (C,), or of shape (H, W, C) for a mean image."""
        if self.mean is None:
            return None
        height, width, channels = self.image_shape
        mean = np.asarray(self.mean, np.float32)
        if mean.shape == self.image_shape:
            return _finite("mean", np.ascontiguousarray(mean))
        return _finite("mean", _per_channel("mean", mean, channels, f", or ({height}, {width}, {channels})"))

    @cached_property
    def scale_values(self) -> NDArray[np.float32] | None:
        """Scale as float32: None, or of shape (C,)."""
        if self.scale is None:
            return None
        return _finite("scale", _per_channel("scale", np.asarray(self.scale, np.float32), self.image_shape[2]))

    @cached_property
    def mean_rows(self) -> NDArray[np.float32]:
        """Mean as the CPU kernel reads it: float32, shape (1, planes, row), or (2 H, planes, row) for a mean image.

        A mean image has its lines twice, the second time from right to left. There is one plane for all channels, or, with
        channels first, one for each channel. A row has at least W pixels. No mean is a mean of 0.
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
        """Scale as the CPU kernel reads it: float32, shape (planes, row), as in `mean_rows`. No scale is a scale of 1."""
        scale = np.ones(1, np.float32) if self.scale_values is None else self.scale_values
        return self._in_planes(np.broadcast_to(scale, (1, self._row_pixels, self.image_shape[2])))[0]

    @property
    def _row_pixels(self) -> int:
        return max(self.image_shape[1], _cpu.MIN_PIXELS)

    def _in_planes(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.layout == "channels_last":
            return np.ascontiguousarray(rows).reshape(len(rows), 1, -1)
        return np.ascontiguousarray(rows.transpose(0, 2, 1))

    @cached_property
    def _cpu_parameters(self) -> _cpu.CropParameters:
        return _cpu.CropParameters(
            source_dtype=self.source_dtype,
            dtype=self.dtype,
            channels_first=self.layout == "channels_first",
            image_shape=self.image_shape,
            size=self.size,
            mean_rows=self.mean_rows,
            scale_rows=self.scale_rows,
            has_scale=self.scale is not None,
            row_bytes=self.image_shape[1] * self.image_shape[2] * np.dtype(self.source_dtype).itemsize,
            crop_bytes=self.crop_bytes,
            check_finite=self.checks_finite,
        )

    def cpu_sink(self, table: NDArray[np.int32], n_slots: int, out: NDArray) -> _cpu.CropSink:
        """Return a sink that executes a crop table on the CPU.

        Parameters
        ----------
        table : ndarray of int32, shape (n_out, 4)
            Source slot, y, x and flags of each crop.
        n_slots : int
            Number of images that the sink will be handed.
        out : ndarray of `out_dtype`, shape `out_shape(n_out)`, C-contiguous, aligned, writeable
            Where the crops go.

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
        by_slot = table[order]
        return _cpu.CropSink(
            self._cpu_parameters,
            version=cpu_version(),
            stream=out.nbytes >= STREAM_BYTES,
            table=by_slot,
            numbers=order.astype(np.int64, copy=False),
            firsts=np.searchsorted(by_slot[:, 0], np.arange(n_slots + 1)).astype(np.int64, copy=False),
            target=out.reshape(-1).view(np.uint8),
        )

    def checked_table(self, table: NDArray[np.integer], n_slots: int) -> CheckedTable:
        """Check a crop table.

        Parameters
        ----------
        table : array_like of integers, shape (n_out, 4)
            Source slot, y, x and flags of each crop.
        n_slots : int
            Number of images in the batch.

        Returns
        -------
        ndarray of int32, shape (n_out, 4), C-contiguous
            The same table, copied only if its type or order is another one.

        Raises
        ------
        ValueError
            If a row leads outside the images, or the table is not as above.
        """
        table = np.asarray(table)
        if table.ndim != 2 or table.shape[1] != 4 or len(table) == 0 or table.dtype.kind not in "iu":
            raise ValueError(f"table must be integers of shape (n_out, 4), n_out > 0, got {table.dtype} {table.shape}")
        limits = (n_slots - 1, self.image_shape[0] - self.size[0], self.image_shape[1] - self.size[1], MIRRORED | FLIPPED)
        for column, (name, limit) in enumerate(zip(("slot", "y", "x", "flags"), limits, strict=True)):
            low, high = table[:, column].min(), table[:, column].max()
            if low < 0 or high > limit:
                raise ValueError(f"{name} in the crop table must lie in 0..{limit}, found {low}..{high}")
        return CheckedTable(np.ascontiguousarray(table, np.int32))


def dtype_name(dtype: object) -> DTypeName:
    """Return the name of a number type.

    Parameters
    ----------
    dtype : object
        That name, a numpy type, or a framework's type that has a name.

    Raises
    ------
    ValueError
        If the kernels do not write that type.
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
