"""Bytes of an image file, read so that a fault of the machine is told from damage of the image."""

from __future__ import annotations

import errno
import io
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BUFFER = 1 << 18  # bytes


class Source(io.RawIOBase):
    """An image file, open for reading.

    Decoders turn errors of the system into errors of their own. This keeps the first one, and hides the descriptor, through which
    some decoders would read behind its back, or map the file into memory.

    Parameters
    ----------
    path : str or path

    Attributes
    ----------
    n_bytes : int
        Size of the file.
    fault : OSError or None
        First error of reading.

    Raises
    ------
    OSError
        If the file can't be opened, or is not a regular file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.fault: OSError | None = None
        self._descriptor = -1
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe is refused, not waited for
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            self.close()
            number = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
            raise OSError(number, os.strerror(number) if number == errno.EISDIR else "not a regular file", os.fspath(path))
        self.n_bytes = status.st_size

    def buffered(self) -> io.BufferedReader:
        """Return the file as decoders want it; closing that closes this."""
        return io.BufferedReader(self, _BUFFER)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset; one before the beginning is an error of the decoder, not of the machine."""
        return os.lseek(self._descriptor, offset, whence)

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read as many bytes as there are and fit."""
        try:
            return os.readv(self._descriptor, [buffer])
        except OSError as error:
            self.fault = self.fault or error
            raise

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        super().close()
