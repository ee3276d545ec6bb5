"""Rows of batches as a training sees them, made beside the loader: its buffers, position and counts stay as they are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fastprep.dataset import outputs_of
from fastprep.dataset.targets import described
from fastprep.kernels import CropSpec
from fastprep.pipeline import Batch, BatchSource, choose, pool_of
from fastprep.presentation.pixels import in_rgb
from fastprep.presentation.rows import Row, Seen, rows_of, seen_in
from fastprep.presentation.undo import Normalisation, channels_last, mean_parts, undone
from fastprep.transforms import Target

_AT_ONCE = 64 << 20  # bytes of x that are made at a time


class Preview:
    """First rows of the batches of an epoch.

    Parameters
    ----------
    source : BatchSource
        Of the loader. Its files are read, and nothing else of it is used or changed.
    side : int
        Pixels of the longer side of an image, at most.
    has_targets : bool
        Whether masks, boxes and points are read.
    """

    def __init__(self, source: BatchSource, side: int, has_targets: bool = True) -> None:
        self._source, self._side = source, side
        spec = source.backends[0].spec
        self._specs: Mapping[str, CropSpec] = spec if isinstance(spec, dict) else {"": spec}
        inputs = source.dataset.each_input
        self._inputs = inputs if isinstance(inputs, dict) else {"": inputs}
        self._targets = described(source.dataset.labels)
        kinds = [isinstance(output, Target) for output in outputs_of(self._targets)]
        self._has_labels = bool(kinds) and (has_targets or not any(kinds))

    def next_place(self) -> tuple[int, int]:
        """Return the epoch and the step with which the next iteration begins."""
        epoch, step = self._source.position.next_epoch, self._source.position.next_step
        return (epoch, step) if step < len(self._source) else (epoch + 1, 0)

    def numbers(self, epoch: int, step: int, n: int) -> list[NDArray[np.int64]]:
        """Return the numbers by which the samples of the first `n` rows from a step on are drawn, those to be made together.

        Raises
        ------
        IndexError
            If there is no such step.
        """
        source, augmentation = self._source, self._source.augmentation
        together: list[NDArray[np.int64]] = []
        left, since = -(-n // augmentation.n_crops), source.position.since(epoch)
        row_bytes = sum(spec.crop_bytes for spec in self._specs.values()) * augmentation.n_crops
        few = max(1, _AT_ONCE // row_bytes)
        while left > 0 and (step < len(source) or not together):
            own = source.sampler.numbers(epoch, step, since)
            if augmentation.blend is not None or source.finish is not None:  # which look at the whole batch
                together.append(own)
            else:
                own = own[:left]
                together.extend(own[first : first + few] for first in range(0, len(own), few))
            left, step = left - len(own), step + 1
        return together

    def decoded_bytes(self, epoch: int, numbers: NDArray[np.int64]) -> int:
        """Return about how many bytes of images have to be decoded for some samples, chunks with several of them once."""
        source = self._source
        dataset = source.dataset if self._has_labels else source.images
        samples = source.sampler.samples_of(epoch, numbers)
        if dataset.has_sizes:
            height, width, channels = dataset.shapes(samples)
            n_pixels = int((np.asarray(height, np.int64) * width).sum())
            return n_pixels * channels * dataset.dtype.itemsize * len(dataset.files)
        rows = samples if dataset.rows is None else dataset.rows[samples]
        return sum(len(np.unique(rows // files.block_images)) * files.block_bytes for files in dataset.files)

    def rows(self, epoch: int, step: int, n: int) -> list[Seen]:
        """Return the first `n` rows from a step on, or those that the epoch has.

        Raises
        ------
        IndexError
            If there is no such step.
        OSError, DataError
            If the files can't be read there, or are damaged.
        """
        return self.rows_of(epoch, self.numbers(epoch, step, n), n)

    def rows_of(self, epoch: int, together: Sequence[NDArray[np.int64]], n: int) -> list[Seen]:
        """Return the first `n` rows of the samples of some numbers; see `numbers`."""
        rows = list(itertools.islice(self._make(epoch, together), n))
        done = {name: Normalisation.of(spec) for name, spec in self._specs.items()}
        return seen_in(rows, {name: done[name].span(row.images[name] for row in rows) for name in done})

    def _make(self, epoch: int, together: Sequence[NDArray[np.int64]]) -> Iterator[Row]:
        """Make rows, those of a few samples at a time, on the CPU, whose bits are those of any device."""
        source, spec = self._source, self._source.backends[0].spec
        n_images, n_crops = max(map(len, together)), source.augmentation.n_crops
        backends = [choose("cpu", spec, n_images, n_images * n_crops)]
        pool = pool_of(backends, n_images, n_crops, 1, 0, 1)
        what = source.dataset, source.labels, source.weights, source.augmentation, source.sampler, source.position
        own = BatchSource(*what, backends, pool, source.finish)
        try:
            for numbers in together:
                (batch,) = own.make_of(epoch, numbers, self._has_labels).parts
                yield from self._rows(epoch, numbers, batch)
        finally:
            pool.close()

    def _rows(self, epoch: int, numbers: NDArray[np.int64], batch: Batch) -> Iterator[Row]:
        source = self._source
        samples = source.sampler.samples_of(epoch, numbers).repeat(source.augmentation.n_crops)
        by_name = batch.x if isinstance(batch.x, dict) else {"": batch.x}
        pixels = {name: self._pixels(name, x, epoch, numbers) for name, x in by_name.items()}
        untitled = [f"sample {sample}" for sample in samples.tolist()]
        return rows_of(pixels, batch.y, self._targets, source.dataset.class_names, untitled, self._side)

    def _pixels(self, name: str, x: NDArray, epoch: int, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return rows of one input in the colours that are drawn, and, unless they are standardised, as pixels."""
        source, spec, images = self._source, self._specs[name], self._inputs[name]
        done = Normalisation.of(spec)
        values = channels_last(x, done.layout)
        if not done.is_standardised:
            mean = done.mean
            if mean is not None and done.has_mean_image:
                draw = numbers, source.sampler.seed, epoch
                crops = source.augmentation.table(images.image_shape, *draw).crops
                mean = mean_parts(mean, spec.size, crops, source.augmentation.blends(*draw))
            values = undone(values, done.scale, mean)
        return in_rgb(values, images.metadata[0].channel_order)
