"""Memory between pages that nobody may touch: a process that reads or writes past an end is killed by a segmentation fault."""

import ctypes
import mmap
import os
import subprocess
import sys

import numpy as np

_libc = ctypes.CDLL(None, use_errno=True)


class GuardedMemory:
    """Arrays of bytes between two protected pages, flush with one of them, until they are forgotten."""

    def __init__(self, at_the_end):
        """`at_the_end`: flush with the page after the bytes, not with the one before them."""
        self._at_the_end = at_the_end
        self._kept = []

    def take(self, n_bytes):
        """Return n_bytes bytes."""
        size = -(-n_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        memory = mmap.mmap(-1, size + 2 * mmap.PAGESIZE)
        self._kept.append(memory)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        for page in (address, address + mmap.PAGESIZE + size):
            assert _libc.mprotect(ctypes.c_void_p(page), mmap.PAGESIZE, 0) == 0
        first = mmap.PAGESIZE + (size - n_bytes if self._at_the_end else 0)
        return np.frombuffer(memory, np.uint8)[first : first + n_bytes]

    def copy(self, array):
        """Return a copy of an array."""
        copied = self.take(array.nbytes).view(array.dtype).reshape(array.shape)
        copied[...] = array
        return copied

    def forget(self):
        """Give back what was taken last."""
        self._kept.pop()


def run_alone(script, *arguments):
    """Run a script that prints "done" at its end in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr[-2000:]
