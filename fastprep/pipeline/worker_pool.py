"""Threads that prepare batches, and the buffers that they fill."""

from __future__ import annotations

import concurrent.futures.thread
import os
import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any

from fastprep.pipeline.buffers import HOST, BufferPool, Lease, Memory

LOST = "the loader was closed, or the process forked, during this pass; begin a new one"


class WorkerPool:
    """Threads and buffers: made when first needed, and made anew after a fork or a close.

    The threads end with `close`, or when this object is garbage collected, for their executor then is, too.

    Parameters
    ----------
    n_threads : int
    prefetch : int
        Finished batches kept ready beyond those that the threads have in hand.
    buffer_bytes : int
        Size of a buffer, for a part of a batch.
    memories : sequence of Memory
        What the buffers of each part are made of; one for a batch that is not in parts.
    """

    def __init__(self, n_threads: int, prefetch: int, buffer_bytes: int, memories: Sequence[Memory] = (HOST,)) -> None:
        self.n_threads, self.prefetch, self.buffer_bytes, self.memories = n_threads, prefetch, buffer_bytes, tuple(memories)
        self._executor: ThreadPoolExecutor | None = None
        self._idents: set[int] = set()  # of the executor's threads
        self._generation = 0
        self._begin()

    @property
    def ahead(self) -> int:
        """Batches to have under way or ready."""
        return self.n_threads + self.prefetch

    @property
    def n_buffers(self) -> int:
        """Buffers allocated so far."""
        return sum(buffers.n_allocated for buffers in self._buffers)

    @property
    def generation(self) -> int:
        """Rises with every close and fork: passes of an earlier one have lost their batches."""
        self._after_fork()
        return self._generation

    def lease(self, part: int = 0) -> Lease:
        """Return a free buffer for a part of a batch."""
        self._after_fork()
        return self._buffers[part].lease()

    def submit(self, generation: int, function: Any, *arguments: Any) -> Future:
        """Let a thread call a function.

        Raises
        ------
        RuntimeError
            If the pool was closed, or the process forked, after it had that `generation`.
        """
        self._after_fork()
        with self._lock:
            if self._generation != generation:
                raise RuntimeError(LOST)
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self.n_threads, "fastprep", _enlist, (self._idents,))
            return self._executor.submit(_unless_exiting, function, *arguments)

    def close(self) -> None:
        """End the threads, and free the buffers as soon as nobody uses them."""
        self._after_fork()
        with self._lock:
            self._generation += 1
            executor, self._executor = self._executor, None
            idents = self._idents
            self._idents = set()
        if executor is not None:
            # garbage is collected on any thread, and somebody's finalizer may close the loader on one of these
            executor.shutdown(wait=threading.get_ident() not in idents, cancel_futures=True)
        for buffers in self._buffers:
            buffers.close()

    def _begin(self) -> None:
        # neither threads nor, perhaps, the locks they held survive in a forked child
        # reentrant: garbage may be collected under the lock, and somebody's finalizer may close the loader
        self._lock = threading.RLock()
        self._executor = None
        self._idents = set()
        self._generation += 1
        # one with the user, one just handed back, the rest being filled or ready: three or more, so that a thread that waits
        # for a GPU to have read one does not keep the GPU waiting
        self._buffers = [BufferPool(self.buffer_bytes, self.ahead + 2, memory=memory) for memory in self.memories]
        self._process = os.getpid()

    def _after_fork(self) -> None:
        if self._process != os.getpid():
            self._begin()

    def __reduce__(self) -> tuple:
        return WorkerPool, (self.n_threads, self.prefetch, self.buffer_bytes, self.memories)


def _enlist(idents: set[int]) -> None:
    idents.add(threading.get_ident())


def _unless_exiting(function: Any, *arguments: Any) -> Any:
    # At the end of the interpreter the executor's threads go through all that is queued before they end. Nothing public tells
    # that the end has come; where this name is gone, the end takes as long as what is queued.
    if getattr(concurrent.futures.thread, "_shutdown", False):
        raise CancelledError
    return function(*arguments)
