"""Rows of batches as a training sees them, made beside the loader: its buffers, position and counts stay as they are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprep.cli.overlays import Overlay
from fastprep.dataset import map_outputs, outputs_of
from fastprep.dataset.targets import described
from fastprep.kernels import CropSpec
from fastprep.pipeline import Batch, BatchSource, choose, pool_of
from fastprep.presentation.pixels import BYTES, STANDARDISED, Range, as_bytes, in_rgb, range_of, shrunk
from fastprep.presentation.titles import titles_of
from fastprep.presentation.undo import channels_last, pixels_of
from fastprep.transforms import Boxes, Mask, Points, Target
from fastprep.transforms.box_formats import to_edges

_AT_ONCE = 64 << 20  # bytes of x that are made at a time


class Seen(NamedTuple):
    """One row of x.

    Attributes
    ----------
    images : dict of str to ndarray of uint8, shape (h, w, 1 or 3)
        By the name of the input, which is "" where there is one; they may be smaller than in the batch.
    size : (int, int)
        Height and width in the batch, in pixels.
    title : str
    overlays : tuple of Overlay
        Masks, boxes and points, in pixels of the batch.
    """

    images: dict[str, NDArray[np.uint8]]
    size: tuple[int, int]
    title: str
    overlays: tuple[Overlay, ...]


class _Row(NamedTuple):
    """One row of x before it is known what white is."""

    images: dict[str, NDArray[np.float32]]
    size: tuple[int, int]
    title: str
    overlays: tuple[Overlay, ...]


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
        spans = {name: self._span(name, [row.images[name] for row in rows]) for name in self._specs}
        return [
            Seen({name: as_bytes(image, spans[name]) for name, image in row.images.items()}, row.size, row.title, row.overlays)
            for row in rows
        ]

    def _span(self, name: str, images: Sequence[NDArray[np.float32]]) -> Range:
        if self._specs[name].standardize:
            return STANDARDISED
        return BYTES if self._specs[name].source_dtype == "uint8" else range_of(images)

    def _make(self, epoch: int, together: Sequence[NDArray[np.int64]]) -> Iterator[_Row]:
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

    def _rows(self, epoch: int, numbers: NDArray[np.int64], batch: Batch) -> Iterator[_Row]:
        source = self._source
        samples = source.sampler.samples_of(epoch, numbers)
        pixels = {name: self._pixels(name, x, epoch, numbers) for name, x in self._by_name(batch.x).items()}
        size = self._specs[next(iter(self._specs))].size
        labels = None if batch.y is None else map_outputs(_unless_drawn, self._targets, batch.y)
        titles = titles_of(labels, source.dataset.class_names)
        titles = titles or [f"sample {sample}" for sample in samples.repeat(source.augmentation.n_crops).tolist()]
        overlays = self._overlays(batch.y, len(titles), size)
        for row, title in enumerate(titles):
            images = {name: shrunk(own[row], self._side) for name, own in pixels.items()}
            yield _Row(images, size, title, overlays[row])

    @staticmethod
    def _by_name(x: Any) -> dict[str, Any]:
        return x if isinstance(x, dict) else {"": x}

    def _pixels(self, name: str, x: NDArray, epoch: int, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return rows of one input in the colours that are drawn, and, unless they are standardised, as pixels."""
        source, spec, images = self._source, self._specs[name], self._inputs[name]
        if spec.standardize:
            values = channels_last(x, spec)
        else:
            draw, crops, blends = (numbers, source.sampler.seed, epoch), np.empty((0, 4), np.int32), None
            if spec.mean_values is not None and spec.mean_values.ndim == 3:
                crops = source.augmentation.table(images.image_shape, *draw).crops
                blends = source.augmentation.blends(*draw)
            values = pixels_of(x, spec, crops, blends)
        return in_rgb(values, images.metadata[0].channel_order)

    def _overlays(self, y: Any, n: int, size: tuple[int, int]) -> list[tuple[Overlay, ...]]:
        """Return what lies over each row."""
        each = [_drawn(kind, values, size) for kind, values in zip(outputs_of(self._targets), outputs_of(y), strict=False)]
        drawn = [own for own in each if own]
        return [tuple(own[row] for own in drawn) for row in range(n)]


def _unless_drawn(kind: Any, values: Any) -> Any:
    """Return labels that are told in words; None for a target."""
    return None if isinstance(kind, Target) else values


def _drawn(kind: Any, values: Any, size: tuple[int, int]) -> list[Overlay]:
    """Return a target of each row as it is drawn; empty for other labels."""
    if not isinstance(kind, Target):
        return []
    rows = np.asarray(values)
    if isinstance(kind, Mask):
        return [Overlay(masks=row) for row in rows]
    if isinstance(kind, Boxes):
        edges = to_edges(rows[..., :4].astype(np.float64), kind.format, size)
        return [Overlay(boxes=row) for row in np.concatenate([edges, rows[..., 4:]], axis=-1)]
    assert isinstance(kind, Points)
    shift = np.array([0.5 - kind.center, 0.5 - kind.center, 0])
    return [Overlay(points=row + shift) for row in rows]
