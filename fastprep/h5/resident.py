"""Small images, kept in memory as they are stored: a call to the system for each would take longer than what is made of it."""

from __future__ import annotations

import mmap
import os
import threading

import numpy as np
from numpy.typing import NDArray

from fastprep import remote
from fastprep._sink import Status
from fastprep.h5 import _read
from fastprep.h5.index import ImageIndex
from fastprep.system import begin_in_children

MOST_IMAGE_BYTES = 4096
"""Size of an image at most. Of larger ones, reading from the system's memory takes the smaller part of the time."""
MOST_BYTES = 256 << 20
"""Bytes of a dataset at most, and never more than a sixteenth of the machine's memory."""
BLOCK_BYTES = 1 << 18
_SHARE_OF_MEMORY = 16


def resident_images(index: ImageIndex) -> ResidentImages | None:
    """Return memory for the images of a dataset; None if they are large, many, spread over a file, not plain, or far away.

    Parameters
    ----------
    index : ImageIndex
        A complete one. Remote files have mirrors of their own.
    """
    offsets, n_bytes = index.chunks.offsets, index.shape[0] * index.image_bytes
    if not index.is_plain or not index.has_only_direct or remote.is_address(index.holder):
        return None
    if not 0 < index.image_bytes <= MOST_IMAGE_BYTES or not 0 < n_bytes <= min(MOST_BYTES, _memory_bytes() // _SHARE_OF_MEMORY):
        return None
    ends = offsets + index.chunk_bytes
    ends[-1] = offsets[-1] + n_bytes - (len(offsets) - 1) * index.chunk_bytes  # images may fill the last chunk in part
    first, end = int(offsets.min()), int(ends.max())
    return ResidentImages(first, end) if end - first <= n_bytes + n_bytes // 4 else None  # there is little between them


class ResidentImages:
    """The bytes of a part of a file. Blocks of it are read when an image of theirs is first asked for.

    Any number of threads may use it at once. What was read before a fork is there after it, too.

    Parameters
    ----------
    first, end : int
        The part is bytes `first` to `end` - 1.

    Attributes
    ----------
    first : int
    memory : ndarray of uint8, shape (end - first,)
        The bytes; valid where `has` has found them.
    """

    def __init__(self, first: int, end: int) -> None:
        self.first = first
        # from the system and not from malloc, which would keep it for the process when a loader is gone
        own = mmap.mmap(-1, end - first, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.memory = np.frombuffer(own, np.uint8)
        self._is_there = np.zeros(-(-len(self.memory) // BLOCK_BYTES), bool)
        self._is_whole = False
        begin_in_children(self)

    def begin(self) -> None:
        """Make the lock anew, which does not survive a fork."""
        self._lock = threading.Lock()

    def has(self, descriptor: int, offsets: NDArray[np.int64], image_bytes: int) -> bool:
        """Tell whether images are in memory, once those that were not have been read.

        Parameters
        ----------
        descriptor : int
            Of the open file.
        offsets : ndarray of int64, shape (n,)
            Where each image begins in the file, at least one.
        image_bytes : int

        Returns
        -------
        bool
            False if they can't be read: whoever reads them one by one finds out which of them, and why.
        """
        with self._lock:  # the lock is what makes bytes that another thread has read visible to this one
            if self._is_whole:
                return True
        begins = offsets - self.first
        blocks = np.unique(begins // BLOCK_BYTES + np.arange(2 + (image_bytes - 1) // BLOCK_BYTES)[:, None])
        blocks = blocks[blocks <= (begins.max() + image_bytes - 1) // BLOCK_BYTES]
        with self._lock:
            missing = blocks[~self._is_there[blocks]].tolist()
        for number in missing:
            with self._lock:  # block by block, so that others need not wait for all of them
                if not self._is_there[number] and not self._read(descriptor, number):
                    return False
        with self._lock:
            self._is_whole = bool(self._is_there.all())
        return True

    def _read(self, descriptor: int, number: int) -> bool:
        block = self.memory[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES]
        self._is_there[number] = _read.read_bytes(descriptor, self.first + number * BLOCK_BYTES, block) == Status.OK
        return bool(self._is_there[number])


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
