"""Rows of crop tables and transform tables."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastprep.kernels import _tables
from fastprep.transforms import TransformTable


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


def by_slot(slots: NDArray[np.int32], n_slots: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the order of the rows of a table by slot, and where the rows of each slot begin in that order; the end, too."""
    return _tables.by_slot(np.asarray(slots, np.int32), n_slots)


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
