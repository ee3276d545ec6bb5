"""Rows of a dataset that nobody has written: HDF5 reads them as its fill value, which is 0 unless the file says otherwise."""

from __future__ import annotations

import logging
import math
import os

import h5py
import numpy as np

from fastprep.h5.columns import find_column
from fastprep.h5.files import open_file

_log = logging.getLogger(__name__)


def n_unwritten(dataset: h5py.Dataset, axis: int | None = 0) -> int:
    """Count the rows of a dataset of which a part has no storage.

    Parameters
    ----------
    dataset : h5py.Dataset
        Of rank 1 or more.
    axis : int or None
        Which axis counts the rows; None if all of the dataset is one row.

    Returns
    -------
    int
        0 also where that can't be known: for virtual datasets, for rows of a contiguous dataset, which gets all of its storage
        with the first row, and if the list of chunks is damaged, which is reported when rows are read.
    """
    try:
        return _n_unwritten(dataset, axis)
    except (OSError, RuntimeError, IndexError, ValueError):
        return 0


def _n_unwritten(dataset: h5py.Dataset, axis: int | None) -> int:
    n_rows = 1 if axis is None else dataset.shape[axis]
    properties = dataset.id.get_create_plist()
    if properties.get_layout() == h5py.h5d.CONTIGUOUS and not properties.get_external_count():
        return n_rows if dataset.id.get_storage_size() == 0 else 0
    if properties.get_layout() != h5py.h5d.CHUNKED or not hasattr(dataset.id, "chunk_iter"):
        return 0
    grid = [-(-side // chunk) for side, chunk in zip(dataset.shape, dataset.chunks, strict=True)]
    if dataset.id.get_num_chunks() >= math.prod(grid):
        return 0
    if axis is None:
        return 1
    per_row = np.zeros(grid[axis], np.int64)

    def count(info: h5py.h5d.StoreInfo) -> None:
        per_row[info.chunk_offset[axis] // dataset.chunks[axis]] += 1

    dataset.id.chunk_iter(count)
    return rows_of(per_row < math.prod(grid) // grid[axis], dataset.chunks[axis], n_rows)


def count_unwritten(path: str | os.PathLike[str], dataset: str) -> int:
    """Count the rows of a dataset of which a part has no storage; see `n_unwritten`.

    Raises
    ------
    OSError, DataError
        If there is no such file or dataset.
    """
    with open_file(path) as file:
        return n_unwritten(find_column(file, dataset, "labels").dataset)


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
