"""External storage: contiguous data that lie in other files, of which HDF5 reads zeros where a file is too short."""

from __future__ import annotations

import os

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.h5.sources import STORAGE_PREFIX, places


def missing_external_file(dataset: h5py.Dataset) -> str | None:
    """Return the name of a file that a dataset has its values in, and that is not there; None if there is none."""
    if not dataset.id.get_create_plist().get_external_count():
        return None
    names = dict.fromkeys(os.fsdecode(name) for name, _, _ in dataset.external)
    return next((name for name in names if _place_of(name, dataset) is None), None)


def unwritten_rows_of_external(dataset: h5py.Dataset) -> NDArray[np.bool_]:
    """Tell which rows of a dataset with external storage have a part behind the end of its file.

    Parameters
    ----------
    dataset : h5py.Dataset
        Its first axis counts the rows.

    Returns
    -------
    ndarray of bool, shape (rows,)
    """
    n_rows, row_bytes = dataset.shape[0], dataset.nbytes // dataset.shape[0]
    is_unwritten, begin = np.zeros(n_rows, bool), 0
    for name, offset, n_bytes in dataset.external:
        stop = min(begin + n_bytes, dataset.nbytes)  # the last piece may have no end
        place = _place_of(os.fsdecode(name), dataset)
        there = stop if place is None else begin + min(max(os.path.getsize(place) - offset, 0), n_bytes)
        if there < stop:
            is_unwritten[there // row_bytes : -(-stop // row_bytes)] = True
        begin = stop
    return is_unwritten


def _place_of(name: str, dataset: h5py.Dataset) -> str | None:
    """Return the first path at which HDF5 finds a file; None if it is at none."""
    folder = os.path.dirname(os.path.abspath(dataset.file.filename))
    return next(filter(os.path.exists, places(name, folder, (STORAGE_PREFIX,), beside=False)), None)
