"""Batches prepared ahead by a pool of threads, handed out in order, with errors carried to whoever asks."""

from __future__ import annotations

import collections
import concurrent.futures.thread
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fastprep.buffers import HOST, BufferPool, Lease, Memory

_LOST = "the loader was closed, or the process forked, during this pass; begin a new one"


class Batch(NamedTuple):
    """One prepared batch.

    Attributes
    ----------
    x : numpy or cupy array, shape (rows, h, w, C) or (rows, C, h, w)
        A view of the leased buffer, finished.
    y : ndarray, shape (rows, ...), or None
    weights : ndarray of float32, shape (rows,), or None
    lease : Lease
        Of the buffer that holds x.
    """

    x: Any
    y: NDArray | None
    weights: NDArray[np.float32] | None
    lease: Lease

    @property
    def item(self) -> Any:
        """What iteration gives: (x, y, weights) less what there is not; x alone for data without labels."""
        if self.y is None:
            return self.x
        return (self.x, self.y) if self.weights is None else (self.x, self.y, self.weights)

    @property
    def parts(self) -> tuple[Batch, ...]:
        """The batch itself, as that of the only device."""
        return (self,)

    @property
    def n_rows(self) -> int:
        """Rows of x."""
        return len(self.x)


class SharedBatch(NamedTuple):
    """One batch in parts, each on a device of its own.

    Attributes
    ----------
    parts : tuple of Batch
        Their rows one after the other are those of the batch. The last ones may have no rows.
    """

    parts: tuple[Batch, ...]

    @property
    def item(self) -> tuple[Any, ...]:
        """What iteration gives: for each part what a batch like it would give."""
        return tuple(part.item for part in self.parts)

    @property
    def n_rows(self) -> int:
        """Rows of all parts."""
        return sum(part.n_rows for part in self.parts)


class Pool:
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
                raise RuntimeError(_LOST)
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
        return Pool, (self.n_threads, self.prefetch, self.buffer_bytes, self.memories)


def _enlist(idents: set[int]) -> None:
    idents.add(threading.get_ident())


def _unless_exiting(function: Any, *arguments: Any) -> Any:
    # At the end of the interpreter the executor's threads go through all that is queued before they end. Nothing public tells
    # that the end has come; where this name is gone, the end takes as long as what is queued.
    if getattr(concurrent.futures.thread, "_shutdown", False):
        raise CancelledError
    return function(*arguments)


class Source(Protocol):
    """What a pass asks of its loader."""

    pool: Pool

    def __len__(self) -> int: ...

    def begin_pass(self) -> tuple[int, int]:
        """Return the epoch and the first step of a pass that begins now."""
        ...

    def prepare(self, epoch: int, step: int) -> Batch | SharedBatch:
        """Prepare one batch; called by the pool's threads."""
        ...

    def handed_out(self, epoch: int, step: int, batch: Batch | SharedBatch, waited_s: float) -> None:
        """Take note of a batch that goes to the user."""
        ...


class Pass:
    """One pass over an epoch: keeps the pool busy and hands their batches out in order.

    Nothing is done, or counted, before the first `next`.

    Parameters
    ----------
    source : Source
    """

    def __init__(self, source: Source) -> None:
        self.started = False
        self._source = source
        self._ahead: collections.deque[Future[Batch | SharedBatch]] = collections.deque()
        self._epoch = self._step = self._submitted = self._generation = 0

    def __iter__(self) -> Pass:
        return self

    def __next__(self) -> Batch | SharedBatch:
        if not self.started:
            self.started = True
            self._epoch, self._step = self._source.begin_pass()
            self._submitted = self._step
            self._generation = self._source.pool.generation
        if self._step >= len(self._source):
            raise StopIteration
        began = time.perf_counter()
        try:
            batch = self._next_batch()
        except BaseException:
            self.close()
            raise
        self._source.handed_out(self._epoch, self._step, batch, time.perf_counter() - began)
        self._step += 1
        return batch

    def close(self) -> None:
        """Stop here; batches that are being prepared are dropped. `next` then raises StopIteration."""
        self.started = True
        self._step = self._submitted = len(self._source)
        self._drop()

    def __del__(self) -> None:
        self._drop()

    def _drop(self) -> None:
        while self._ahead:
            self._ahead.pop().cancel()

    def _next_batch(self) -> Batch | SharedBatch:
        self._submit()
        if self._source.pool.generation != self._generation:
            raise RuntimeError(_LOST)
        try:
            batch = self._ahead.popleft().result()
        except CancelledError:
            raise RuntimeError(_LOST) from None
        self._submit()
        return batch

    def _submit(self) -> None:
        source = self._source
        while self._submitted < len(source) and len(self._ahead) < source.pool.ahead:
            self._ahead.append(source.pool.submit(self._generation, source.prepare, self._epoch, self._submitted))
            self._submitted += 1
