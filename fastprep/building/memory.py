"""A bound on the memory that decoding takes, over all threads."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

MIB = 1 << 20
DEFAULT_MIB = 2048  # all that Pillow decodes by itself, 179 million pixels, fits in the formats without a canvas of their own


class TooLargeError(Exception):
    """An image that alone needs more memory than there is for all of them."""


class Memory:
    """Bytes that threads take in turn, so that all of them together never take more than the limit.

    Parameters
    ----------
    limit : int
        Bytes.

    Attributes
    ----------
    limit : int
    """

    def __init__(self, limit: int) -> None:
        self.limit, self._left, self._changed = limit, limit, threading.Condition()

    def check_file(self, n_bytes: int) -> None:
        """Raise a TooLargeError if a file of that size would not fit, whatever is in it."""
        if n_bytes > self.limit:
            raise TooLargeError(f"the file has {n_bytes / MIB:,.0f} MiB, and at most {self.limit // MIB:,} MiB may be taken")

    @contextlib.contextmanager
    def taken(self, n_bytes: int) -> Iterator[None]:
        """Wait until there are so many bytes, and keep them until the end.

        A thread must not take bytes while it has others, because two such threads could wait for each other.

        Raises
        ------
        TooLargeError
            If there will never be so many.
        """
        if n_bytes > self.limit:
            raise TooLargeError(f"{-(-n_bytes // MIB):,} MiB are needed, and at most {self.limit // MIB:,} MiB may be taken")
        with self._changed:
            self._changed.wait_for(lambda: n_bytes <= self._left)
            self._left -= n_bytes
        try:
            yield
        finally:
            with self._changed:
                self._left += n_bytes
                self._changed.notify_all()
