"""Source of a loader's batches: which samples a batch has, how they become its rows, and where the iteration stands."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fastprep._sink import Sink
from fastprep.dataset import Dataset
from fastprep.pipeline.backends import Backend
from fastprep.pipeline.batch import Batch, SharedBatch
from fastprep.pipeline.companions import Rows
from fastprep.pipeline.cuda import NotFiniteOnDevice
from fastprep.pipeline.worker_pool import WorkerPool
from fastprep.sampling import Position, Sampler, check_integer
from fastprep.sampling.sampler import WHOLE_EPOCH
from fastprep.transforms import Crop


class BatchSource:
    """Batches by epoch and step, for `EpochIterator` and for single calls.

    Parameters
    ----------
    dataset : Dataset
    labels : ndarray, shape (N, ...), or None
    weights : ndarray of float32, shape (N,), or None
    crop : Crop
    sampler : Sampler
    position : Position
        Where the next iteration begins; moved on by iterations.
    backends : sequence of Backend
        One for each part of a batch.
    pool : WorkerPool
        Threads that call `prepare`, and the buffers of each part.

    Attributes
    ----------
    n_batches, n_samples : int
        Batches and samples that were handed out so far.
    wait_s : float
        Seconds for which the consumer waited for them.
    """

    def __init__(
        self,
        dataset: Dataset,
        labels: NDArray | None,
        weights: NDArray[np.float32] | None,
        crop: Crop,
        sampler: Sampler,
        position: Position,
        backends: Sequence[Backend],
        pool: WorkerPool,
    ) -> None:
        self.dataset, self.labels, self.weights, self.crop = dataset, labels, weights, crop
        self.sampler, self.position, self.backends, self.pool = sampler, position, backends, pool
        self.n_batches = self.n_samples = 0
        self.wait_s = 0.0

    def __len__(self) -> int:
        """Count the steps of an epoch."""
        return len(self.sampler)

    def reserve(self) -> None:
        """Allocate on each device, and compile, what an iteration needs: from then on nothing of that disturbs the consumer."""
        for backend in self.backends:
            backend.reserve(self.pool.n_threads)
        self.pool.reserve()

    def samples(self, epoch: int, step: int) -> NDArray[np.int64]:
        """Return the sample ids of one batch; see `fastprep.loader.Loader.samples`."""
        check_integer("epoch", epoch, 0)
        return self.sampler.samples(epoch, step, self.position.since(epoch))

    def make(self, epoch: int, step: int) -> Batch | SharedBatch:
        """Read, crop and label one batch in this thread; see `fastprep.loader.Loader.batch`."""
        return self._make_of(epoch, self.samples(epoch, step))

    def _make_of(self, epoch: int, samples: NDArray[np.int64]) -> Batch | SharedBatch:
        n_parts = len(self.backends)
        if n_parts == 1:
            return self._make_part(0, epoch, samples)
        size = -(-len(samples) // n_parts)  # as `tf.distribute` cuts the batches of a `tf.data.Dataset`
        return SharedBatch(tuple(self._make_part(k, epoch, samples[k * size : (k + 1) * size]) for k in range(n_parts)))

    def prepare(self, epoch: int, step: int) -> Batch | SharedBatch:
        """Make the batch of a step of an iteration, and decode the part of the next window that is due with it."""
        batch = self.make(epoch, step)
        if len(due := self.sampler.due(epoch, step, self.position.since(epoch))):
            self.dataset.fetch(due)
        return batch

    def prepare_intact(self, epoch: int, step: int) -> Batch | SharedBatch:
        """Make the batch of a step as `prepare` does, but without the samples that are damaged; it may be empty."""
        batch = self.prepare(epoch, step)
        if all(part.replaced is None for part in batch.parts):
            return batch
        samples = self.samples(epoch, step)
        return self._make_of(epoch, samples[~self.replaced(samples)])

    def replaced(self, samples: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which samples are replaced by others, among those that were read at least once."""
        return self.dataset.replaced(samples) != samples

    def whole_epoch(self) -> int:
        """Return the next epoch of which every sample can be asked for: not one that was begun with other shards or batches."""
        epoch = self.position.next_epoch
        return epoch if self.position.since(epoch) == WHOLE_EPOCH else epoch + 1

    def count(self, batch: Batch | SharedBatch, waited_s: float) -> None:
        """Count a batch that is handed out, and the seconds for which the consumer waited for it."""
        self.n_batches += 1
        self.n_samples += batch.n_rows // self.crop.n_crops
        self.wait_s += waited_s

    def _make_part(self, part: int, epoch: int, samples: NDArray[np.int64]) -> Batch:
        backend, new_lease = self.backends[part], functools.partial(self.pool.lease, part)
        if len(samples):
            height, width, _ = self.dataset.image_shape
            table = self.crop.table(height, width, samples, self.sampler.seed, epoch)
            read = functools.partial(self._read, samples)
            try:
                x, lease, rows, on_device = backend.make(read, len(samples), table, new_lease)
            except NotFiniteOnDevice as error:
                raise self.dataset.not_finite(int(self.dataset.replaced(samples)[error.slot])) from None
        else:
            lease, rows = new_lease(), self._rows(samples)
            x, on_device = backend.view(lease, 0), backend.companions.place(0, 0)
        replaced = rows.samples != samples
        return Batch(x, rows.y, rows.weights, lease, replaced if replaced.any() else None, tuple(on_device))

    def _read(self, samples: NDArray[np.int64], sink: Sink) -> Rows:
        """Hand images to a sink; return what belongs to them."""
        return self._rows(self.dataset.read(samples, sink))

    def _rows(self, samples: NDArray[np.int64]) -> Rows:
        rows = samples.repeat(self.crop.n_crops)
        y = None if self.labels is None else self.labels[rows]
        return Rows(samples, y, None if self.weights is None else self.weights[rows])
