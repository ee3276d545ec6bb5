"""Open files and datasets, with errors a person can act on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import h5py

from fastprep.h5.errors import DataError

HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError)
"""What h5py raises for a damaged file."""


@contextlib.contextmanager
def open_file(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading, with errors a person can act on.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file, or it may not be read.
    DataError
        If it is not an HDF5 file, or a damaged one.
    """
    path = os.fspath(path)
    os.close(os.open(path, os.O_RDONLY))  # the system's own error, which names the path
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path!r} is a folder, not an HDF5 file")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataError(_opening_problem(path, error), path) from error
    with file:
        yield file


def get_dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """Return a dataset of an open file.

    Raises
    ------
    DataError
        If there is none of that name, telling what there is.
    """
    try:
        dataset = file.get(name)
    except HDF5_ERRORS as error:
        raise DataError(f"can't be opened: {error}", file.filename, name) from error
    if isinstance(dataset, h5py.Dataset):
        return dataset
    found: list[str] = []

    def note(key: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found.append(f"{key!r} {item.shape} {item.dtype}")

    try:
        file.visititems(note)
    except HDF5_ERRORS as error:
        raise DataError(f"the file is damaged: {error}", file.filename) from error
    there = "; it has " + ", ".join(found[:8]) + (", ..." if len(found) > 8 else "") if found else "; it has no dataset at all"
    raise DataError(f"there is no dataset {name!r}{there} (other names with images= and labels=)", file.filename)


def identity_of(status: os.stat_result) -> tuple[int, ...]:
    """Return what has to stay the same for an index to stay true."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _opening_problem(path: str, error: OSError) -> str:
    try:
        looks_right = h5py.is_hdf5(path)
    except OSError:
        looks_right = False
    return f"HDF5 can't open it: {error}" if looks_right else "not an HDF5 file"
