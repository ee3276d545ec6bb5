"""Epoch iterators: batches prepared ahead by threads, handed out in order, with errors raised where a batch is asked for."""

from __future__ import annotations

import collections
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from typing import Any

from fastprep.pipeline.batch import Batch, SharedBatch
from fastprep.pipeline.grouping import useful_threads
from fastprep.pipeline.source import BatchSource
from fastprep.pipeline.worker_pool import LOST, is_exiting
from fastprep.system import begin_in_children

_log = logging.getLogger(__name__)


class EpochIterator:
    """Iterator over the batches of one epoch; keeps the pool busy with the batches to come.

    Nothing is done, or counted, before the first `next`.

    Parameters
    ----------
    source : BatchSource
    """

    def __init__(self, source: BatchSource) -> None:
        self.started = self._is_over = False
        self._source = source
        self._ahead: collections.deque[Future[Any]] = collections.deque()
        self._ready: collections.deque[Batch | SharedBatch | Exception] = collections.deque()  # of a group, see `Grouping`
        self._epoch = self._step = self._submitted = self._generation = self._n_useful = 0

    def __iter__(self) -> EpochIterator:
        return self

    def __next__(self) -> Batch | SharedBatch:
        if not self.started:
            self.started = True
            try:
                self._source.reserve()
            except BaseException:
                self.close()
                raise
            self._epoch, self._step = self._begin()
            self._submitted = self._step
            self._generation = self._source.pool.generation
            self._n_useful = useful_threads(self._source.pool.n_threads)
            _log.debug("epoch %d begins at step %d of %d", self._epoch, self._step, len(self._source))
        if self._step >= len(self._source):
            if not self._is_over:
                self._end(self._epoch)
                self._is_over = True
                _log.debug("epoch %d is over; %.3f s waited for batches so far", self._epoch, self._source.wait_s)
            raise StopIteration
        began = time.perf_counter()
        try:
            batch = self._next_batch()
        except BaseException:
            self.close()
            raise
        self._source.count(batch, time.perf_counter() - began)
        self._record(self._epoch, self._step)
        self._step += 1
        return batch

    def close(self) -> None:
        """Stop here and drop the batches that are being prepared; from now on `next` raises StopIteration."""
        self.started = self._is_over = True
        self._step = self._submitted = len(self._source)
        self._drop()

    def __del__(self) -> None:
        self._drop()

    @property
    def _prepare(self) -> Callable[[int, int], Batch | SharedBatch]:
        """Function that makes the batch of an epoch and a step; it must not refer to this iterator, which may be forgotten."""
        return self._source.prepare

    @property
    def _prepare_group(self) -> Callable[[int, range], list[Batch | SharedBatch | Exception]] | None:
        """Function that makes several batches at once; None where they are made one by one."""
        return self._source.prepare_group

    def _begin(self) -> tuple[int, int]:
        """Return the epoch and the first step of this iteration, which begins now."""
        return self._source.position.begin_epoch()

    def _record(self, epoch: int, step: int) -> None:
        """Record where the iteration stands when the batch of a step is handed out."""
        self._source.position.advance(epoch, step)

    def _end(self, epoch: int) -> None:
        """Record that there is no further step in the epoch."""
        self._source.position.end_epoch(epoch)

    def _drop(self) -> None:
        self._ready.clear()
        while self._ahead:
            self._ahead.pop().cancel()

    def _next_batch(self) -> Batch | SharedBatch:
        pool = self._source.pool
        self._submit()
        if pool.generation != self._generation:
            raise RuntimeError(LOST)
        if self._ready:
            return self._next_of_group()
        if not self._ahead:
            return self._make_in_this_thread()
        try:
            with pool.consumer.waiting():
                made = self._ahead.popleft().result()
        except CancelledError:
            if pool.generation == self._generation and is_exiting():
                return self._make_in_this_thread()
            raise RuntimeError(LOST) from None
        self._submit()
        if not isinstance(made, list):
            return made
        self._ready.extend(made)
        return self._next_of_group()

    def _next_of_group(self) -> Batch | SharedBatch:
        batch = self._ready.popleft()
        if isinstance(batch, Exception):
            raise batch
        return batch

    def _make_in_this_thread(self) -> Batch | SharedBatch:
        """Make the next batch at the end of the interpreter, when there are no workers any more.

        Threads that are not daemons are waited for, and what they train has to go on.
        """
        if threading.current_thread().daemon:
            raise SystemExit  # which ends the thread without a message; the interpreter is about to end it anyhow
        self._drop()
        self._submitted = self._step + 1
        return self._prepare(self._epoch, self._step)

    def _submit(self) -> None:
        source, group = self._source, self._prepare_group
        pool, n_useful = source.pool, self._n_useful
        while self._submitted < len(source) and len(self._ahead) < pool.ahead:
            size = 1 if group is None else source.grouping.size(len(source) - self._submitted, n_useful)
            if size > 1 and len(self._ahead) >= n_useful + pool.prefetch:
                return
            if group is None or size == 1:
                future = pool.submit(self._generation, self._prepare, self._epoch, self._submitted)
            else:
                steps = range(self._submitted, self._submitted + size)
                future = pool.submit(self._generation, group, self._epoch, steps)
            if future is None:
                return
            self._ahead.append(future)
            self._submitted += size


class ImageIterator(EpochIterator):
    """Iterator over the batches of one epoch without labels and weights, for whoever needs x alone: masks are not read."""

    @property
    def _prepare(self) -> Callable[[int, int], Batch | SharedBatch]:
        return self._source.prepare_images

    @property
    def _prepare_group(self) -> Callable[[int, range], list[Batch | SharedBatch | Exception]] | None:
        return functools.partial(self._source.prepare_group, has_labels=False)


class HandedOut(Iterator[Any]):
    """Batches of an epoch iterator, each as whoever iterates gets it.

    Threads may share it: each batch goes to one of them, in the order in which they ask. A generator would be an error then and,
    without Python's global lock, end the process: CPython 3.14 does not keep two threads from entering its frame.

    Parameters
    ----------
    batches : EpochIterator
    hand_out : callable
        Takes a `Batch` or `SharedBatch`.
    """

    def __init__(self, batches: EpochIterator, hand_out: Callable[[Any], Any]) -> None:
        self._batches, self._hand_out = batches, hand_out
        begin_in_children(self)

    def begin(self) -> None:
        """Make the lock anew, which does not survive a fork."""
        self._turn = threading.RLock()

    def __next__(self) -> Any:
        with self._turn:
            batch = next(self._batches)
        return self._hand_out(batch)

    def close(self) -> None:
        """Stop here, see `EpochIterator.close`."""
        self._batches.close()
