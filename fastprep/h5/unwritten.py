"""Rows of a dataset that nobody has written: HDF5 reads them as its fill value, which is 0 unless the file says otherwise."""

from __future__ import annotations

import logging
import math
import os

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.h5.columns import find_column
from fastprep.h5.external import unwritten_rows_of_external
from fastprep.h5.files import HDF5_ERRORS, open_file
from fastprep.h5.groups import is_group
from fastprep.h5.virtual import unwritten_rows_of_virtual

_log = logging.getLogger(__name__)


def n_unwritten(dataset: h5py.Dataset, axis: int | None = 0) -> int:
    """Count the rows of a dataset of which a part has no storage.

    Parameters
    ----------
    dataset : h5py.Dataset
        A scalar is one row.
    axis : int or None
        Which axis counts the rows; None if all of the dataset is one row.

    Returns
    -------
    int
        Rows of a virtual dataset count if no source fills a part of them, and rows of external storage if their file is too
        short. 0 also where that can't be known: for virtual datasets without an end, for rows of a contiguous dataset, which gets
        all of its storage with the first row, and if the list of chunks, or a source, is damaged, which is reported when rows
        are read.
    """
    try:
        found = _unwritten_rows(dataset, axis if dataset.shape else None)  # the label of an image may be a scalar
    except (*HDF5_ERRORS, IndexError):
        return 0
    return 0 if found is None else int(np.count_nonzero(found))


def _unwritten_rows(dataset: h5py.Dataset, axis: int | None) -> NDArray[np.bool_] | None:
    """Tell which rows of a dataset have a part without storage; None where that can't be known."""
    n_rows = 1 if axis is None else dataset.shape[axis]
    properties = dataset.id.get_create_plist()
    layout = properties.get_layout()
    if layout == h5py.h5d.VIRTUAL:
        found = unwritten_rows_of_virtual(dataset, axis or 0, _unwritten_rows)
        return np.full(1, found.any()) if found is not None and axis is None else found
    if layout == h5py.h5d.CONTIGUOUS:
        if properties.get_external_count():
            return unwritten_rows_of_external(dataset) if axis == 0 else None
        return np.full(n_rows, dataset.id.get_storage_size() == 0)
    if layout != h5py.h5d.CHUNKED or not hasattr(dataset.id, "chunk_iter"):
        return None
    grid = [-(-side // chunk) for side, chunk in zip(dataset.shape, dataset.chunks, strict=True)]
    is_whole = dataset.id.get_num_chunks() >= math.prod(grid)
    if is_whole or axis is None:
        return np.full(n_rows, not is_whole)
    per_row = np.zeros(grid[axis], np.int64)

    def count(info: h5py.h5d.StoreInfo) -> None:
        per_row[info.chunk_offset[axis] // dataset.chunks[axis]] += 1

    dataset.id.chunk_iter(count)
    return np.repeat(per_row < math.prod(grid) // grid[axis], dataset.chunks[axis])[:n_rows]


def count_unwritten(path: str | os.PathLike[str], dataset: str) -> int:
    """Count the rows of a dataset of which a part has no storage; see `n_unwritten`.

    Raises
    ------
    OSError, DataError
        If there is no such file or dataset.
    """
    with open_file(path) as file:
        return n_unwritten(find_column(file, dataset, "labels").dataset)


def warn_of_unwritten_in(path: str, name: str, n_rows: int, what: str) -> None:
    """Log that rows of a column of a file were never written, if there are such; `what` they are, in the plural.

    Raises
    ------
    OSError, DataError
        If there is no such file or column.
    """
    if not is_group(name):
        warn_of_unwritten(path, name, count_unwritten(path, name), n_rows, what)


def rows_of(chunks: np.ndarray, rows_per_chunk: int, n_rows: int) -> int:
    """Count the rows of the chunks that a mask names; the last chunk may have fewer."""
    full = int(chunks.sum()) * rows_per_chunk
    return full - (len(chunks) * rows_per_chunk - n_rows) * int(chunks[-1])


def describe_unwritten(n: int, n_rows: int, what: str, are_encoded: bool = False) -> str:
    """Return, in words, that rows were never written; `what` they are, in the plural."""
    if are_encoded:
        return f"{n:,} of {n_rows:,} {what} have no bytes, or were never written; they can't be read"
    return f"{n:,} of {n_rows:,} {what} were never written, and are read as the file's fill value (0, if it names none)"


def warn_of_unwritten(file: str, dataset: str, n: int, n_rows: int, what: str, are_encoded: bool = False) -> None:
    """Log that rows of a dataset were never written, if there are such."""
    if n:
        _log.warning("%s: dataset %r: %s", file, dataset, describe_unwritten(n, n_rows, what, are_encoded))
