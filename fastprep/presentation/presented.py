"""What a loader shows of itself: a line, a page in a notebook, figures of its batches, and what it has read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastprep._arguments import ReadOnlyArguments
from fastprep._resuming import Resuming
from fastprep.dataset import Dataset, map_outputs
from fastprep.pipeline import Backend, BatchSource, WorkerPool
from fastprep.pipeline.decoding import DeviceDecoding
from fastprep.presentation.stats import Stats
from fastprep.remote import Session
from fastprep.sampling import Sampler

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Presented(ReadOnlyArguments, Resuming):
    """Methods of a `Loader` for people. None of them changes what the loader reads next."""

    _dataset: Dataset
    _spec: Any
    _sampler: Sampler
    _source: BatchSource
    _pool: WorkerPool
    _backends: Sequence[Backend]
    _decoding: DeviceDecoding | None
    _session: Session

    @property
    def n_samples(self) -> int:
        """Number of samples in the whole dataset or, with `indices`, in that part, over all shards."""
        return self._dataset.n_samples

    @property
    def class_names(self) -> Any:
        """Names of the classes, if the first file has them or labels are texts; for several outputs a tuple or dict of them."""
        return self._dataset.class_names

    @property
    def channel_order(self) -> Any:
        """Order of the channels of x, such as "RGB", "BGR" or "L", if the first file names them; for several inputs a dict."""
        return map_outputs(lambda images: images.metadata[0].channel_order, self._dataset.each_input)

    @property
    def output_shape(self) -> Any:
        """Shape of one row of x, as for `keras.Input`: a tuple of int; for several inputs a dict of them."""
        return map_outputs(lambda spec: spec.out_shape(1)[1:], self._spec)

    def __repr__(self) -> str:
        from fastprep.presentation.facts import line_of

        return line_of(self)

    def _repr_html_(self) -> str:
        """Return the page that notebooks show: facts, classes, and up to twelve images; it never fails."""
        from fastprep.presentation.page import page_of

        return page_of(self)

    def show(self, n: int = 16, *, epoch: int | None = None, step: int | None = None) -> Figure:
        """Draw images as a training sees them, with their labels: mean and scale are undone, and masks, boxes and points drawn.

        Nothing is consumed: the next iteration, the state, and the counts of batches and samples stay as they are. Images are
        made anew on the CPU.

        Parameters
        ----------
        n : int, default 16
            Number of rows of x to draw, at most. With several inputs each row has an image of each; with `TenCrop` a sample has
            ten rows.
        epoch, step : int or None, default None
            Batch to begin with; the drawing goes on with those after it. None takes the one with which the next iteration
            begins; with an epoch alone its first one.

        Returns
        -------
        matplotlib.figure.Figure
            Notebooks show it; ``figure.savefig("batch.png")`` writes it.

        Raises
        ------
        ValueError
            If `n` is not an integer of at least 1, or `epoch` not one of at least 0.
        IndexError
            If there is no such step.
        OSError, DataError
            If the files can't be read there, or are damaged.
        ModuleNotFoundError
            If matplotlib is not installed.

        Examples
        --------
        >>> train.show()
        >>> train.show(4, epoch=3).savefig("epoch3.png")
        """
        from fastprep.presentation.drawing import draw_batch

        return draw_batch(self, n, epoch, step)

    def stats(self) -> Stats:
        """Report what was read so far, and how.

        Returns
        -------
        dict
            It prints as a table. device: where batches are made. decoded: how many images were decoded on the device and on the
            CPU, as a dict; None unless `decode="device"`. batches, samples: how many were handed out. wait_s: seconds that the
            consumer waited for batches. buffers: batch buffers ever allocated. workers: number of threads. order: how samples are
            shuffled. blocks_decoded: chunks, or rows of chunks, that were decoded. remote: requests, retries, bytes, and blocks
            that were read and fetched of remote files, as a dict, by all loaders that share them; None if there are none.
            corrupt: how many samples are known to be damaged, and why; None unless `on_corrupt="skip"`. files: a list that
            describes how each file is read.
        """
        return Stats(
            device=", ".join(dict.fromkeys(backend.device for backend in self._backends)),
            decoded=None if self._decoding is None else self._decoding.describe(),
            batches=self._source.n_batches,
            samples=self._source.n_samples,
            wait_s=self._source.wait_s,
            buffers=self._pool.n_buffers,
            workers=self._pool.n_threads,
            order=self._sampler.describe(),
            blocks_decoded=self._dataset.n_blocks_decoded,
            remote=self._session.counts(),
            corrupt=self._source.describe_corrupt(),
            files=self._dataset.describe(),
        )
