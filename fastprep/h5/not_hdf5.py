"""What somebody names in the place of an HDF5 file, a folder or an image, and the way to one."""

from __future__ import annotations

import contextlib
import os
import stat

from fastprep.command_lines import command_line, path_word
from fastprep.encoded import kind_of
from fastprep.errors import DataError, DecodeError

_ENDINGS = (".h5", ".hdf5")
_MOST_NAMES = 1000  # of a folder that are looked at
_FIRST_BYTES = 12  # that tell the kind of an image


def check_no_folder(path: str) -> None:
    """Check that a path is not that of a folder.

    Raises
    ------
    IsADirectoryError
        If it is; the message says how its files, or its images, are read.
    """
    if not os.path.isdir(path):
        return
    with os.scandir(path) as entries:
        names = [entry.name for _, entry in zip(range(_MOST_NAMES), entries, strict=False)]
    ending = next((ending for ending in _ENDINGS if any(name.lower().endswith(ending) for name in names)), None)
    way_out = f"{_build(path)} makes such files of a folder of images"
    if ending is not None:
        way_out = f"{os.path.join(path, f'*{ending}')!r} names the files in it"
    raise IsADirectoryError(f"{path!r} is a folder, not an HDF5 file; {way_out}")


def check_no_pipe(path: str) -> None:
    """Check that a path is not that of a pipe, which would be waited for, and of which no part can be read on its own.

    Raises
    ------
    DataError
        If it is.
    """
    with contextlib.suppress(OSError):  # which opening raises
        if stat.S_ISFIFO(os.stat(path).st_mode):
            raise DataError("a pipe, of which HDF5 can't read parts; write it to a file first", path)


def what_it_is(path: str) -> str:
    """Return that a file is not an HDF5 file, and how it becomes one if it is an image."""
    problem = "not an HDF5 file"
    try:
        with open(path, "rb") as file:
            kind = kind_of(file.read(_FIRST_BYTES))
    except (OSError, DecodeError):
        return problem
    return f"{problem} but an image, {kind}; {_build(os.path.dirname(path) or '.')} makes HDF5 files of a folder of images"


def _build(folder: str) -> str:
    return f"`{command_line('build', [path_word(folder), 'OUT'])}`"
