"""Epoch iterator: batches prepared ahead by threads, handed out in order, with errors raised where a batch is asked for."""

from __future__ import annotations

import collections
import time
from concurrent.futures import CancelledError, Future

from fastprep.pipeline.batch import Batch, SharedBatch
from fastprep.pipeline.source import BatchSource
from fastprep.pipeline.worker_pool import LOST


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
        self._ahead: collections.deque[Future[Batch | SharedBatch]] = collections.deque()
        self._epoch = self._step = self._submitted = self._generation = 0

    def __iter__(self) -> EpochIterator:
        return self

    def __next__(self) -> Batch | SharedBatch:
        if not self.started:
            self.started = True
            self._epoch, self._step = self._source.begin_epoch()
            self._submitted = self._step
            self._generation = self._source.pool.generation
        if self._step >= len(self._source):
            if not self._is_over:
                self._source.end_epoch(self._epoch)
                self._is_over = True
            raise StopIteration
        began = time.perf_counter()
        try:
            batch = self._next_batch()
        except BaseException:
            self.close()
            raise
        self._source.record(self._epoch, self._step, batch, time.perf_counter() - began)
        self._step += 1
        return batch

    def close(self) -> None:
        """Stop here and drop the batches that are being prepared; from now on `next` raises StopIteration."""
        self.started = self._is_over = True
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
            raise RuntimeError(LOST)
        try:
            batch = self._ahead.popleft().result()
        except CancelledError:
            raise RuntimeError(LOST) from None
        self._submit()
        return batch

    def _submit(self) -> None:
        source = self._source
        while self._submitted < len(source) and len(self._ahead) < source.pool.ahead:
            self._ahead.append(source.pool.submit(self._generation, source.prepare, self._epoch, self._submitted))
            self._submitted += 1
