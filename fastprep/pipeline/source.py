"""Source of a loader's batches: which samples a batch has, how they become its rows, and where the iteration stands."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep._sink import Sink
from fastprep.dataset import Dataset, blended, map_outputs, outputs_of
from fastprep.h5 import OtherSizeError
from fastprep.pipeline.asking import asking_for
from fastprep.pipeline.backends import Backend
from fastprep.pipeline.batch import Batch, SharedBatch
from fastprep.pipeline.companions import Rows
from fastprep.pipeline.cuda import NotFiniteOnDevice
from fastprep.pipeline.grouping import Grouping, divide
from fastprep.pipeline.host_transform import HostTransform
from fastprep.pipeline.places import offsets_of_x
from fastprep.pipeline.targets import MappedRows, MaskRows, TargetBatch
from fastprep.pipeline.worker_pool import WorkerPool
from fastprep.sampling import Position, Sampler, check_integer
from fastprep.sampling.sampler import WHOLE_EPOCH
from fastprep.system import begin_in_children
from fastprep.transforms import Augmentation, BlendTable, TooSmallError, TransformTable


class BatchSource:
    """Batches by epoch and step, for `EpochIterator` and for single calls.

    Parameters
    ----------
    dataset : Dataset
    labels : ndarray, shape (N, ...), MaskRows or MappedRows, a tuple or dict of such, or None
    weights : ndarray of float32, shape (N,), in the structure of the labels, or None
    augmentation : Augmentation
    sampler : Sampler
    position : Position
        Where the next iteration begins; moved on by iterations.
    backends : sequence of Backend
        One for each part of a batch.
    pool : WorkerPool
        Threads that call `prepare`, and the buffers of each part.
    finish : HostTransform, optional
        What x of each batch goes through at last, on the host.
    grouping : Grouping, optional
        How many batches are made at a time, for which the buffers are large enough. Default: one.

    Attributes
    ----------
    images : Dataset
        The dataset without its masks, for batches without labels.
    n_batches, n_samples : int
        Batches and samples that were handed out so far.
    wait_s : float
        Seconds for which the consumer waited for them.
    """

    def __init__(
        self,
        dataset: Dataset,
        labels: Any,
        weights: Any,
        augmentation: Augmentation,
        sampler: Sampler,
        position: Position,
        backends: Sequence[Backend],
        pool: WorkerPool,
        finish: HostTransform | None = None,
        grouping: Grouping | None = None,
    ) -> None:
        self.dataset, self.labels, self.weights, self.augmentation = dataset, labels, weights, augmentation
        self.sampler, self.position, self.backends, self.pool = sampler, position, backends, pool
        self.finish, self.grouping = finish, grouping or Grouping(1)
        self._asking = asking_for(dataset, sampler)
        self.images = dataset.without_masks()
        self.n_batches = self.n_samples = 0
        self.wait_s = 0.0
        begin_in_children(self)

    def begin(self) -> None:
        """Make the lock of the counts anew, which does not survive a fork."""
        self._counting = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_counting"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        begin_in_children(self)

    def __len__(self) -> int:
        """Count the steps of an epoch."""
        return len(self.sampler)

    def reserve(self) -> None:
        """Allocate on each device, and compile, what an iteration needs: from then on nothing of that disturbs the consumer."""
        for backend in self.backends:
            backend.reserve(self.pool.n_threads, has_blends=self.augmentation.blend is not None)
        self.pool.reserve()

    def samples(self, epoch: int, step: int) -> NDArray[np.int64]:
        """Return the sample ids of one batch; see `fastprep.loader.Loader.samples`."""
        check_integer("epoch", epoch, 0)
        return self.sampler.samples(epoch, step, self.position.since(epoch))

    def make(self, epoch: int, step: int) -> Batch | SharedBatch:
        """Read, crop and label one batch in this thread; see `fastprep.loader.Loader.batch`."""
        return self.make_of(epoch, self._numbers(epoch, step))

    def make_images(self, epoch: int, step: int) -> Batch | SharedBatch:
        """Make one batch in this thread without labels and weights: masks are not read."""
        return self.make_of(epoch, self._numbers(epoch, step), has_labels=False)

    def _numbers(self, epoch: int, step: int) -> NDArray[np.int64]:
        """Return the numbers by which the crops of a step are drawn; see `Sampler.numbers`."""
        check_integer("epoch", epoch, 0)
        return self.sampler.numbers(epoch, step, self.position.since(epoch))

    def make_of(self, epoch: int, numbers: NDArray[np.int64], has_labels: bool = True) -> Batch | SharedBatch:
        """Make a batch of the samples of some numbers, see `Sampler.numbers`, in this thread."""
        n_parts = len(self.backends)
        if n_parts == 1:
            return self._make_part(0, epoch, numbers, has_labels)
        size = -(-len(numbers) // n_parts)  # as `tf.distribute` cuts the batches of a `tf.data.Dataset`
        parts = (self._make_part(k, epoch, numbers[k * size : (k + 1) * size], has_labels) for k in range(n_parts))
        return SharedBatch(tuple(parts))

    def prepare(self, epoch: int, step: int) -> Batch | SharedBatch:
        """Make the batch of a step of an iteration, and decode the part of the next window that is due with it."""
        return self._prepare(epoch, step, has_labels=True)

    def prepare_group(self, epoch: int, steps: range, has_labels: bool = True) -> list[Batch | SharedBatch | Exception]:
        """Make the batches of several steps at once; see `Grouping`.

        Returns
        -------
        list of Batch or Exception
            The batch of each step. If one can't be made, the error is in its place, and what follows is left out.
        """
        self._ask_ahead(epoch, steps, has_labels)
        began = time.perf_counter()
        numbers, counts = self.sampler.numbers_of_steps(epoch, steps, self.position.since(epoch))
        batches: list[Batch | SharedBatch | Exception]
        try:
            batches = [*divide(self._make_part(0, epoch, numbers, has_labels), counts, self.augmentation.n_crops)]
        except Exception:  # whoever asks for a batch before the one that fails is to get it
            batches = self._make_each(epoch, steps, has_labels)
        self.grouping.note(len(steps), time.perf_counter() - began)
        return batches

    def prepare_images(self, epoch: int, step: int) -> Batch | SharedBatch:
        """Make the batch of a step as `prepare` does, but without labels and weights: masks are not read."""
        return self._prepare(epoch, step, has_labels=False)

    def prepare_intact(self, epoch: int, step: int) -> Batch | SharedBatch:
        """Make the batch of a step as `prepare` does, but without the samples that are damaged; it may be empty."""
        batch = self.prepare(epoch, step)
        if all(part.replaced is None for part in batch.parts):
            return batch
        numbers = self._numbers(epoch, step)
        return self.make_of(epoch, numbers[~self.replaced(self.sampler.samples_of(epoch, numbers))])

    def replaced(self, samples: NDArray[np.int64], has_labels: bool = True) -> NDArray[np.bool_]:
        """Tell which samples are replaced by others, among those that were read at least once, with their labels or without."""
        return self._dataset(has_labels).replaced(samples) != samples

    def describe_corrupt(self) -> dict[str, Any] | None:
        """Describe the samples that are known to be damaged; see `Dataset.describe_corrupt`."""
        return self.dataset.describe_corrupt(self.images)

    def whole_epoch(self) -> int:
        """Return the next epoch of which every sample can be asked for: not one that was begun with other shards or batches."""
        epoch = self.position.next_epoch
        return epoch if self.position.since(epoch) == WHOLE_EPOCH else epoch + 1

    def count(self, batch: Batch | SharedBatch, waited_s: float) -> None:
        """Count a batch that is handed out, and the seconds for which the consumer waited for it."""
        with self._counting:  # several threads may iterate over the loader
            self.n_batches += 1
            self.n_samples += batch.n_rows // self.augmentation.n_crops
            self.wait_s += waited_s

    def _prepare(self, epoch: int, step: int, has_labels: bool) -> Batch | SharedBatch:
        self._ask_ahead(epoch, range(step, step + 1), has_labels)
        began = time.perf_counter()
        batch = self.make_of(epoch, self._numbers(epoch, step), has_labels)
        self.grouping.note(1, time.perf_counter() - began)
        if len(due := self.sampler.due(epoch, step, self.position.since(epoch))):
            self._dataset(has_labels).fetch(due)
        return batch

    def _ask_ahead(self, epoch: int, steps: range, has_labels: bool) -> None:
        if self._asking is not None:
            self._asking.ask(self._dataset(has_labels), epoch, steps, self.position.since(epoch))

    def _make_each(self, epoch: int, steps: range, has_labels: bool) -> list[Batch | SharedBatch | Exception]:
        """Make the batches of steps one by one, up to the first that can't be made, whose error is the last of the list."""
        outcomes: list[Batch | SharedBatch | Exception] = []
        for step in steps:
            try:
                outcomes.append(self.make_of(epoch, self._numbers(epoch, step), has_labels))
            except Exception as error:
                return [*outcomes, error]
        return outcomes

    def _dataset(self, has_labels: bool) -> Dataset:
        return self.dataset if has_labels else self.images

    def _make_part(self, part: int, epoch: int, numbers: NDArray[np.int64], has_labels: bool) -> Batch:
        dataset, samples = self._dataset(has_labels), self.sampler.samples_of(epoch, numbers)
        while True:
            read_before = dataset.replaced(samples)
            try:
                return self._try_part(part, epoch, numbers, samples, has_labels)
            except OtherSizeError:  # an image has come in the place of one that turned out to be damaged: drawn for its size now
                if (dataset.replaced(samples) == read_before).all():
                    raise

    def _try_part(self, part: int, epoch: int, numbers: NDArray[np.int64], samples: NDArray[np.int64], has_labels: bool) -> Batch:
        dataset = self._dataset(has_labels)
        backend, new_lease = self.backends[part], functools.partial(self.pool.lease, part)
        if len(samples):
            draw = numbers, self.sampler.seed, epoch
            table = self._table(dataset, samples, draw)
            blends = self.augmentation.blends(*draw)
            read = functools.partial(self._read, samples, table, blends, has_labels)
            try:
                x, lease, rows, on_device = backend.make(read, len(samples), self._tables(table, *draw), new_lease, blends)
            except NotFiniteOnDevice as error:
                sample = int(dataset.replaced(samples)[error.slot])
                raise dataset.not_finite(sample, error.number) from None
            if self.finish is not None:
                self.finish.apply(x, *draw)
        else:
            nothing = TransformTable(np.empty((0, 4), np.int32))
            lease, rows = new_lease(), self._rows(samples, TargetBatch(None, nothing, 0), None, has_labels)
            x, on_device = backend.view(lease, 0), backend.companions.place(0, 0)
        replaced = None if rows.samples is samples else rows.samples != samples
        on_device = on_device if has_labels else []
        offsets = offsets_of_x(backend.spec, len(outputs_of(x)[0]))
        is_whole = replaced is None or not replaced.any()
        return Batch(x, rows.y, rows.weights, lease, None if is_whole else replaced, tuple(on_device), offsets)

    def _table(self, dataset: Dataset, samples: NDArray[np.int64], draw: tuple[NDArray[np.int64], int, int]) -> TransformTable:
        try:
            return self.augmentation.table(dataset.shapes(samples), *draw)
        except TooSmallError as error:
            sample = int(dataset.replaced(samples)[error.number])
            raise dataset.image_error(sample, f"{error}; leave it out by indices=, or choose a crop that resizes") from None

    def _tables(self, table: TransformTable, numbers: NDArray[np.int64], seed: int, epoch: int) -> Any:
        """Return the transform table of each input: the same rows, with colours of its own."""
        inputs = self.dataset.each_input
        if not isinstance(inputs, dict):
            return table
        return {
            name: self.augmentation.for_input(name).colored(table, images.image_shape[2], numbers, seed, epoch)
            for name, images in inputs.items()
        }

    def _read(
        self, samples: NDArray[np.int64], table: TransformTable, blends: BlendTable | None, has_labels: bool, *sinks: Sink
    ) -> Rows:
        """Hand images to sinks; return what belongs to them."""
        targets, dataset = TargetBatch(self.labels if has_labels else None, table, len(samples)), self._dataset(has_labels)
        samples = dataset.read(samples, *sinks, *targets.sinks)
        targets.settle(dataset, samples, len(sinks))
        return self._rows(samples, targets, blends, has_labels)

    def _rows(self, samples: NDArray[np.int64], targets: TargetBatch, blends: BlendTable | None, has_labels: bool) -> Rows:
        if not has_labels:
            return Rows(samples, None, None)
        rows = samples if self.augmentation.n_crops == 1 else samples.repeat(self.augmentation.n_crops)

        def of_batch(values: NDArray | MaskRows | MappedRows) -> NDArray:
            if not isinstance(values, np.ndarray):
                return targets.of(values, samples)
            return values[rows] if blends is None else blended(values[rows], blends)

        y = None if self.labels is None else map_outputs(of_batch, self.labels)
        return Rows(samples, y, None if self.weights is None else map_outputs(of_batch, self.weights))
