"""Rows of crop tables and transform tables."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprep.kernels import _tables
from fastprep.transforms import TransformTable

_LONGEST_SIDE = 2**24  # of an image, in pixels, so that float64 and int64 hold all products of sides


def crops_alone(table: TransformTable) -> NDArray[np.int32]:
    """Return the crops of a table that has nothing else.

    Raises
    ------
    ValueError
        If it has something else.
    """
    if table.geometry != "crop" or table.colors is not None or table.erasures is not None:
        raise ValueError("the transform table must have nothing but crops here: a WarpSpec turns, resizes and recolours")
    return table.crops


class SlotOrder(NamedTuple):
    """Order of the rows of a table by slot.

    Attributes
    ----------
    numbers : ndarray of int64, shape (n,)
        Which row comes at each place; rows of one slot keep their order.
    firsts : ndarray of int64, shape (n_slots + 1,)
        Where the rows of each slot begin in that order; the end, too.
    is_given : bool
        Whether the rows are in that order already, as those of most tables are.
    """

    numbers: NDArray[np.int64]
    firsts: NDArray[np.int64]
    is_given: bool

    def rows(self, part: Any) -> Any:
        """Return a part of the table, if there is one, in this order; the same array if it is in it."""
        return part if part is None or self.is_given else part[self.numbers]


def by_slot(slots: NDArray[np.int32], n_slots: int) -> SlotOrder:
    """Return the order of the rows of a table by slot.

    Raises
    ------
    ValueError
        If there is a slot that is none of 0..n_slots-1.
    """
    numbers, firsts, is_given = _tables.by_slot(np.asarray(slots, np.int32), n_slots)
    return SlotOrder(numbers, firsts, is_given)


def sizes_of_rows(sizes: NDArray[np.int64], slots: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the height and width of the source of each row of a table: int64, shape (n, 2), C-contiguous.

    Raises
    ------
    ValueError
        If they have another shape, are no sizes of images, or differ between rows of a slot.
    """
    array: NDArray = np.ascontiguousarray(sizes, np.int64)
    if array.shape != (len(slots), 2) or (array < 1).any() or (array > _LONGEST_SIDE).any():
        raise ValueError(
            f"sizes must be heights and widths in 1..{_LONGEST_SIDE}, of shape ({len(slots)}, 2), got {array.shape}, "
            f"{array.min(initial=0)}..{array.max(initial=0)}"
        )
    _, firsts, which = np.unique(slots, return_index=True, return_inverse=True)
    if (array != array[firsts][which]).any():
        raise ValueError("sizes must be the same in all rows of a slot, which are of one image")
    return array


def sizes_of_slots(sizes: NDArray[np.int64], slots: NDArray[np.int32], n_slots: int) -> NDArray[np.int64]:
    """Return the height and width of the image of each slot, 0 for one without rows; `sizes` are those of the rows."""
    of_slots = np.zeros((n_slots, 2), np.int64)
    of_slots[slots] = sizes
    return of_slots


def integers(name: str, values: NDArray, n: int | None = None) -> NDArray[np.int32]:
    """Return a part of a table of shape (n, 4) as int32, C-contiguous.

    Raises
    ------
    ValueError
        If it has another shape, no rows, or numbers that are no integers of 32 bits.
    """
    array = np.asarray(values)
    if (
        array.ndim != 2
        or array.shape[1] != 4
        or not len(array)
        or (n is not None and len(array) != n)
        or array.dtype.kind not in "iu"
    ):
        raise ValueError(f"{name} must be integers of shape ({'n_out' if n is None else n}, 4), got {array.dtype} {array.shape}")
    if array.min() < -(2**31) or array.max() >= 2**31:
        raise ValueError(f"{name} must be integers of 32 bits, found {array.min()}..{array.max()}")
    return np.ascontiguousarray(array, np.int32)
