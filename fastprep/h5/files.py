"""Opening of files and datasets, with errors that a user can act on."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
from collections.abc import Iterator

import h5py

from fastprep.errors import DataError
from fastprep.system.patch import undo_path

HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError)
"""Exceptions that h5py raises for damaged files."""

CHANGED = "changed or replaced since it was opened first"

_DRIVERS = {b"NCSAfami": "family", b"NCSAmult": "split or multi"}
_DRIVER_INFO_WITHIN = 1024  # bytes; it follows the superblock (HDF5 File Format Specification, II.A and II.B)


@contextlib.contextmanager
def open_file(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading, with errors that a user can act on.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If the file does not exist, or may not be read.
    DataError
        If it is not an HDF5 file, or is damaged.
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
        If the file has no dataset of that name; the error lists those that it has.
    """
    try:
        dataset = file.get(name)
    except HDF5_ERRORS as error:
        raise DataError(_half_made(file.filename) or f"can't be opened: {error}", file.filename, name) from error
    if isinstance(dataset, h5py.Dataset):
        return dataset
    if dataset is None and (link := _broken_link(file, name)):
        raise DataError(link, file.filename, name)
    found: list[str] = []

    def record(key: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found.append(f"{key!r} {item.shape} {item.dtype}")

    try:
        file.visititems(record)
    except HDF5_ERRORS as error:
        raise DataError(f"the file is damaged: {error}", file.filename) from error
    others = "; it has " + ", ".join(found[:8]) + (", ..." if len(found) > 8 else "") if found else "; it has no dataset at all"
    raise DataError(f"there is no dataset {name!r}{others} (other names with images=, labels= and sample_weight=)", file.filename)


def identity_of(status: os.stat_result) -> tuple[int, ...]:
    """Return the facts that tell whether a file has changed: device, inode, size in bytes and modification time in ns."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def opening_problem(path: str, error: OSError) -> str:
    """Describe why HDF5 can't open a file."""
    if half_made := _half_made(path):
        return half_made
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
    """Register the filters of hdf5plugin with HDF5, if that package is installed. Each process has to do so for itself."""
    with contextlib.suppress(ImportError):
        import hdf5plugin  # noqa: F401 - registers them


def _half_made(path: str) -> str:
    """Describe a change of a file in which a process was killed; empty if there is none."""
    if not os.path.lexists(undo_path(path)):
        return ""
    command = f"python -m fastprep.show {shlex.quote(os.fsdecode(path))} --mean --store"
    return f"a command that stored a mean in it was killed: `{command}` puts it back"


def _broken_link(file: h5py.File, name: str) -> str:
    """Describe a soft or external link whose target can't be opened; empty if that name is not such a link."""
    links = file.id.links
    try:
        kind, target = links.get_info(name.encode()).type, links.get_val(name.encode())
    except HDF5_ERRORS:
        return ""
    if kind == h5py.h5l.TYPE_EXTERNAL:
        other_file, linked = (os.fsdecode(part) for part in target)
        return f"it is a link to {linked!r} of the file {other_file!r}, which is not there, or can't be opened"
    return f"it is a link to {os.fsdecode(target)!r}, which is not there"
