"""Files of weights, as Keras writes them: what they claim to hold."""

from __future__ import annotations

import math
from typing import IO, Any

import h5py


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

    def add(name: str, found: Any) -> str | None:
        nonlocal total
        if isinstance(found, h5py.Dataset):
            if found.is_virtual or found.external:
                return name  # which ends the visit; h5py can't pass an exception on everywhere
            n_values = max(found.size or 0, math.prod(found.chunks or (0,)))  # a chunk is decoded as a whole
            total += n_values * found.dtype.itemsize
        return None

    def leads_out(name: bytes, info: Any) -> str | None:
        return name.decode(errors="replace") if info.type == h5py.h5l.TYPE_EXTERNAL else None

    with h5py.File(file, "r") as weights:
        elsewhere = weights.id.links.visit(leads_out, info=True) or weights.visititems(add)
    if elsewhere is not None:
        raise ValueError(f"{elsewhere!r} has its data in another file")
    return total
