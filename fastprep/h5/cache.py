"""Memory for decoded images: a cache of blocks whose images are needed one after another, and scratch memory for each thread."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np
from numpy.typing import NDArray

from fastprep.h5._decode import Decoder
from fastprep.h5.native import codecs
from fastprep.system import begin_in_children


class _Block:
    """A block that is kept, or that the holder of its lock is making. If that thread is interrupted, the next one makes it."""

    def __init__(self) -> None:
        self.making = threading.Lock()
        self.images: NDArray | None = None
        self.error: Exception | None = None


class BlockCache:
    """The blocks that were used last. Each is made once, however many threads ask for it at the same time.

    Parameters
    ----------
    n_blocks : int
        Number of blocks to keep, 0 and up.

    Attributes
    ----------
    n_made : int
        Number of blocks that were made or begun so far.
    """

    _blocks: OrderedDict[Hashable, _Block]

    def __init__(self, n_blocks: int) -> None:
        self.n_blocks = n_blocks
        self.n_made = 0
        begin_in_children(self)

    def get(self, key: Hashable, make: Callable[[], NDArray]) -> NDArray:
        """Return the block of a key; make it if it is not kept.

        An error of `make` is raised in all threads that wait for that block, and is not kept. Ctrl-C interrupts only the thread
        that it reaches.
        """
        if self.n_blocks == 0:
            with self._lock:
                self.n_made += 1
            return make()
        with self._lock:
            blocks = self._blocks  # the same dictionary to the end, even if a finalizer clears the cache
            new = _Block()
            block = blocks.setdefault(key, new)
            self.n_made += block is new
            blocks.move_to_end(key)
            while len(blocks) > self.n_blocks:
                blocks.popitem(last=False)
        with block.making:
            if block.error is not None:
                raise block.error
            if block.images is None:
                try:
                    block.images = make()
                except Exception as error:
                    block.error = error
                    with self._lock:
                        if self._blocks.get(key) is block:
                            del self._blocks[key]
                    raise
            return block.images

    def clear(self) -> None:
        """Forget all blocks."""
        with self._lock:
            self._blocks = OrderedDict()

    def begin(self) -> None:
        """Forget all blocks, and the threads that were making one."""
        self._lock = threading.RLock()  # reentrant: a finalizer that runs while it is held may close the reader
        self._blocks = OrderedDict()

    def __reduce__(self) -> tuple:
        return BlockCache, (self.n_blocks,)


class Scratch:
    """Memory of one thread to decode into. New memory for each image would cost more than lz4 does."""

    def __init__(self) -> None:
        self._kept: dict[str, NDArray[np.uint8]] = {}
        self._decoder: Decoder | None = None

    def memory(self, purpose: str, n_bytes: int) -> NDArray[np.uint8]:
        """Return `n_bytes` of this thread's memory, valid until it asks for the same purpose again."""
        kept = self._kept.get(purpose)
        if kept is None or len(kept) < n_bytes:
            kept = self._kept[purpose] = np.empty(n_bytes, np.uint8)
        return kept[:n_bytes]

    def decoder(self) -> Decoder:
        """Return this thread's decompressors."""
        if self._decoder is None:
            self._decoder = Decoder(codecs())
        return self._decoder


class ThreadScratch(threading.local, Scratch):
    """The same for each thread, which readers may share.

    Without Python's global lock it is freed only when garbage is collected, so it is none to make for a single image.
    """

    def __reduce__(self) -> tuple:
        return ThreadScratch, ()
