"""Open files and datasets, with errors a person can act on."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

import h5py

from fastprep.errors import DataError

HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError)
"""What h5py raises for a damaged file."""

_DRIVERS = {b"NCSAfami": "family", b"NCSAmult": "split or multi"}
_DRIVER_INFO_WITHIN = 1024  # bytes: it stands behind the superblock (HDF5 File Format Specification, II.B and II.C)


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
        raise DataError(opening_problem(path, error), path) from error
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
    if dataset is None and (link := _link_that_leads_nowhere(file, name)):
        raise DataError(link, file.filename, name)
    found: list[str] = []

    def note(key: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found.append(f"{key!r} {item.shape} {item.dtype}")

    try:
        file.visititems(note)
    except HDF5_ERRORS as error:
        raise DataError(f"the file is damaged: {error}", file.filename) from error
    there = "; it has " + ", ".join(found[:8]) + (", ..." if len(found) > 8 else "") if found else "; it has no dataset at all"
    raise DataError(f"there is no dataset {name!r}{there} (other names with images=, labels= and sample_weight=)", file.filename)


def identity_of(status: os.stat_result) -> tuple[int, ...]:
    """Return what has to stay the same for an index to stay true."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def opening_problem(path: str, error: OSError) -> str:
    """Say in words for people why HDF5 can't open a file."""
    if error.errno == errno.EAGAIN:  # HDF5's lock
        return f"another program has it open for writing ({error})"
    if "already open for write" in str(error):  # its mark in the file
        return f"a program has it open for writing, or ended without closing it ({error})"
    try:
        looks_right = h5py.is_hdf5(path)
    except OSError:
        looks_right = False
    if not looks_right:
        return "not an HDF5 file"
    with open(path, "rb") as file:
        start = file.read(_DRIVER_INFO_WITHIN)
    for mark, driver in _DRIVERS.items():
        if mark in start:
            return f"only a part of the data: HDF5's {driver} driver spread them over several files ({error})"
    return f"HDF5 can't open it: {error}"


def load_filters() -> None:
    """Let HDF5 have the filters of hdf5plugin, where that is installed; each process needs it for itself."""
    with contextlib.suppress(ImportError):
        import hdf5plugin  # noqa: F401 - it registers them


def _link_that_leads_nowhere(file: h5py.File, name: str) -> str:
    """Describe a soft or external link whose object can't be had; empty if that name is no such link."""
    links = file.id.links
    try:
        kind, target = links.get_info(name.encode()).type, links.get_val(name.encode())
    except HDF5_ERRORS:
        return ""
    if kind == h5py.h5l.TYPE_EXTERNAL:
        other, there = (os.fsdecode(part) for part in target)
        return f"it is a link to {there!r} of the file {other!r}, and that is not there, or can't be opened"
    return f"it is a link to {os.fsdecode(target)!r}, and that is not there"


CHANGED = "changed or replaced since it was opened first"
