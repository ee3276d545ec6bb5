"""The arguments of the mask kernel: masks follow the geometry of their images, and keep the numbers that they have."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprep.kernels import _masks
from fastprep.kernels.choices import ORDERS, check_choice
from fastprep.kernels.tables import SlotOrder, by_slot, integers, sizes_of_rows, sizes_of_slots
from fastprep.transforms import TransformTable
from fastprep.transforms.target_geometry import steps

_FARTHEST = 2.0**30  # pixels; positions are 64-bit multiples of 2**-32
_NUMBER_BYTES = (1, 2, 4, 8)


@dataclass(frozen=True, eq=False)
class MaskSpec:
    """The operation on masks, which is the same for every batch: each output pixel is the source pixel that is nearest to it.

    Parameters
    ----------
    image_shape : (int, int, int)
        Height, width and channels of the masks, in pixels.
    dtype : dtype
        Type of the masks, and of the result: numbers of 1, 2, 4 or 8 bytes in native byte order.
    size : (int, int)
        Height and width of the result, in pixels.
    fill : float or array_like of shape (C,)
        What there is outside of a mask, where a matrix leads there. `dtype` holds it exactly, or it is a float of it.
    order : str
        Order of the masks' axes: "HWC", or another order of these letters.
    has_sizes : bool
        Whether the tables have `sizes`, as those of masks of different sizes do; the first two numbers of `image_shape` say
        nothing then. Masks have the order "HWC".

    Raises
    ------
    ValueError
        If an argument is not as above.
    """

    image_shape: tuple[int, int, int]
    dtype: np.dtype
    size: tuple[int, int]
    fill: ArrayLike = 0
    order: str = "HWC"
    has_sizes: bool = False

    def __post_init__(self) -> None:
        check_choice("order", self.order, ORDERS)
        if self.has_sizes and self.order != "HWC":
            raise ValueError(f"masks of different sizes must have the order 'HWC', got {self.order!r}")
        if self.dtype.kind not in "iufb" or self.dtype.itemsize not in _NUMBER_BYTES or not self.dtype.isnative:
            raise ValueError(f"masks must have numbers of 1, 2, 4 or 8 bytes in native byte order, got {self.dtype!r}")
        _ = self.fill_values  # raise here, not in a worker

    @cached_property
    def fill_values(self) -> NDArray:
        """Fill in the type of the masks, shape (C,).

        Raises
        ------
        ValueError
            If it is not a number, or one for each channel, that the type holds.
        """
        channels, values = self.image_shape[2], np.asarray(self.fill)
        if values.dtype.kind not in "iufb" or values.shape not in ((), (channels,)):
            raise ValueError(f"fill must be a number, or {channels} of them, got {self.fill!r}")
        with np.errstate(all="ignore"):
            filled = values.astype(self.dtype)
        if self.dtype.kind != "f" and not (filled == values).all():
            raise ValueError(f"fill must be a number of the masks' type, {self.dtype}, got {self.fill!r}")
        return np.ascontiguousarray(np.broadcast_to(filled, (channels,)))

    @property
    def source_steps(self) -> tuple[int, int, int]:
        """Numbers from a row, a column and a channel of a mask to the next one."""
        sides = dict(zip("HWC", self.image_shape, strict=True))
        _, second, third = (sides[axis] for axis in self.order)
        found = dict(zip(self.order, (second * third, third, 1), strict=True))
        return found["H"], found["W"], found["C"]

    @property
    def image_bytes(self) -> int:
        """Size of a mask, in bytes."""
        return int(np.prod(self.image_shape)) * self.dtype.itemsize

    def cpu_sink(self, table: TransformTable, n_slots: int, out: NDArray) -> _masks.MaskSink:
        """Return a sink that executes the geometry of a transform table on masks.

        Parameters
        ----------
        table : TransformTable
        n_slots : int
            Number of masks that the sink will be handed.
        out : ndarray of `dtype`, shape (n_out, h, w, C), C-contiguous, aligned, writeable
            Where the results go.

        Returns
        -------
        MaskSink
            Serves one thread at a time. Its `sizes` are those of the masks that it must be handed, if the table has such.

        Raises
        ------
        ValueError
            If a row of the table leads outside of the masks, where no matrix has a fill for it, the table has sizes and
            `has_sizes` is not set, or the other way round, or `out` is not as above.
        """
        n, (h, w) = len(table), self.size
        shape = (n, h, w, self.image_shape[2])
        if out.shape != shape or out.dtype != self.dtype or not (out.flags.carray and out.flags.writeable):
            wanted = f"out must be a writeable, aligned, C-contiguous {self.dtype} array of shape {shape}"
            raise ValueError(f"{wanted}, got {out.dtype} {out.shape}")
        slots = table.crops[:, 0]
        if not n or slots.min() < 0 or slots.max() >= n_slots:
            raise ValueError(f"slot in the transform table must lie in 0..{n_slots - 1}, and there must be a row")
        if (table.sizes is not None) != self.has_sizes:
            raise ValueError(f"the table must have sizes exactly if has_sizes is set, which is {self.has_sizes}")
        sizes = None if table.sizes is None else sizes_of_rows(table.sizes, slots)
        order = by_slot(slots, n_slots)
        sink = _masks.MaskSink(
            sides=self.image_shape,
            size=self.size,
            steps=self.source_steps,
            item_bytes=self.dtype.itemsize,
            fill=self.fill_values.view(np.uint8),
            **(self._picked(table, sizes, order) if table.matrices is None else self._mapped(table, order)),
            sizes=order.rows(sizes),
            numbers=order.numbers,
            firsts=order.firsts,
            places=np.empty(h + w, np.int64),
            target=out.reshape(-1).view(np.uint8),
        )
        if sizes is not None:
            sink.sizes = sizes_of_slots(sizes, slots, n_slots)
        return sink

    def _picked(self, table: TransformTable, sizes: NDArray[np.int64] | None, order: SlotOrder) -> dict[str, Any]:
        """Return the arguments of a sink that picks rows and columns."""
        crops, boxes = integers("crops", table.crops), None
        if table.boxes is not None:
            boxes = np.ascontiguousarray(table.boxes, np.float64)
            if boxes.shape != crops.shape:
                raise ValueError(f"boxes must have the shape {crops.shape}, got {boxes.shape}")
        if not _masks.stay_inside(crops, boxes, sizes, self.image_shape, self.size):
            height, width, _ = self.image_shape
            masks = "their masks" if self.has_sizes else f"masks of {height}x{width} pixels"
            raise ValueError(f"rows of the transform table must stay in {masks}")
        return {"crops": order.rows(crops), "boxes": order.rows(boxes), "start": None, "right": None, "down": None}

    def _mapped(self, table: TransformTable, order: SlotOrder) -> dict[str, Any]:
        """Return the arguments of a sink that follows matrices; it needs whole masks."""
        h, w = self.size
        assert table.matrices is not None
        if not (np.abs(table.matrices) @ (w, h, 1) <= _FARTHEST).all():
            raise ValueError("matrices in the transform table must keep within 2**30 pixels")
        found = steps(table, self.size)
        positions = {name: order.rows(values) for name, values in found._asdict().items()}
        return {"crops": order.rows(integers("crops", table.crops)), "boxes": None, **positions}
