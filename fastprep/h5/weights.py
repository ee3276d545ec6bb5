"""Files of weights, as Keras writes them: what they claim to hold."""

from __future__ import annotations

import math
from typing import IO

import h5py
from h5py import h5d, h5g

from fastprep.h5.links import walk


def claimed_bytes(file: IO[bytes]) -> int:
    """Return how many bytes the datasets of a file of weights would take in memory, without reading any of them.

    Parameters
    ----------
    file : binary file

    Returns
    -------
    int

    Raises
    ------
    OSError
        If the file is not HDF5.
    ValueError
        If the data of a dataset, or a group, are in other files.
    """
    total = 0
    with h5py.File(file, "r") as weights:
        for link in walk(h5g.open(weights.id, b"/")):
            dataset = h5py.Dataset(link.item) if isinstance(link.item, h5d.DatasetID) else None
            if link.file is not None or (dataset is not None and (dataset.is_virtual or dataset.external)):
                raise ValueError(f"{link.path.decode(errors='replace')!r} has its data in another file")
            if dataset is not None:
                n_values = max(dataset.size or 0, math.prod(dataset.chunks or (0,)))  # a chunk is decoded as a whole
                total += n_values * dataset.dtype.itemsize
    return total
