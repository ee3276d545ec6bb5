"""Opening of files and datasets, with errors that a user can act on."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Any

import h5py

from fastprep import remote
from fastprep.command_lines import command_line, path_word
from fastprep.errors import DataError
from fastprep.h5.listing import encoded, missing_dataset
from fastprep.h5.not_hdf5 import check_no_folder, check_no_pipe, what_it_is
from fastprep.h5.retries import raise_machine_fault
from fastprep.system.patch import undo_path

HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError)
"""Exceptions that h5py raises for damaged files."""

CHANGED = "changed or replaced since it was opened first"

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EIO)
"""Numbers of errors of drives that have no locks, such as network drives whose lock service is not running."""

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
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
        If it is not an HDF5 file, such as a pipe, or is damaged.
    """
    path = os.fspath(path)
    if (found := remote.find(path)) is not None:
        with open_hdf5(path, found.name) as file:
            yield file
        return
    check_no_pipe(path)
    os.close(os.open(path, os.O_RDONLY))  # the system's own error, which names the path
    check_no_folder(path)
    with open_hdf5(path, path) as file:
        yield file


def open_hdf5(path: str, named: str) -> h5py.File:
    """Open an HDF5 file for reading; also on drives that have no locks, which a reader can do without.

    Parameters
    ----------
    path : str
    named : str
        The file as the user named it, for errors.

    Raises
    ------
    OSError
        If the machine fails: too many open files, no memory, a drive that went away.
    DataError
        If it is not an HDF5 file, is damaged, or a program has it open for writing.
    """
    if (found := remote.find(path)) is not None:
        return _open_remote(found)
    try:
        try:
            return h5py.File(path, "r")
        except OSError as error:
            if error.errno not in _NO_LOCKS or "unable to lock file" not in str(error):
                raise
            return h5py.File(path, "r", locking=False)
    except OSError as error:
        if error.errno != errno.EAGAIN:  # which is HDF5's lock
            raise_machine_fault(error, named)
        raise DataError(opening_problem(path, error), named) from error


def _open_remote(found: remote.RemoteFile) -> h5py.File:
    """Open a remote file through its mirror, under its address."""
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)  # as h5py does
    access.set_libver_bounds(h5py.h5f.LIBVER_EARLIEST, h5py.h5f.LIBVER_LATEST)
    found.bring_ends()
    stream = found.as_file()
    access.set_fileobj_driver(h5py.h5fd.fileobj_driver, stream)
    try:
        return h5py.File(h5py.h5f.open(found.name.encode(), h5py.h5f.ACC_RDONLY, access))
    except OSError as error:
        if stream.error is not None:
            raise stream.error from None
        raise_machine_fault(error, found.name)
        looks_right = _SIGNATURE in found.read(8, 0)
        raise DataError(f"HDF5 can't open it: {error}" if looks_right else "not an HDF5 file", found.name) from error


def get_dataset(file: h5py.File, name: str, argument: str = "images") -> h5py.Dataset:
    """Return a dataset of an open file.

    Parameters
    ----------
    file : h5py.File
    name : str
        Bytes that are not UTF-8 are surrogates, as `os.fsdecode` makes them.
    argument : str
        Argument of the Python interface that gave the name, for the error.

    Raises
    ------
    DataError
        If the file has no dataset of that name; the error lists those that it has.
    """
    try:
        dataset = file.get(encoded(name))
    except UnicodeDecodeError:  # of h5py's own error about a name that is not there
        dataset = None
    except HDF5_ERRORS as error:
        raise_machine_fault(error, file.filename, name)
        raise DataError(_half_made(file.filename) or f"can't be opened: {error}", file.filename, name) from error
    if isinstance(dataset, h5py.Dataset):
        check_in_one_file(dataset, file, name)
        return dataset
    if dataset is None and (problem := _why_closed(file, encoded(name))):
        raise DataError(problem, file.filename, name)
    raise missing_dataset(file, name, argument)


def check_in_one_file(dataset: h5py.Dataset, file: h5py.File, name: str) -> None:
    """Raise a DataError if a dataset of a remote file takes values from others, which HDF5 would seek on this machine."""
    if not remote.is_address(file.filename):
        return
    problem = ""
    if h5py.h5o.get_info(dataset.id).fileno != h5py.h5o.get_info(file.id).fileno:
        problem = "it is a link to another file"
    elif dataset.is_virtual and any(source.file_name != "." for source in dataset.virtual_sources()):
        problem = "it is virtual, and takes its values from other files"
    elif dataset.id.get_create_plist().get_external_count():
        problem = "its values are in other files"
    if problem:
        way_out = "which can't be read from a remote file: convert it where these files are, with python -m fastprep.convert"
        raise DataError(f"{problem}, {way_out}", file.filename, name)


def opening_problem(path: str, error: OSError) -> str:
    """Describe why HDF5 can't open a file."""
    if half_made := _half_made(path):
        return half_made
    if error.errno == errno.EAGAIN:  # HDF5's lock
        return (
            f"another program has it open for writing ({error}); if none has, set HDF5_USE_FILE_LOCKING=FALSE in the environment"
        )
    if "already open for write" in str(error):  # its mark in the file
        return f"a program has it open for writing, or ended without closing it ({error})"
    try:
        looks_right = h5py.is_hdf5(path)
    except OSError:
        looks_right = False
    if not looks_right:
        return what_it_is(path)
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
    command = command_line("show", [path_word(os.fsdecode(path))], ["--mean", "--store"])
    return f"a command that stored a mean in it was killed: `{command}` puts it back"


def _why_closed(file: h5py.File, name: bytes) -> str:
    """Describe why what a name stands for can't be opened; empty if there is no such name."""
    links = file.id.links
    try:
        kind = links.get_info(name).type
        target: Any = b"" if kind == h5py.h5l.TYPE_HARD else links.get_val(name)
    except HDF5_ERRORS:
        return ""
    if kind == h5py.h5l.TYPE_EXTERNAL:
        other_file, linked = (os.fsdecode(part) for part in target)
        return f"it is a link to {linked!r} of the file {other_file!r}, which is not there, or can't be opened"
    if kind == h5py.h5l.TYPE_SOFT:
        return f"it is a link to {os.fsdecode(target)!r}, which is not there"
    try:
        h5py.h5o.open(file.id, name)
    except HDF5_ERRORS as error:
        raise_machine_fault(error, file.filename, name.decode("utf-8", "surrogateescape"))
        return f"it can't be opened, so the file is damaged: {error}"
    return "it is a named type, not a dataset"
