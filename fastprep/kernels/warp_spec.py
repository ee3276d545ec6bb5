"""The arguments of the warp kernels, which execute what the crop kernels can't: turns, resizing, colours and erasing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import ml_dtypes
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprep._sink import Sink
from fastprep.kernels import _cpu_warp, spec
from fastprep.kernels._tables import Limits
from fastprep.kernels.choices import NUMPY_DTYPES, DTypeName
from fastprep.kernels.ranges import FIRST_INFINITE
from fastprep.kernels.spec import CropSpec
from fastprep.kernels.standardizing import sink_of
from fastprep.kernels.tables import by_slot, integers, sizes_of_rows, sizes_of_slots
from fastprep.transforms import FLIPPED, MIRRORED, TRANSPOSED, TransformTable, check_fits, check_size
from fastprep.transforms.table import FARTHEST, Geometry

_MOST_CHANNELS_OF_COLORS = 3


@dataclass(frozen=True, eq=False)
class WarpSpec(CropSpec):
    """The operation on the pixels of a transform table, which is the same for every batch.

    Parameters
    ----------
    geometry : {"crop", "box", "matrix"}
        What the rows of the tables say of where pixels come from; see `TransformTable`.
    fill : float or array_like of shape (C,)
        What there is outside of an image, for "matrix", in the numbers of the source.
    has_colors : bool
        Whether the tables have `colors`. Images have one or three channels then.
    erase_value : float or array_like of shape (C,), optional
        What erased rectangles become, in the numbers of the result. None: the tables have no `erasures`.
    has_sizes : bool
        Whether the tables have `sizes`, as those of images of different sizes do; the first two numbers of `image_shape` are only
        a hint then. Sources have the order "HWC".

    Raises
    ------
    ValueError
        If an argument is not as above, or as in `CropSpec`; or for a mean image, which belongs to pixels that stay in place.
    """

    geometry: Geometry = "crop"
    fill: ArrayLike = 0.0
    has_colors: bool = False
    erase_value: ArrayLike | None = None
    has_sizes: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.has_sizes and self.order != "HWC":
            raise ValueError(f"images of different sizes must have the order 'HWC', got {self.order!r}")
        if self.mean_values is not None and self.mean_values.ndim == 3:
            raise ValueError(
                "mean must be a number for each channel where images are turned, resized or recoloured, got a mean image: "
                "pass its mean over height and width, such as mean=loader.mean.mean(axis=(0, 1))"
            )
        if self.has_colors and self.image_shape[2] not in (1, _MOST_CHANNELS_OF_COLORS):
            raise ValueError(f"color is for images with 1 or 3 channels, got {self.image_shape[2]}")
        fill = self.fill_values.astype(np.float64)
        if self.geometry == "matrix":
            self._check_held("fill becomes", self._results(fill), self.made_dtype)
        if self.erase_values is not None:
            self._check_held("erase_value is", self.erase_values, self.dtype)

    @cached_property
    def made(self) -> Self:
        """The operation that makes the numbers that are standardised, see `CropSpec.made`; erasing follows."""
        if not self.standardize:
            return self
        return replace(self, dtype="float32", check_finite=False, standardize=False, erase_value=None)

    def _check_size(self) -> None:
        if self.geometry == "crop" and not self.has_sizes:
            check_fits(check_size(self.size), *self.image_shape[:2])
        else:
            check_size(self.size)

    @cached_property
    def fill_values(self) -> NDArray[np.float32]:
        """Fill as float32, shape (C,)."""
        return self._of_channels("fill", self.fill)

    @cached_property
    def erase_values(self) -> NDArray[np.float32] | None:
        """Value of erased rectangles as float32: None, or of shape (C,)."""
        return None if self.erase_value is None else self._of_channels("erase_value", self.erase_value)

    def _results(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what mean and scale make of numbers, of shape (..., C)."""
        mean = 0.0 if self.mean_values is None else self.mean_values.astype(np.float64)
        return (values - mean) * (1.0 if self.scale_values is None else self.scale_values.astype(np.float64))

    def _check_held(self, what: str, values: NDArray, dtype: DTypeName) -> None:
        """Check that a type holds numbers as finite ones, if that is to be checked at all."""
        largest = float(np.abs(values).max())
        if self.check_finite and largest >= FIRST_INFINITE[dtype]:
            limit = float(ml_dtypes.finfo(NUMPY_DTYPES[dtype]).max)
            raise ValueError(
                f"dtype {dtype!r} holds numbers up to {limit:.6g}, and {what} as large as {largest:.6g}: "
                "pass a smaller scale, or a larger dtype"
            )

    def _check_colors(self, colors: NDArray[np.float32]) -> None:
        """Check that colours make finite results of all integers of the source's type; the kernels check those of floats."""
        dtype = np.dtype(self.source_dtype)
        if dtype.kind == "f":
            return
        lowest, highest = np.iinfo(dtype).min, np.iinfo(dtype).max
        maps = colors.astype(np.float64)
        up, down = np.maximum(maps[..., :-1], 0).sum(axis=2), np.minimum(maps[..., :-1], 0).sum(axis=2)
        for ends in (up * highest + down * lowest, up * lowest + down * highest):
            self._check_held(f"colours may make {dtype} images", self._results(ends + maps[..., -1]), self.made_dtype)

    def _of_channels(self, name: str, values: ArrayLike) -> NDArray[np.float32]:
        channels = self.image_shape[2]
        array = np.asarray(values, np.float32)
        if array.shape not in ((), (channels,)) or not np.isfinite(array).all():
            raise ValueError(f"{name} must be a finite number, or {channels} of them, got {values!r}")
        return np.ascontiguousarray(np.broadcast_to(array, (channels,)))

    @property
    def _row_pixels(self) -> int:
        return max(super()._row_pixels, self.size[1])

    @cached_property
    def _warp_parameters(self) -> _cpu_warp.WarpParameters:
        (height, width, channels), (down, right, _) = self.image_shape, self.source_steps
        return _cpu_warp.WarpParameters(
            geometry=self.geometry,
            has_colors=self.has_colors,
            straight=self.cpu_parameters,
            turned=self._crop_parameters((width, height, channels), (right, down)),
            fill=self.fill_values,
            erase_value=self.erase_values,
        )

    @cached_property
    def _limits(self) -> Limits:
        """What is surely sound in a table, so that most tables need no second look."""
        source, most_source, most_mapped = np.dtype(self.source_dtype), 0, None
        if self.has_colors and self.check_finite and source.kind != "f":
            most_source = max(-np.iinfo(source).min, np.iinfo(source).max)
            mean = 0.0 if self.mean_values is None else float(np.abs(self.mean_values).max())
            scale = 1.0 if self.scale_values is None else max(float(np.abs(self.scale_values).max()), 1e-30)
            # rounded sums of a few numbers are off by far less than a thousandth
            most_mapped = 0.999 * FIRST_INFINITE[self.made_dtype] / scale - mean
        return Limits(
            geometry=self.geometry,
            image_shape=self.image_shape,
            size=self.size,
            most_flags=FLIPPED | MIRRORED | (TRANSPOSED if self.geometry != "matrix" else 0),
            has_colors=self.has_colors,
            has_erasures=self.erase_value is not None,
            farthest=FARTHEST,
            most_source=most_source,
            most_mapped=most_mapped,
        )

    def cpu_sink(self, table: NDArray[np.int32] | TransformTable, n_slots: int, out: NDArray) -> Sink:
        """Return a sink that executes a transform table on the CPU.

        Parameters
        ----------
        table : TransformTable
        n_slots : int
            Number of images that the sink will be handed.
        out : ndarray of `out_dtype`, shape `out_shape(n_out)`, C-contiguous, aligned, writeable
            Where the images go.

        Returns
        -------
        Sink
            Serves one thread at a time. With `check_finite` it refuses an image that has a result which is not finite, even one
            that is erased. Its `sizes` are those of the images that it must be handed, if the table has such.

        Raises
        ------
        ValueError
            If the table is not as in `checked`, or `out` is not as above.
        """
        table = self.checked(table if isinstance(table, TransformTable) else TransformTable(table), n_slots)
        self._check_out(len(table), out)
        order = by_slot(table.crops[:, 0], n_slots)
        parts: tuple[Any, ...] = (table.boxes, table.matrices, table.colors, table.erasures, table.sizes)
        rows = TransformTable(order.rows(table.crops), *map(order.rows, parts))
        sink = sink_of(self, rows, order.numbers, order.firsts, out, out.nbytes >= spec.stream_bytes())
        if table.sizes is not None:
            sink.sizes = sizes_of_slots(table.sizes, table.crops[:, 0], n_slots)
        return sink

    def sink(self, rows: Any, numbers: NDArray[np.int64], firsts: NDArray[np.int64], out: NDArray, stream: bool) -> Sink:
        """Return the sink that makes these images, without standardisation; see `sink_of`."""
        return _cpu_warp.WarpSink(
            self._warp_parameters,
            version=self.version,
            stream=stream,
            crops=rows.crops,
            boxes=rows.boxes,
            matrices=rows.matrices,
            colors=rows.colors,
            erasures=rows.erasures,
            sizes=rows.sizes,
            numbers=numbers,
            firsts=firsts,
            target=out.reshape(-1).view(np.uint8),
        )

    def checked(self, table: TransformTable, n_slots: int) -> TransformTable:
        """Check a transform table.

        Parameters
        ----------
        table : TransformTable
        n_slots : int
            Number of images in the batch.

        Returns
        -------
        TransformTable
            The same table, with C-contiguous arrays.

        Raises
        ------
        ValueError
            If a row leads outside the images or the result, if a number is not finite, if the table has other parts than this
            operation, or if colours may make numbers that `dtype` does not hold and `check_finite` is set.
        """
        parts = table.crops, table.boxes, table.matrices, table.colors, table.erasures
        if table.sizes is None and not self.has_sizes and self._limits.hold(*parts, n_slots):
            return table
        n, (h, w) = len(table), self.size
        crops = integers("crops", table.crops)
        found = table.colors is not None, table.erasures is not None, table.sizes is not None
        if table.geometry != self.geometry or found != (self.has_colors, self.erase_value is not None, self.has_sizes):
            raise ValueError(f"the table must have what the operation says: {self.geometry}, colors, erasures and sizes alike")
        sizes = None if table.sizes is None else sizes_of_rows(table.sizes, crops[:, 0])
        height, width = self.image_shape[:2] if sizes is None else sizes.T
        flags = crops[:, 3]
        most = FLIPPED | MIRRORED | (TRANSPOSED if self.geometry != "matrix" else 0)
        _check_within("flags", flags, 0, most)
        _check_within("slot", crops[:, 0], 0, n_slots - 1)
        is_turned = (flags & TRANSPOSED) != 0
        if self.geometry == "crop":
            _check_within("y", crops[:, 1], 0, height - np.where(is_turned, w, h))
            _check_within("x", crops[:, 2], 0, width - np.where(is_turned, h, w))
        boxes = _floats("boxes", table.boxes, (n, 4), np.float64)
        if boxes is not None:
            tops, lefts, heights, widths = boxes.T
            if (
                not ((tops >= 0) & (lefts >= 0) & (heights > 0) & (widths > 0)).all()
                or not ((tops + heights <= height) & (lefts + widths <= width)).all()
            ):
                images = "their images" if self.has_sizes else f"images of {height}x{width} pixels"
                raise ValueError(f"boxes must lie in {images}, and not be empty")
        erasures = None if table.erasures is None else integers("erasures", table.erasures, n)
        if erasures is not None:
            for first, extent, limit in ((0, 2, h), (1, 3, w)):
                _check_within("erasures", erasures[:, first], 0, limit)
                _check_within("erasures", erasures[:, extent], 0, limit - erasures[:, first])
        matrices = _floats("matrices", table.matrices, (n, 2, 3), np.float64)
        if matrices is not None and (farthest := (np.abs(matrices) @ (w, h, 1)).max()) > FARTHEST:
            raise ValueError(
                "matrices must keep within 2**30 pixels, |a| * width + |b| * height + |c| for a row a, b, c of a matrix and the "
                f"size of the result; found {farthest:.6g}"
            )
        channels = self.image_shape[2]
        colors = _floats("colors", table.colors, (n, channels, channels + 1), np.float32)
        if colors is not None:
            self._check_colors(colors)
        return TransformTable(crops, boxes, matrices, colors, erasures, sizes)


def _check_within(name: str, values: NDArray[np.int32], low: int, high: int | NDArray[np.int32]) -> None:
    if (values < low).any() or (values > high).any():
        raise ValueError(f"{name} in the transform table must lie in {low}..{np.min(high)}, found {values.min()}..{values.max()}")


def _floats(name: str, values: NDArray | None, shape: tuple[int, ...], dtype: type) -> NDArray | None:
    if values is None:
        return None
    array: NDArray = np.ascontiguousarray(values, dtype)
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite numbers of shape {shape}, got {array.shape}")
    return array
