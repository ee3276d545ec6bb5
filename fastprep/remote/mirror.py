"""A local mirror of a remote file: a sparse file of the same size, and records of the blocks that it holds."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import itertools
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.remote.records import BLOCK, Records, n_blocks
from fastprep.system import begin_in_children

_LOCKS_FROM = 1 << 40  # byte ranges that stand for blocks, beyond the end of the file that is locked
_PUNCH = 0x01 | 0x02  # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE


class Mirror:
    """The blocks of one version of a remote file. Any number of threads and processes may use it at once.

    A block in use is pinned: a shared lock of the system on its number, which every process sees, and which ends with the
    process. A block is only let go of by who has the exclusive lock.

    Parameters
    ----------
    data, table : int
        Descriptors, open for reading and writing, of the sparse file and of the records. The mirror closes them.
    facts : dict
        What tells the version of the file.
    n_bytes : int
        Its size.
    is_private : bool
        Whether the files have no name and end with the process: then blocks have no checksums, because nobody else reads them.
    """

    def __init__(self, data: int, table: int, facts: dict[str, Any], n_bytes: int, is_private: bool = False) -> None:
        self.number, self._table, self.n_bytes, self._is_private = data, table, n_bytes, is_private
        if os.fstat(data).st_size != n_bytes:
            os.ftruncate(data, n_bytes)
        self._records = Records(table, facts, n_bytes)
        self._known = np.zeros(max(1, n_blocks(n_bytes)), np.uint32)  # checksums of records whose blocks were verified here
        self._locks = -1
        begin_in_children(self)

    def begin(self) -> None:
        """Begin without pins, which a child that was forked does not have."""
        self._lock = threading.Lock()
        self._pins = np.zeros(len(self._known), np.uint32)
        if self._locks >= 0:
            os.close(self._locks)
        self._locks = _reopened(self._table)

    def blocks_of(self, offsets: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the numbers of the blocks that ranges of bytes touch, each once, in ascending order.

        What lies beyond the end of the file has no blocks.
        """
        begins = np.clip(offsets, 0, self.n_bytes)
        ends = np.minimum(begins + np.maximum(sizes, 0), self.n_bytes)
        first, last = begins // BLOCK, (ends - 1) // BLOCK
        counts = np.where(ends > begins, last - first + 1, 0)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.unique(np.repeat(first, counts) + within)

    @contextlib.contextmanager
    def pinned(self, blocks: NDArray[np.int64]) -> Iterator[None]:
        """Keep blocks, those that are there and those that come, as long as the context lasts."""
        pins = self._pins
        with self._lock:
            self._take(blocks[pins[blocks] == 0])
            pins[blocks] += 1
        try:
            yield
        finally:
            if pins is self._pins:  # else this is a child that was forked meanwhile
                with self._lock:
                    pins[blocks] -= 1
                    self._free(blocks[pins[blocks] == 0])

    def missing(self, blocks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of some pinned blocks that are not there. What this process did not write itself is verified once."""
        checks = self._records.checks(blocks)
        is_there = (checks != 0) & (checks == self._known[blocks])
        for k in np.flatnonzero((checks != 0) & ~is_there).tolist():
            is_there[k] = self._is_verified(int(blocks[k]))
        self._records.touch(blocks[is_there])
        return blocks[~is_there]

    def write(self, first: int, data: Any) -> None:
        """Write blocks that follow each other, and then their records.

        Raises
        ------
        OSError
            If there is no room.
        """
        view = memoryview(data)
        done = 0
        while done < len(view):
            done += os.pwrite(self.number, view[done:], first * BLOCK + done)
        for k in range(n_blocks(len(view))):
            block = first + k
            crc = 0 if self._is_private else zlib.crc32(view[k * BLOCK : (k + 1) * BLOCK])
            self._known[block] = self._records.write(block, crc)

    def held(self) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """Return the blocks that are there, and when each was last used, in microseconds."""
        return self._records.held()

    def let_go(self, blocks: NDArray[np.int64]) -> int:
        """Free the room of blocks that nobody uses; return how many those were."""
        descriptor, n_freed = _reopened(self._table), 0
        try:
            for block in blocks.tolist():
                try:
                    _lock(descriptor, fcntl.F_WRLCK, block, 1)
                except BlockingIOError:
                    continue
                self._records.clear(block)
                _punch(self.number, block * BLOCK, BLOCK)
                n_freed += 1
                _lock(descriptor, fcntl.F_UNLCK, block, 1)
        finally:
            os.close(descriptor)
        return n_freed

    def close(self) -> None:
        """Close the files."""
        for name in ("number", "_table", "_locks"):
            descriptor = getattr(self, name, -1)
            setattr(self, name, -1)
            if descriptor >= 0:
                os.close(descriptor)

    def __del__(self) -> None:
        self.close()

    def _is_verified(self, block: int) -> bool:
        records = self._records
        check = int(records.checks(np.array([block]))[0])
        if not records.is_sound(block):
            return False
        n_bytes = min(BLOCK, self.n_bytes - block * BLOCK)
        if not self._is_private and zlib.crc32(os.pread(self.number, n_bytes, block * BLOCK)) != records.crc(block):
            return False
        self._known[block] = check
        return True

    def _take(self, blocks: NDArray[np.int64]) -> None:
        for first, n in runs_of(blocks):
            _lock(self._locks, fcntl.F_RDLCK, first, n, waits=True)  # who frees a block has it for a moment only

    def _free(self, blocks: NDArray[np.int64]) -> None:
        for first, n in runs_of(blocks):
            _lock(self._locks, fcntl.F_UNLCK, first, n)


def check_locks() -> None:
    """Check that the system has locks that belong to an open file, and not to a process, as only Linux does.

    Raises
    ------
    OSError
        If it has none.
    """
    if not hasattr(fcntl, "F_OFD_SETLK"):
        raise OSError("files in object stores and behind HTTP can be read on Linux only: copy them to this machine")


def runs_of(blocks: NDArray[np.int64], longest: int | None = None) -> list[tuple[int, int]]:
    """Return (first, number) of each run of ascending numbers that follow each other.

    Longer runs than `longest` are cut into equal parts of about that many numbers, half as many again at most.
    """
    if len(blocks) == 0:
        return []
    begins = np.flatnonzero(np.diff(blocks, prepend=blocks[0] - 2) != 1)
    runs = zip(blocks[begins].tolist(), np.diff(begins, append=len(blocks)).tolist(), strict=True)
    if longest is None:
        return list(runs)
    cut: list[tuple[int, int]] = []
    for first, n in runs:
        n_parts = max(1, (n + longest // 2) // longest)
        ends = [first + n * k // n_parts for k in range(n_parts + 1)]
        cut.extend((a, b - a) for a, b in itertools.pairwise(ends))
    return cut


def _reopened(descriptor: int) -> int:
    """Open a file once more, of whatever name or none: locks belong to what was opened, and not to a process."""
    return os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)


def _lock(descriptor: int, kind: int, first: int, n: int, waits: bool = False) -> None:
    command = fcntl.F_OFD_SETLKW if waits else fcntl.F_OFD_SETLK
    fcntl.fcntl(descriptor, command, struct.pack("hhqqi4x", kind, os.SEEK_SET, _LOCKS_FROM + first, n, 0))


def _punch(descriptor: int, offset: int, n_bytes: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.fallocate(descriptor, _PUNCH, ctypes.c_int64(offset), ctypes.c_int64(n_bytes)):
        number = ctypes.get_errno()
        if number not in (errno.EOPNOTSUPP, errno.ENOSYS):
            raise OSError(number, os.strerror(number))
