"""The mark of fastprep in HDF5 files: a comment of the root group that names the writer, so that only such files are replaced.

A comment and not an attribute, because the attributes of a converted file are those of its source.
"""

from __future__ import annotations

import os
import re

import h5py
from h5py import h5o

from fastprep import remote
from fastprep._version import __version__
from fastprep.h5.files import HDF5_ERRORS, open_file

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_BEGINNING = 64 << 10  # bytes
_MARK = re.compile(rb"written by fastprep\.([a-z_]+) [0-9][0-9a-z.+]*\0")
_OLD_BUILD = ("settings", "software", "split")  # attributes by which builds before the mark are known
_LONGEST = 4096  # bytes of an attribute that is looked at


def mark(file: h5py.File, writer: str) -> None:
    """Mark a new file, before anything else is in it, as written by a part of fastprep: build, convert or write_images."""
    h5o.set_comment(file.id, f"written by fastprep.{writer} {__version__}".encode())


def writer_of(path: str | os.PathLike[str]) -> str | None:
    """Return which part of fastprep wrote a file.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    str or None
        "build", "convert" or "write_images"; None if the file has no mark, is damaged, or is not an HDF5 file.
    """
    try:
        if (mark := _find_mark(path)) is not None:
            return mark
        with open_file(path) as file:
            old = [_attribute(file, name) for name in _OLD_BUILD]
        return "build" if all(old) and old[1].startswith("fastprep ") else None
    except HDF5_ERRORS:
        return None


def has_mark(path: str | os.PathLike[str]) -> bool:
    """Return whether a file has the mark, which older versions of fastprep did not write."""
    return _find_mark(path) is not None


def is_own(path: str | os.PathLike[str]) -> bool:
    """Return whether fastprep wrote a file."""
    return writer_of(path) is not None


def _find_mark(path: str | os.PathLike[str]) -> str | None:
    # h5o.get_comment of h5py 3 returns memory that is free already; the root group of a new file is at its beginning
    if (remote_file := remote.find(os.fspath(path))) is not None:
        content = remote_file.read(_BEGINNING, 0)
    else:
        with open(path, "rb") as beginning:
            content = beginning.read(_BEGINNING)
    found = _MARK.search(content) if content.startswith(_SIGNATURE) else None
    return None if found is None else found[1].decode()


def _attribute(file: h5py.File, name: str) -> str:
    """Return an attribute of fixed length; fastprep never wrote others, and they may be damaged heaps."""
    if name not in file.attrs:
        return ""
    kind = file.attrs.get_id(name).dtype
    value = file.attrs[name] if kind.kind == "S" and kind.itemsize <= _LONGEST else b""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""
