"""Worker pool: threads that prepare batches, and the buffers that they fill."""

from __future__ import annotations

import concurrent.futures.thread
import contextlib
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any

from fastprep.pipeline.buffers import HOST, BufferPool, Lease, Memory
from fastprep.sampling import check_integer
from fastprep.system import begin_in_children, submit_without_context, usable_processors

LOST = "the loader was closed, or the process forked, during this iteration; begin a new one"


class Consumer:
    """Whether somebody waits for a batch, and so does nothing that an allocation could disturb."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_waiting = 0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Return a context in which the calling thread waits."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def is_waiting(self) -> bool:
        """Return whether a thread waits; the calling thread does if it is none of a pool: it makes a batch for itself."""
        return self._n_waiting > 0 or not getattr(_thread, "is_worker", False)

    def _count(self, change: int) -> None:
        with self._lock:
            self._n_waiting += change


_thread = threading.local()


class WorkerPool:
    """Threads and buffers, made when first needed, and made anew after a fork or a close.

    The threads end with `close`, or when this object is garbage collected, because its executor is collected with it.

    Parameters
    ----------
    n_threads : int
    prefetch : int
        Finished batches kept ready beyond those that the threads are preparing.
    buffer_bytes : int
        Size of a buffer for one part of a batch.
    memories : sequence of Memory
        Memory of the buffers for each part; a single one if batches are not split.
    n_held : int
        Batches that are with the consumer at the same time: the one that it has and the one that it just gave back, unless it
        takes one ahead.

    Attributes
    ----------
    generation : int
        Counts closes and forks. An epoch iterator of an earlier generation has lost its batches.
    consumer : Consumer
    """

    def __init__(
        self, n_threads: int, prefetch: int, buffer_bytes: int, memories: Sequence[Memory] = (HOST,), n_held: int = 2
    ) -> None:
        self.n_threads, self.prefetch, self.buffer_bytes, self.memories = n_threads, prefetch, buffer_bytes, tuple(memories)
        self.n_held = n_held
        self.generation = 0
        begin_in_children(self)

    def begin(self) -> None:
        """Start without threads and buffers; in a forked child neither the threads survive nor, perhaps, the locks they held."""
        # reentrant: garbage may be collected under the lock, and a finalizer may close the loader
        self._lock = threading.RLock()
        self._executor: ThreadPoolExecutor | None = None
        self._idents: set[int] = set()  # of the executor's threads
        self.generation += 1
        # beside those with the consumer, the rest being filled or ready: three or more, so that a thread that waits for a GPU to
        # have read one does not keep the GPU waiting
        self.consumer = consumer = Consumer()
        self._buffers = [
            BufferPool(self.buffer_bytes, self.ahead + self.n_held, memory=memory, is_awaited=consumer.is_waiting)
            for memory in self.memories
        ]

    @property
    def ahead(self) -> int:
        """Number of batches to have under way or ready."""
        return self.n_threads + self.prefetch

    @property
    def n_buffers(self) -> int:
        """Number of buffers allocated so far."""
        return sum(buffers.n_allocated for buffers in self._buffers)

    def reserve(self) -> None:
        """Allocate the buffers, see `BufferPool.reserve`."""
        for buffers in self._buffers:
            buffers.reserve()

    def lease(self, part: int = 0, stream: Any = None) -> Lease:
        """Return a free buffer for one part of a batch; see `BufferPool.lease`."""
        return self._buffers[part].lease(stream)

    def submit(self, generation: int, function: Any, *arguments: Any) -> Future | None:
        """Let a thread call a function; None where none can, because the interpreter is ending.

        Raises
        ------
        RuntimeError
            If the pool was closed, or the process forked, since it had that `generation`.
        """
        with self._lock:
            if self.generation != generation:
                raise RuntimeError(LOST)
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self.n_threads, "fastprep", _enlist, (self._idents,))
            try:
                return submit_without_context(self._executor, _unless_exiting, function, *arguments)
            except RuntimeError:  # as well where the system gives no more threads
                if not is_exiting():
                    raise
                return None

    def close(self) -> None:
        """End the threads, and free the buffers as soon as nobody uses them."""
        with self._lock:
            self.generation += 1
            executor, self._executor = self._executor, None
            idents = self._idents
            self._idents = set()
        if executor is not None:
            # garbage is collected on any thread, and a finalizer may close the loader on one of these
            executor.shutdown(wait=threading.get_ident() not in idents, cancel_futures=True)
        for buffers in self._buffers:
            buffers.close()

    def __reduce__(self) -> tuple:
        return WorkerPool, (self.n_threads, self.prefetch, self.buffer_bytes, self.memories, self.n_held)


def check_workers(workers: int | None, prefetch: int) -> tuple[int, int]:
    """Return the numbers of threads and of prefetched batches.

    Parameters
    ----------
    workers : int or None
        None for one thread for each processor that this process may use, and at most eight.
    prefetch : int

    Raises
    ------
    ValueError
        If `workers` is not a positive integer, or `prefetch` not an integer of at least 0.
    """
    if workers is None:
        workers = min(8, usable_processors())
    check_integer("prefetch", prefetch, 0)
    check_integer("workers", workers, 1)
    return int(workers), int(prefetch)


def _enlist(idents: set[int]) -> None:
    _thread.is_worker = True
    idents.add(threading.get_ident())


def is_exiting() -> bool:
    """Return whether the interpreter is ending: the main thread is done, and executors have ended their threads.

    Other threads go on until they are done, unless they are daemons, and so do functions that `atexit` calls.
    """
    # No public name tells it. Where this private one is gone, the end takes as long as what is queued.
    return getattr(concurrent.futures.thread, "_shutdown", False)


def _unless_exiting(function: Any, *arguments: Any) -> Any:
    # at the end of the interpreter the executor's threads work through all that is queued before they end
    if is_exiting():
        raise CancelledError
    return function(*arguments)
