"""Loader: batches of crops, prepared ahead by a pool of threads, in order, with errors carried to whoever asks."""

from __future__ import annotations

import collections
import functools
import os
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprep.dataset import one_hot, resolve_mean, sample_weights
from fastprep.dataset.dataset import Dataset, Paths
from fastprep.kernels import CropSpec
from fastprep.kernels.device import device_number
from fastprep.kernels.spec import DTypeName, Layout, dtype_name
from fastprep.pipeline import Backend, Batch, EpochIterator, SharedBatch, WorkerPool, choose
from fastprep.sampling import Position, Sampler, check_integer, check_shard
from fastprep.transforms import CenterCrop, Crop, check_crop


class Loader:
    """Batches of crops from HDF5 image files, for Keras' `fit`, `evaluate` and `predict`, or for a loop of one's own.

    A batch is a pure function of (file, arguments, seed, epoch, step).

    Parameters
    ----------
    files : path, glob pattern, or sequence of paths
        Several files are one long dataset.
    batch_size : int
        Samples of a batch; the last batch of an epoch may have fewer. With `TenCrop` a batch has ten rows for each sample.
    crop : RandomCrop, CenterCrop, TenCrop or None
        None gives whole images.
    images, labels : str
        Datasets in the files: images (N, H, W, C) or (N, H, W), and labels (N, ...) of any shape. `labels=None` for
        images without labels: then batches are x alone.
    mean : "file", array_like, path or None
        Subtracted. "file": the mean stored in the file. A scalar or a number for each channel, in the file's channel
        order; an (H, W, C) mean image; the path of a JSON {"R": .., "G": .., "B": ..}, applied in the file's channel
        order, or BGR if it names none; None: nothing.
    scale : array_like or None
        Multiplied with after the subtraction: a scalar, or a number for each channel.
    dtype : {"float32", "float16", "bfloat16"}
        Or a numpy type of that name.
    layout : {"channels_last", "channels_first"}
    num_classes : int or None
        Turn integer labels 0..num_classes-1 into one-hot rows of float32.
    shuffle : bool
        A new order each epoch, from (seed, epoch); else file order.
    shuffle_window : int
        Where several images share a compressed chunk, or chunks split the images, reading them in any order would decode
        each chunk once for every image in it. There the chunks are shuffled, and then the samples inside windows of
        about this many, so that each chunk is decoded once an epoch. Up to two windows of images are kept in memory. 0:
        shuffle all samples alike, whatever it costs.
    seed : int
        Of the order and of random crops.
    shard : (int, int)
        (rank, world): this loader's share of every epoch. Over all ranks every sample comes exactly once; shares differ
        by one sample at most, and so the last batch may be missing on some ranks.
    drop_remainder : bool
        Leave out what does not fill a batch of every rank: then all ranks have the same number of batches.
    class_weight : mapping of int to float, or None
        Weight of each class (1 for those not named): batches become (x, y, weights). Keras ignores the argument of that
        name to `fit` for loaders like this one.
    sample_weight : array_like, shape (N,), or str, or None
        Weight of each sample, in the order of the files: numbers, or the name of a dataset of them in each file. Batches become
        (x, y, weights); with `class_weight`, too, their product. Keras ignores that argument to `fit`, too.
    device : {"auto", "cpu", "cuda", "cuda:0", "cuda:1", ...}
        Where batches are made; same bits everywhere. On a CUDA device x is a cupy array, and labels stay on the CPU. "auto" takes
        the first CUDA device if cupy, a driver and the device answer and, with Keras, TensorFlow sees it, too; else the CPU. The
        log says which, and why, at level info. With Keras and in the scope of a `tf.distribute.MirroredStrategy`, each replica's
        part of a batch is made on the replica's own device ("auto", "cuda") or on the CPU, `batch_size` is for all replicas
        together and must be a multiple of their number, and iteration gives a tuple with a batch for each replica.
    workers : int or None
        Threads that prepare batches; None: one for each processor this process may use, eight at most.
    prefetch : int
        Finished batches kept ready beyond those that the workers have in hand.
    io : {"pread", "mmap"}
        How data that are read directly come in. "mmap" saves a copy; but if a mapped file is truncated meanwhile, the system
        ends the process (SIGBUS), where "pread" raises a DataError. For local files that nobody changes.
    on_corrupt : {"raise", "skip"}
        "skip" replaces images that can't be read, and their labels, by the next ones in the file that can, and says so in the
        log and in `stats`. Which ones depends on the file alone, so batches stay the same. A file that is changed meanwhile is
        an error all the same.

    Raises
    ------
    ValueError
        If an argument breaks its rule.
    OSError
        If a file is not there or may not be read.
    DataError
        If a file is damaged, or not what the arguments say.
    DeviceUnavailableError
        If `device` names a CUDA device that can't be used.

    Examples
    --------
    >>> train = fastprep.Loader("train.h5", 128, fastprep.RandomCrop(227, mirror=True), shuffle=True, seed=7)
    >>> for x, y in train: ...
    """

    def __init__(
        self,
        files: Paths,
        batch_size: int,
        crop: Crop | None,
        *,
        images: str = "images",
        labels: str | None = "labels",
        mean: ArrayLike | str | os.PathLike[str] | None = "file",
        scale: ArrayLike | None = None,
        dtype: DTypeName | np.dtype | type = "float32",
        layout: Layout = "channels_last",
        num_classes: int | None = None,
        shuffle: bool = False,
        shuffle_window: int = 2048,
        seed: int = 0,
        shard: tuple[int, int] = (0, 1),
        drop_remainder: bool = False,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: ArrayLike | str | None = None,
        device: str = "auto",
        workers: int | None = None,
        prefetch: int = 2,
        io: Literal["pread", "mmap"] = "pread",
        on_corrupt: Literal["raise", "skip"] = "raise",
    ) -> None:
        check_integer("batch_size", batch_size, 1)
        check_integer("prefetch", prefetch, 0)
        check_integer("shuffle_window", shuffle_window, 0)
        check_integer("seed", seed)
        device_number(device, "auto")
        check_shard(shard)
        dtype = dtype_name(dtype)
        check_crop(crop)
        if workers is None:
            workers = min(8, len(os.sched_getaffinity(0)))
        check_integer("workers", workers, 1)
        stored = sample_weight if isinstance(sample_weight, str) else None
        self.dataset = Dataset(files, images, labels, stored, io, on_corrupt)
        self.crop: Crop = CenterCrop(self.dataset.image_shape[:2]) if crop is None else crop
        mean_values = resolve_mean(mean, self.dataset.metadata, self.dataset.paths, images)
        try:
            self.spec = CropSpec(
                self.dataset.image_shape, self.dataset.dtype.name, self.crop.height_width, mean_values, scale, dtype, layout
            )
        except ValueError as error:
            raise ValueError(f"{error} (file {self.dataset.paths[0]!r}, dataset {images!r}){_hint(self.dataset)}") from None
        if num_classes is not None:
            check_integer("num_classes", num_classes, 2)
        self.labels = self.dataset.labels if num_classes is None else one_hot(self.dataset, num_classes)
        self._weights = sample_weights(self.dataset, class_weight, sample_weight)
        self.sampling = Sampler(
            self.n_samples,
            int(batch_size),
            bool(shuffle),
            int(seed),
            (int(shard[0]), int(shard[1])),
            bool(drop_remainder),
            int(shuffle_window),
            self.dataset.block_starts,
        )
        if len(self) == 0:
            rank, world = shard
            raise ValueError(
                f"there is no batch: shard {rank} of {world} of {self.n_samples} samples, batch_size {batch_size}, "
                f"drop_remainder {drop_remainder}"
            )
        self.dataset.keep(self.sampling.n_blocks_to_keep(int(workers) + int(prefetch)))
        self.place = Position(self.sampling, self.crop)
        self._counts: collections.Counter[str] = collections.Counter()
        self._wait_s = 0.0
        self.backends = self._choose_backends(device)  # one for each part of a batch
        part_bytes = -(-self.batch_size // len(self.backends)) * self.crop.n_crops * self.spec.crop_bytes
        self.pool = WorkerPool(int(workers), int(prefetch), part_bytes, [backend.memory for backend in self.backends])

    @property
    def n_samples(self) -> int:
        """Samples of the whole dataset, over all shards."""
        return self.dataset.n_samples

    @property
    def batch_size(self) -> int:
        """Samples of a batch."""
        return self.sampling.batch_size

    @property
    def mean(self) -> NDArray[np.float32] | None:
        """What is subtracted: float32, a scalar, shape (C,) or (H, W, C); None for nothing. For the loaders of other files."""
        return self.spec.mean  # type: ignore[return-value]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, if the first file has them."""
        return self.dataset.metadata[0].class_names

    @property
    def channel_order(self) -> str | None:
        """Which channels the images have, such as "RGB", "BGR" or "L", if the first file names them; batches keep them so."""
        return self.dataset.metadata[0].channel_order

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """Shape of one row of x, as for `keras.Input`."""
        return self.spec.out_shape(1)[1:]

    def __repr__(self) -> str:
        height, width, channels = self.spec.image_shape
        files = self.dataset.paths[0] if len(self.dataset.paths) == 1 else f"{len(self.dataset.paths)} files"
        what = f"{self.n_samples} images of {height}x{width}x{channels}, {len(self)} steps of {self.batch_size}"
        return f"<fastprep.Loader {files!r}: {what}, {self.crop}, {self.sampling.describe()}>"

    def __len__(self) -> int:
        """Count the steps of an epoch."""
        return len(self.sampling)

    def __iter__(self) -> Iterator[Any]:
        """Start a pass: the next epoch, or what is left of the one that `load_state_dict` left off in."""
        return (batch.item for batch in self.start_pass())

    def start_pass(self) -> EpochIterator:
        """Return an iterator of `Batch` over the next epoch; nothing is done, or counted, before its first `next`."""
        return EpochIterator(self)

    def batch(self, epoch: int, step: int) -> Any:
        """Return one batch, whatever was read before.

        Parameters
        ----------
        epoch : int
        step : int
            0..len(self)-1.

        Returns
        -------
        (x, y), (x, y, weights), or x
            As in iteration.

        Raises
        ------
        IndexError
            If there is no such step.
        DataError
            If the file is damaged there.
        """
        return self._make(epoch, step).item

    def samples(self, epoch: int, step: int) -> NDArray[np.int64]:
        """Return the sample ids of one batch, in the order of its rows (with `TenCrop`, of each ten rows).

        Raises
        ------
        IndexError
            If there is no such step.
        """
        check_integer("epoch", epoch, 0)
        return self.sampling.samples(epoch, step, self.place.since(epoch))

    def prepare(self, epoch: int, step: int) -> Batch | SharedBatch:
        """Read, crop and label one batch of a pass in this thread; see `batch`."""
        batch = self._make(epoch, step)
        if len(due := self.sampling.due(epoch, step, self.place.since(epoch))):
            self.dataset.fetch(due)
        return batch

    def _make(self, epoch: int, step: int) -> Batch | SharedBatch:
        samples, n_parts = self.samples(epoch, step), len(self.backends)
        if n_parts == 1:
            return self._make_part(0, epoch, samples)
        size = -(-len(samples) // n_parts)  # as `tf.distribute` cuts the batches of a `tf.data.Dataset`
        return SharedBatch(tuple(self._make_part(k, epoch, samples[k * size : (k + 1) * size]) for k in range(n_parts)))

    def _make_part(self, part: int, epoch: int, samples: NDArray[np.int64]) -> Batch:
        backend, new_lease = self.backends[part], functools.partial(self.pool.lease, part)
        if len(samples):
            height, width, _ = self.spec.image_shape
            table = self.crop.table(height, width, samples, self.sampling.seed, epoch)
            read = functools.partial(self.dataset.read, samples)
            x, lease, read_samples = backend.make(read, len(samples), table, new_lease)
        else:
            lease, read_samples = new_lease(), samples
            x = backend.view(lease, 0)
        rows = read_samples.repeat(self.crop.n_crops)
        y = None if self.labels is None else self.labels[rows]
        weights = None if self._weights is None else self._weights[rows]
        return Batch(x, y, weights, lease)

    def _choose_backends(self, device: str) -> list[Backend]:
        return [choose(device, self.spec, self.batch_size, self.batch_size * self.crop.n_crops)]

    @property
    def next_epoch(self) -> int:
        """Number of the epoch that the next pass reads; passes count up from 0."""
        return self.place.next_epoch

    @property
    def next_step(self) -> int:
        """Number of the step that the next pass begins with; not 0 after `load_state_dict`."""
        return self.place.next_step

    def seen(self, epoch: int, step: int) -> int:
        """Return how many samples of an epoch come before a step, over all shards."""
        return self.place.seen(epoch, step)

    def set_epoch(self, epoch: int, step: int = 0) -> None:
        """Let the next pass be that of `epoch`, from its start or from a step on; at `len(loader)` nothing of it is left.

        Raises
        ------
        ValueError
            If there is no such step.
        """
        check_integer("epoch", epoch, 0)
        check_integer("step", step, 0)
        if step > len(self):
            raise ValueError(f"step must lie in 0..{len(self)}, got {step}")
        self.place.go_to(int(epoch), int(step))

    def state_dict(self) -> dict[str, Any]:
        """Return where the reading stands: after the last batch that was handed out.

        Returns
        -------
        dict
            Plain numbers and strings; JSON can hold it.
        """
        return self.place.save()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next pass go on at the exact next batch of a saved state.

        Batches and shards may be others than then: the samples that no shard has read yet are shared anew. A state of any shard
        serves all, provided that all had come as far.

        Parameters
        ----------
        state : mapping
            From `state_dict` of a loader of the same samples in the same order.

        Raises
        ------
        ValueError
            If the state is of a loader whose samples are others, or come in another order, naming what differs.
        """
        self.place.load(state)

    def stats(self) -> dict[str, Any]:
        """Report what was read so far, and how.

        Returns
        -------
        dict
            device: where batches are made. batches, samples: handed out. wait_s: seconds that whoever iterates waited for a
            batch. buffers: batch buffers ever allocated. workers. order: how samples are shuffled. blocks_decoded: chunks, or
            rows of chunks, that were decoded. corrupt: how many samples are known to be damaged, and why; None unless
            `on_corrupt="skip"`. files: a list with, for each file, how it is read.
        """
        return {
            "device": ", ".join(dict.fromkeys(backend.device for backend in self.backends)),
            "batches": self._counts["batches"],
            "samples": self._counts["samples"],
            "wait_s": self._wait_s,
            "buffers": self.pool.n_buffers,
            "workers": self.pool.n_threads,
            "order": self.sampling.describe(),
            "blocks_decoded": self.dataset.n_blocks_decoded,
            "corrupt": self.dataset.describe_corrupt(),
            "files": self.dataset.describe(),
        }

    def close(self) -> None:
        """Stop the workers, close the files and free the buffers; batches handed out stay valid.

        A pass that is under way ends with a RuntimeError. The loader may be used again, and opens all anew.
        """
        self.pool.close()
        for backend in self.backends:
            backend.close()
        self.dataset.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def begin_pass(self) -> tuple[int, int]:
        """Return the epoch and the first step of a pass that begins now; for `EpochIterator`."""
        return self.place.begin_pass()

    def handed_out(self, epoch: int, step: int, batch: Batch | SharedBatch, waited_s: float) -> None:
        """Take note of a batch that goes to the user; for `EpochIterator`."""
        self.place.handed_out(epoch, step)
        self._counts["batches"] += 1
        self._counts["samples"] += batch.n_rows // self.crop.n_crops
        self._wait_s += waited_s


def _hint(dataset: Dataset) -> str:
    first, _, last = dataset.image_shape
    if first <= 4 < last:
        return f"; images must be (N, H, W, C), these are {dataset.image_shape}: is it (C, H, W)?"
    return ""
