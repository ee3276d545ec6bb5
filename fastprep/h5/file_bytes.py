"""Bytes of files without HDF5: every such read of this room goes through `FileBytes`, which has what is to be read at hand."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Self

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray


class FileBytes:
    """The bytes of an open file.

    Parameters
    ----------
    number : int
        File descriptor. It is not closed here.
    mapping : ndarray of uint8, shape (n_bytes,), or None
        The whole file in memory.
    """

    is_remote = False

    def __init__(self, number: int, mapping: NDArray[np.uint8] | None = None) -> None:
        self.number, self.mapping = number, mapping

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
        yield self

    def read(self, n_bytes: int, offset: int) -> bytes:
        """Return bytes at an offset, fewer at the end of the file."""
        with self.holding(offset, n_bytes) as held:
            return os.pread(held.number, n_bytes, offset)

    def identity(self) -> tuple[int, ...]:
        """Return the facts that tell whether the file has changed, see `identity_of`."""
        return identity_of(os.fstat(self.number))


def bytes_of(file: h5py.File) -> FileBytes:
    """Return the bytes of a file that HDF5 has open, by HDF5's own descriptor: the number of open files is bounded."""
    return FileBytes(file.id.get_vfd_handle())


def has_plain_bytes(file: h5py.File) -> bool:
    """Tell whether `bytes_of` has the bytes of a file at the offsets that HDF5 tells, but for its user block."""
    return file.driver == "sec2"


def identity_of(status: os.stat_result) -> tuple[int, ...]:
    """Return the facts that tell whether a file has changed: device, inode, size in bytes and modification time in ns."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def identity_at(path: str) -> tuple[int, ...]:
    """Return the facts that tell whether the file of a path has changed, see `identity_of`."""
    return identity_of(os.stat(path))


def absolute(path: str) -> str:
    """Return the name of a file that does not depend on the current folder."""
    return os.path.abspath(path)


def size_at(path: str) -> int:
    """Return the size of a file in bytes."""
    return os.path.getsize(path)
