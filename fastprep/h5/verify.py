"""Complete an index, and prove on three images that it is right."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import h5py
import numpy as np

from fastprep.errors import DataError
from fastprep.h5.cache import Scratch
from fastprep.h5.chunks import Rows
from fastprep.h5.files import get_dataset
from fastprep.h5.handles import OpenFile
from fastprep.h5.index import ImageIndex, with_chunks
from fastprep.sampling import hashing

DESCRIPTORS = 2
"""What it takes: HDF5's, and ours to compare with."""


def complete(index: ImageIndex, file: h5py.File) -> ImageIndex:
    """Return an index with the places of its chunks, compared with what HDF5 reads.

    Parameters
    ----------
    index : ImageIndex
    file : h5py.File
        The file that it is of, open for reading.

    Returns
    -------
    ImageIndex
        Complete; one that leaves the dataset to HDF5 if an image differs.

    Raises
    ------
    OSError
        If the file can't be opened a second time.
    DataError
        If the dataset can't be opened, or its list of chunks can't be true.
    """
    if index.is_complete:
        return index
    dataset = get_dataset(file, index.dataset)
    index = with_chunks(index, dataset)
    if index.is_complete:  # it turned out to be one for HDF5
        return index
    wrong = _first_difference(index, dataset)
    if wrong is not None:
        return index.by_hdf5(f"image {wrong} differs from HDF5's when it is read directly")
    return replace(index, is_complete=True)


def _first_difference(index: ImageIndex, dataset: h5py.Dataset) -> int | None:
    """Compare an image of the first, the last and one other chunk with HDF5's; return one that differs."""
    n, per_block = index.shape[0], index.images_decoded_at_once
    with contextlib.closing(OpenFile(index.holder)) as file:
        rows = Rows(index, file, Scratch())
        for sample in {0, n - 1, int(hashing.draw(hashing.key(n), np.zeros(1, np.int64), n)[0])}:
            if not index.direct[sample // index.images_per_chunk]:
                continue  # HDF5 reads it anyhow
            try:
                ours = rows.block(sample // per_block, keeps=False)[sample % per_block]  # first: HDF5's filters may crash
                rows.check_unchanged()
                theirs = dataset[sample].reshape(index.shape[1:]).astype(index.dtype)
            except (DataError, OSError, RuntimeError):
                continue  # damaged images are reported when they are asked for
            if ours.tobytes() != theirs.tobytes():
                return sample
    return None
