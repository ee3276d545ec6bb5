"""Bytes of files without HDF5: every such read of this room goes through `FileBytes`, which has what is to be read at hand.

A local file has all of it. Of a remote file the bytes are brought into its local mirror, and are then read from there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Self

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprep import remote


class FileBytes:
    """The bytes of an open file.

    Parameters
    ----------
    number : int
        File descriptor. It is not closed here.
        Of a remote file, one of its mirror, or -1 if that has nothing at hand.
    mapping : ndarray of uint8, shape (n_bytes,), or None
        The whole file in memory.
    remote_file : RemoteFile or None
    """

    def __init__(
        self, number: int, mapping: NDArray[np.uint8] | None = None, remote_file: remote.RemoteFile | None = None
    ) -> None:
        self.number, self.mapping, self.remote_file = number, mapping, remote_file

    @property
    def is_remote(self) -> bool:
        """Whether ranges have to be brought before they are read."""
        return self.remote_file is not None

    @contextlib.contextmanager
    def holding(self, offsets: ArrayLike, sizes: ArrayLike) -> Iterator[FileBytes | Self]:
        """Have ranges of bytes at hand as long as the context lasts.

        Parameters
        ----------
        offsets, sizes : array_like of int, shape (n,)

        Yields
        ------
        FileBytes
            From whose descriptor they can be read.
        """
        if self.remote_file is None:
            yield self
        else:
            with self.remote_file.holding(offsets, sizes) as number:
                yield FileBytes(number, None, self.remote_file)

    def read(self, n_bytes: int, offset: int) -> bytes:
        """Return bytes at an offset, fewer at the end of the file."""
        with self.holding(offset, n_bytes) as held:
            return os.pread(held.number, n_bytes, offset)

    def identity(self) -> tuple[int, ...]:
        """Return the facts that tell whether the file has changed, see `identity_of`."""
        if self.remote_file is None:
            return identity_of(os.fstat(self.number))
        self.remote_file.check_unchanged()
        return self.remote_file.identity


def bytes_of(file: h5py.File) -> FileBytes:
    """Return the bytes of a file that HDF5 has open, by HDF5's own descriptor: the number of open files is bounded."""
    found = remote.find(file.filename)
    return FileBytes(file.id.get_vfd_handle()) if found is None else FileBytes(-1, None, found)


def has_plain_bytes(file: h5py.File) -> bool:
    """Tell whether `bytes_of` has the bytes of a file at the offsets that HDF5 tells, but for its user block."""
    return file.driver == ("fileobj" if remote.is_address(file.filename) else "sec2")


def identity_of(status: os.stat_result) -> tuple[int, ...]:
    """Return the facts that tell whether a file has changed: device, inode, size in bytes and modification time in ns."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def identity_at(path: str) -> tuple[int, ...]:
    """Return the facts that tell whether the file of a path has changed, see `identity_of`."""
    found = remote.find(path)
    return identity_of(os.stat(path)) if found is None else found.identity


def absolute(path: str) -> str:
    """Return the name of a file that does not depend on the current folder."""
    return path if remote.is_address(path) else os.path.abspath(path)


def size_at(path: str) -> int:
    """Return the size of a file in bytes."""
    found = remote.find(path)
    return os.path.getsize(path) if found is None else found.size


def is_there(path: str) -> bool:
    """Tell whether there is a file, local or remote."""
    if not remote.is_address(path):
        return os.path.exists(path)
    try:
        return remote.find(path) is not None
    except (OSError, ValueError):
        return False


def check_readable(path: str) -> None:
    """Raise an OSError if a file, local or remote, is not there, or may not be read."""
    if remote.find(path) is not None:
        return
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path!r} is a folder, not a file")
    open(path, "rb").close()
