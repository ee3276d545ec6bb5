"""The arguments of the kernels: checked once, with mean and scale laid out as the CPU kernel reads them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, NewType, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprep._sink import Sink
from fastprep.kernels import _cpu
from fastprep.kernels._cpu import stream_bytes
from fastprep.kernels._tables import Limits
from fastprep.kernels.channel_values import finite, per_channel
from fastprep.kernels.choices import NUMPY_DTYPES, ORDERS, SOURCE_DTYPES, DTypeName, Layout, check_choice, cpu_version
from fastprep.kernels.standardizing import sink_of
from fastprep.kernels.tables import by_slot, crops_alone
from fastprep.transforms import FLIPPED, MIRRORED, TransformTable, check_fits, check_size

CheckedTable = NewType("CheckedTable", NDArray[np.int32])
"""A crop table from `CropSpec.checked_table`: int32, C-contiguous, and no row leads outside the images."""


@dataclass(frozen=True, eq=False)
class CropSpec:
    """The operation on the pixels, which is the same for every batch.

    Parameters
    ----------
    image_shape : (int, int, int)
        Height, width and channels of the source images, in pixels; only the channels of the result count.
    source_dtype : {"uint8", "uint16", "int16", "float32", "float64"}
        Type of the source images, in native byte order.
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
    order : str
        Order of the source's axes: "HWC", or another order of these letters.
    channels : tuple of int, optional
        Channel of the source, 0 and up, for each channel of the result. None: those of the source.
    source_channels : int, optional
        Number of channels of the source. None: as many as the result has.
    standardize : bool
        Bring each output image to mean 0 and standard deviation 1, after mean and scale (docs/notes/standardisation.md).

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
    order: str = "HWC"
    channels: tuple[int, ...] | None = None
    source_channels: int | None = None
    standardize: bool = False

    def __post_init__(self) -> None:
        check_choice("dtype", self.dtype, NUMPY_DTYPES)
        check_choice("layout", self.layout, ("channels_last", "channels_first"))
        check_choice("images must have one of the types", self.source_dtype, SOURCE_DTYPES)
        self._check_size()
        check_choice("order", self.order, ORDERS)
        self._check_channels()
        _ = self.mean_values, self.scale_values  # raise here, not in a worker

    def _check_size(self) -> None:
        check_fits(check_size(self.size), *self.image_shape[:2])

    def _check_channels(self) -> None:
        n_source, n = self.n_source_channels, self.image_shape[2]
        if self.channels is None:
            if n_source != n:
                raise ValueError(f"channels must say which {n} of the {n_source} channels of the source there are, got None")
        elif len(self.channels) != n or not all(0 <= channel < n_source for channel in self.channels):
            raise ValueError(f"channels must be {n} numbers in 0..{n_source - 1}, got {list(self.channels)}")

    def __reduce__(self) -> tuple[Any, ...]:  # without what is computed from the fields
        return type(self), tuple(getattr(self, field.name) for field in fields(self))

    @property
    def out_dtype(self) -> np.dtype:
        """Type of the result; `ml_dtypes.bfloat16` for bfloat16."""
        return NUMPY_DTYPES[self.dtype]

    @property
    def made_dtype(self) -> DTypeName:
        """Type in which results are made; they are standardised in float32, and always fit after that."""
        return "float32" if self.standardize else self.dtype

    @cached_property
    def made(self) -> Self:
        """The operation that makes the numbers that are standardised, if any are. Whether these are finite shows after that."""
        return self if not self.standardize else replace(self, dtype="float32", check_finite=False, standardize=False)

    @property
    def n_source_channels(self) -> int:
        """Number of channels of the source."""
        return self.image_shape[2] if self.source_channels is None else self.source_channels

    @property
    def picked(self) -> tuple[int, ...]:
        """Channel of the source for each channel of the result."""
        return tuple(range(self.image_shape[2])) if self.channels is None else self.channels

    @property
    def picks_all(self) -> bool:
        """Whether the result has all channels of the source, in their order."""
        return self.picked == tuple(range(self.n_source_channels))

    @property
    def source_shape(self) -> tuple[int, int, int]:
        """Shape of a source image, in `order`."""
        sides = {"H": self.image_shape[0], "W": self.image_shape[1], "C": self.n_source_channels}
        first, second, third = (sides[axis] for axis in self.order)
        return first, second, third

    @property
    def source_steps(self) -> tuple[int, int, int]:
        """Numbers from a row, a column and a channel of a source image to the next one."""
        _, second, third = self.source_shape
        steps = dict(zip(self.order, (second * third, third, 1), strict=True))
        return steps["H"], steps["W"], steps["C"]

    @property
    def source_bytes(self) -> int:
        """Size of a source image, in bytes."""
        return math.prod(self.source_shape) * np.dtype(self.source_dtype).itemsize

    def out_shape(self, n_out: int) -> tuple[int, int, int, int]:
        """Return the shape of a result of `n_out` crops."""
        channels = self.image_shape[2]
        return (n_out, *self.size, channels) if self.layout == "channels_last" else (n_out, channels, *self.size)

    @property
    def checks_finite(self) -> bool:
        """Whether the kernels check that results are finite."""
        return self.check_finite and np.dtype(self.source_dtype).kind == "f"

    @property
    def crop_bytes(self) -> int:
        """Size of one crop of the result, in bytes."""
        return math.prod(self.out_shape(1)) * self.out_dtype.itemsize

    @cached_property
    def mean_values(self) -> NDArray[np.float32] | None:
        """Mean as float32: None, of shape (C,), or of shape (H, W, C) for a mean image."""
        if self.mean is None:
            return None
        height, width, channels = self.image_shape
        mean = np.asarray(self.mean, np.float32)
        if mean.shape == self.image_shape:
            return finite("mean", np.ascontiguousarray(mean))
        return finite("mean", per_channel("mean", mean, channels, f", or ({height}, {width}, {channels})"))

    @cached_property
    def scale_values(self) -> NDArray[np.float32] | None:
        """Scale as float32: None, or of shape (C,)."""
        if self.scale is None:
            return None
        return finite("scale", per_channel("scale", np.asarray(self.scale, np.float32), self.image_shape[2]))

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
        has_image = self.mean_values is not None and self.mean_values.ndim == 3
        return self.image_shape[1] + (0 if has_image else _cpu.MORE_PIXELS)

    def _in_planes(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.layout == "channels_last":
            return np.ascontiguousarray(rows).reshape(len(rows), 1, -1)
        return np.ascontiguousarray(rows.transpose(0, 2, 1))

    @cached_property
    def cpu_parameters(self) -> _cpu.CropParameters:
        """What the CPU kernel does to every crop."""
        return self._crop_parameters(self.image_shape, self.source_steps[:2])

    def _crop_parameters(self, image_shape: tuple[int, int, int], steps: tuple[int, int]) -> _cpu.CropParameters:
        return _cpu.CropParameters(
            source_dtype=self.source_dtype,
            dtype=self.dtype,
            channels_first=self.layout == "channels_first",
            image_shape=image_shape,
            size=self.size,
            mean_rows=self.mean_rows,
            scale_rows=self.scale_rows,
            has_scale=self.scale is not None,
            steps=steps,
            source_channels=self.n_source_channels,
            channel_at=np.array(self.picked, np.int64) * self.source_steps[2],
            crop_bytes=self.crop_bytes,
            check_finite=self.checks_finite,
        )

    @cached_property
    def version(self) -> str:
        """Version of the CPU kernel, chosen when the operation is first executed; see `cpu_version`."""
        return cpu_version()

    @cached_property
    def _crop_limits(self) -> Limits:
        """What is surely sound in a crop table, so that most tables need no second look."""
        return Limits(geometry="crop", image_shape=self.image_shape, size=self.size, most_flags=MIRRORED | FLIPPED)

    def cpu_sink(self, table: NDArray[np.int32] | TransformTable, n_slots: int, out: NDArray) -> Sink:
        """Return a sink that executes a crop table on the CPU.

        Parameters
        ----------
        table : ndarray of int32, shape (n_out, 4), or TransformTable
            Source slot, y, x and flags of each crop; a transform table has nothing else.
        n_slots : int
            Number of images that the sink will be handed.
        out : ndarray of `out_dtype`, shape `out_shape(n_out)`, C-contiguous, aligned, writeable
            Where the crops go.

        Returns
        -------
        Sink
            Serves one thread at a time.

        Raises
        ------
        ValueError
            If a row of the table leads outside the images, or `out` is not as above.
        """
        table = self.checked_table(table, n_slots)
        self._check_out(len(table), out)
        order = by_slot(table[:, 0], n_slots)
        return sink_of(self, order.rows(table), order.numbers, order.firsts, out, out.nbytes >= stream_bytes())

    def sink(self, rows: Any, numbers: NDArray[np.int64], firsts: NDArray[np.int64], out: NDArray, stream: bool) -> Sink:
        """Return the sink that makes these images, without standardisation; see `sink_of`."""
        tables = {"table": rows, "numbers": numbers, "firsts": firsts, "target": out.reshape(-1).view(np.uint8)}
        return _cpu.CropSink(self.cpu_parameters, version=self.version, stream=stream, **tables)

    def _check_out(self, n_out: int, out: NDArray) -> None:
        shape = self.out_shape(n_out)
        if out.shape != shape or out.dtype != self.out_dtype or not (out.flags.carray and out.flags.writeable):
            raise ValueError(
                f"out must be a writeable, aligned, C-contiguous {self.dtype} array of shape {shape}, got {out.dtype} {out.shape}"
            )

    def checked_table(self, table: NDArray[np.integer] | TransformTable, n_slots: int) -> CheckedTable:
        """Check a crop table.

        Parameters
        ----------
        table : array_like of integers, shape (n_out, 4), or TransformTable
            Source slot, y, x and flags of each crop; a transform table has nothing else.
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
        table = np.asarray(crops_alone(table) if isinstance(table, TransformTable) else table)
        if self._crop_limits.hold(table, None, None, None, None, n_slots):
            return CheckedTable(table.astype(np.int32, copy=False))
        if table.ndim != 2 or table.shape[1] != 4 or len(table) == 0 or table.dtype.kind not in "iu":
            raise ValueError(f"table must be integers of shape (n_out, 4), n_out > 0, got {table.dtype} {table.shape}")
        limits = (n_slots - 1, self.image_shape[0] - self.size[0], self.image_shape[1] - self.size[1], MIRRORED | FLIPPED)
        for column, (name, limit) in enumerate(zip(("slot", "y", "x", "flags"), limits, strict=True)):
            low, high = table[:, column].min(), table[:, column].max()
            if low < 0 or high > limit:
                raise ValueError(f"{name} in the crop table must lie in 0..{limit}, found {low}..{high}")
        return CheckedTable(np.ascontiguousarray(table, np.int32))
