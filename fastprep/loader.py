"""Loader: batches of crops from HDF5 image files, prepared ahead by threads and handed out in order."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprep._arguments import ReadOnlyArguments
from fastprep.dataset import check_labels_finite, check_no_masks, one_hot, resolve_mean, sample_weights
from fastprep.dataset.dataset import Dataset, Paths
from fastprep.dataset.shuffling import choose_window
from fastprep.kernels import CropSpec
from fastprep.kernels.device import device_number
from fastprep.kernels.spec import DTypeName, Layout, dtype_name
from fastprep.pipeline import Backend, BatchSource, Companions, EpochIterator, WorkerPool, check_workers, choose
from fastprep.sampling import Position, Sampler, check_integer, check_sampling
from fastprep.transforms import CenterCrop, Crop, check_crop


class Loader(ReadOnlyArguments):
    """Batches of crops from HDF5 image files, for Keras' `fit`, `evaluate` and `predict`, or for a training loop of your own.

    A batch is a pure function of (file, arguments, seed, epoch, step). Iteration gives the batches of one epoch, and the next
    iteration those of the next epoch. The arguments can be read back under their names and can't be changed.

    Parameters
    ----------
    files : path, glob pattern, or sequence of paths
        HDF5 files. Several files are read as one long dataset, those of a pattern in alphabetical order.
    batch_size : int
        Number of samples in a batch. The last batch of an epoch may have fewer, and memory is taken for no more samples than
        there are. With `TenCrop` a batch has ten rows for each sample.
    crop : RandomCrop, CenterCrop, TenCrop or None
        Part of each image that becomes a row of x. None takes whole images.
    images : str, default "images"
        Name of the dataset of images in each file, shape (N, H, W, C) or (N, H, W).
    axes : {"NHWC", "NHW"} or None, default None
        Axes of that dataset. None takes it for one of these by its rank, and raises an error if its shape, the number of labels
        or the program that wrote it make other axes probable. Naming them settles that.
    labels : str or None, default "labels"
        Name of the dataset of labels in each file, shape (N, ...). None is for images without labels; batches are then x alone.
        `loader.labels` has the labels of all samples as an array, and `loader.labels_name` this name.
    mean : "file", array_like, path or None, default "file"
        Mean to subtract. "file" takes the mean that is stored in the file. An array_like is a scalar, a value for each channel
        in the file's channel order, or a mean image of shape (H, W, C). A path names a JSON file {"R": .., "G": .., "B": ..},
        which is applied in the file's channel order, or as BGR if the file names none. None subtracts nothing.
        `loader.mean` has the resulting numbers.
    scale : array_like or None, default None
        Factor to multiply with after the subtraction: a scalar, or a value for each channel.
    dtype : {"float32", "float16", "bfloat16"}, default "float32"
        Type of x, by its name or as a numpy type of that name.
    layout : {"channels_last", "channels_first"}, default "channels_last"
        Shape of x: (rows, h, w, C) or (rows, C, h, w).
    num_classes : int or None, default None
        Number of classes. If it is given, integer labels 0..num_classes-1 become one-hot rows of float32.
    shuffle : bool, default False
        Give each epoch a new order, which follows from (seed, epoch). Otherwise samples come in file order.
    shuffle_window : int or None, default None
        Number of samples that are shuffled together where several images share a compressed chunk, or where chunks split the
        images. A fully random order would decode such a chunk once for every image in it. Instead the chunks are shuffled, and
        then the samples inside windows of about this many, so that each chunk is decoded once in an epoch. Up to two windows of
        images are kept in memory. None takes 2,048 samples and 32 chunks or more, and, if that gives a batch less than 0.95 of
        the different labels that it would have in a full shuffle, up to 1 GiB of images for both windows or for the whole
        dataset. 0 shuffles all samples alike, whatever that costs. `loader.shuffle_window` has the number that was chosen. A
        window in which a batch has less than 0.9 of those labels, or of three chunks or fewer, is logged as a warning.
    seed : int, default 0
        Seed of the order and of random crops.
    shard : (int, int), default (0, 1)
        Pair (rank, world) of a distributed run: which share of every epoch this loader has. Over all ranks every sample comes
        exactly once. Shares differ by at most one sample, so that the last batch may be missing on some ranks.
    drop_remainder : bool, default False
        Leave out the samples that do not fill a batch of every rank, so that all ranks have the same number of batches.
    class_weight : mapping of int to float, or None, default None
        Weight of each class; 1 for a class that is not named. Batches become (x, y, weights). The argument
        `class_weight` of Keras' `fit` is refused, because it would have no effect.
    sample_weight : array_like of shape (N,), str or None, default None
        Weight of each sample in the order of the files: numbers, or the name of a dataset of them in each file. Batches become
        (x, y, weights), where the weights are multiplied with those of `class_weight` if both are given. The argument
        `sample_weight` of Keras' `fit` is refused, because it would have no effect.
    device : {"auto", "cpu", "cuda", "cuda:0", "cuda:1", ...}, default "auto"
        Device on which batches are made, with the same bits on all of them. On a CUDA device x is a cupy array, and labels stay
        on the CPU. With Keras, "auto" and "cuda" mean the device on which Keras computes (TensorFlow's first GPU, torch's
        current device, JAX's default device), to which labels and weights go with x. Without Keras they mean the first CUDA
        device. "auto" takes the CPU if there is none, or if cupy, a driver or the device can't be used. The choice and its
        reason are logged at level info.
        With Keras in the scope of a `tf.distribute.MirroredStrategy`, or on JAX under a `keras.distribution.DataParallel`, the
        part of a batch for each GPU is made there ("auto", "cuda"), or the batch on the CPU. `batch_size` is then that of all
        GPUs together and must be a multiple of their number, and iteration gives a tuple with a batch for each.
    workers : int or None, default None
        Number of threads that prepare batches. None takes one for each processor that this process may use, and at most eight.
    prefetch : int, default 2
        Number of finished batches kept ready beyond those that the workers are preparing.
    io : {"pread", "mmap"}, default "pread"
        How files are read where HDF5 is not needed for it. "mmap" saves a copy, but it is only for local files that nobody
        changes: if a mapped file is truncated meanwhile, the system ends the process (SIGBUS), where "pread" raises a DataError.
    on_corrupt : {"raise", "skip"}, default "raise"
        What to do about images that can't be read. "skip" replaces them and their labels by the next ones in the file that can
        be read, and reports it in the log and in `stats`. The replacement depends on the file alone, so that batches stay the
        same. An evaluation in Keras leaves such images out instead, and `fastprep.predict` gives rows of NaN for them. A file
        that is changed meanwhile is an error in either case.
    check_finite : bool, default True
        Raise an error where x would have NaN or infinity: from images of floats that have them, or from numbers that are beyond
        the range of `dtype`, about 65,504 for float16. The labels are checked, too. False lets such values pass.

    Raises
    ------
    ValueError
        If an argument breaks its rule.
    OSError
        If a file does not exist or may not be read.
    DataError
        If a file is damaged or does not fit the arguments.
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
        axes: Literal["NHWC", "NHW"] | None = None,
        labels: str | None = "labels",
        mean: ArrayLike | str | os.PathLike[str] | None = "file",
        scale: ArrayLike | None = None,
        dtype: DTypeName | np.dtype | type = "float32",
        layout: Layout = "channels_last",
        num_classes: int | None = None,
        shuffle: bool = False,
        shuffle_window: int | None = None,
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
        check_finite: bool = True,
    ) -> None:
        check_sampling(batch_size, shuffle_window, seed, shard)
        device_number(device, "auto")
        dtype = dtype_name(dtype)
        check_crop(crop)
        workers, prefetch = check_workers(workers, prefetch)
        weights_name = sample_weight if isinstance(sample_weight, str) else None
        self._dataset = Dataset(files, images, labels, weights_name, io, on_corrupt, axes)
        crop = CenterCrop(self._dataset.image_shape[:2]) if crop is None else crop
        mean = resolve_mean(mean, self._dataset.metadata, self._dataset.paths, images)
        self._spec = _crop_spec(self._dataset, crop, mean, scale, dtype, layout, check_finite)
        if check_finite:
            check_labels_finite(self._dataset)
        label_values = self._dataset.labels if num_classes is None else one_hot(self._dataset, num_classes)
        weights = sample_weights(self._dataset, class_weight, sample_weight)
        check_no_masks(self._dataset, crop)
        keep = self._keep_arguments
        keep(files=tuple(self._dataset.paths), images=images, axes=axes, labels_name=labels, io=io, on_corrupt=on_corrupt)
        keep(labels=label_values, num_classes=num_classes, class_weight=class_weight, sample_weight=sample_weight)
        keep(crop=crop, mean=mean, scale=self._spec.scale, dtype=dtype, layout=layout)
        window = choose_window(self._dataset, shuffle_window, int(batch_size)) if shuffle else shuffle_window
        keep(batch_size=int(batch_size), shuffle=bool(shuffle), shuffle_window=window, seed=int(seed))
        keep(shard=(int(shard[0]), int(shard[1])), drop_remainder=bool(drop_remainder))
        keep(device=device, workers=workers, prefetch=prefetch, check_finite=bool(check_finite))
        blocks = self._dataset.block_starts
        self._sampler = Sampler(
            self.n_samples, self.batch_size, self.shuffle, self.seed, self.shard, self.drop_remainder, window or 0, blocks
        )
        self._sampler.check_not_empty()
        self._dataset.keep(self._sampler.n_blocks_to_keep(workers + prefetch))
        self._position = Position(self._sampler, crop)
        self._companions = self._choose_companions(label_values, weights)
        self._backends = self._choose_backends(device)  # one for each part of a batch
        part_rows = -(-self._largest_batch // len(self._backends)) * crop.n_crops
        part_bytes = max(backend.buffer_bytes(part_rows) for backend in self._backends)
        self._pool = WorkerPool(
            workers, prefetch, part_bytes, [backend.memory for backend in self._backends], n_held=self._n_held
        )
        self._source = BatchSource(
            self._dataset, label_values, weights, crop, self._sampler, self._position, self._backends, self._pool
        )

    @property
    def n_samples(self) -> int:
        """Number of samples in the whole dataset, over all shards."""
        return self._dataset.n_samples

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, if the first file has them."""
        return self._dataset.metadata[0].class_names

    @property
    def channel_order(self) -> str | None:
        """Order of the channels, such as "RGB", "BGR" or "L", if the first file names it; batches keep the order of the file."""
        return self._dataset.metadata[0].channel_order

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """Shape of one row of x, as for `keras.Input`."""
        return self._spec.out_shape(1)[1:]

    def __repr__(self) -> str:
        height, width, channels = self._spec.image_shape
        files = self.files[0] if len(self.files) == 1 else f"{len(self.files)} files"
        what = f"{self.n_samples} images of {height}x{width}x{channels}, {len(self)} steps of {self.batch_size}"
        return f"<fastprep.Loader {files!r}: {what}, {self.crop}, {self._sampler.describe()}>"

    def __len__(self) -> int:
        """Count the steps of an epoch."""
        return len(self._sampler)

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the next epoch, or over what is left of the one in which `load_state_dict` resumed."""
        return (batch.hand_out() for batch in self._epoch_iterator())

    def _epoch_iterator(self) -> EpochIterator:
        """Return an iterator of `Batch` over the next epoch; nothing is done, or counted, before its first `next`."""
        return EpochIterator(self._source)

    def batch(self, epoch: int, step: int) -> Any:
        """Return one batch. It does not depend on what was read before, and does not move the iteration on.

        Parameters
        ----------
        epoch : int
        step : int
            In 0..len(self)-1.

        Returns
        -------
        (x, y), (x, y, weights), or x
            As in iteration.

        Raises
        ------
        ValueError
            If `epoch` is not an integer of at least 0.
        IndexError
            If there is no such step.
        DataError
            If the file is damaged there.
        """
        return self._source.make(epoch, step).hand_out()

    def samples(self, epoch: int, step: int) -> NDArray[np.int64]:
        """Return the sample ids of one batch in the order of its rows; with `TenCrop` one id for each ten rows. See `batch`.

        Returns
        -------
        ndarray of int64, shape (n,)
            Sample ids in 0..n_samples-1, counted through all files.

        Raises
        ------
        ValueError
            If `epoch` is not an integer of at least 0.
        IndexError
            If there is no such step.
        """
        return self._source.samples(epoch, step)

    def _choose_companions(self, *arrays: NDArray | None) -> Companions:
        """Return which of the labels and the weights go to a CUDA device with x: none, a plain batch has them in numpy."""
        return Companions()

    @property
    def _n_held(self) -> int:
        """Number of batches that are with the consumer at the same time, see `WorkerPool`."""
        return 2

    def _choose_backends(self, device: str) -> list[Backend]:
        n_images = self._largest_batch
        return [choose(device, self._spec, n_images, n_images * self.crop.n_crops, companions=self._companions)]

    @property
    def _largest_batch(self) -> int:
        """Number of samples in the largest batch there is, which is not `batch_size` where all samples of a shard are fewer."""
        return min(self.batch_size, -(-self.n_samples // self.shard[1]))

    @property
    def next_epoch(self) -> int:
        """Number of the epoch that the next iteration reads; epochs count from 0."""
        return self._position.next_epoch

    @property
    def next_step(self) -> int:
        """Number of the step at which the next iteration begins; other than 0 only after `load_state_dict` or `set_epoch`."""
        return self._position.next_step

    def seen(self, epoch: int, step: int) -> int:
        """Return how many samples of an epoch come before a step, over all shards."""
        return self._position.seen(epoch, step)

    def set_epoch(self, epoch: int, step: int = 0) -> None:
        """Let the next iteration read a given epoch, from a given step on.

        Parameters
        ----------
        epoch : int
        step : int, default 0
            In 0..len(self); at len(self) nothing of the epoch is left.

        Raises
        ------
        ValueError
            If there is no such epoch or step.
        """
        check_integer("epoch", epoch, 0)
        check_integer("step", step, 0)
        if step > len(self):
            raise ValueError(f"step must lie in 0..{len(self)}, got {step}")
        self._position.move_to(int(epoch), int(step))

    def state_dict(self) -> dict[str, Any]:
        """Return the position after the last batch that was handed out, for `load_state_dict`.

        Returns
        -------
        dict
            Plain numbers and strings; JSON can hold it.
        """
        return self._position.save()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration go on at the exact next batch of a saved state.

        The batch size and the shards may be different ones: the samples that no shard has read yet are then shared out anew. The
        state of any shard serves all shards, provided that all of them had read equally far.

        Parameters
        ----------
        state : mapping
            From `state_dict` of a loader of the same samples in the same order.

        Raises
        ------
        ValueError
            If the state is from a loader of other samples, or of another order; the text says what differs.
        """
        self._position.load(state)

    def stats(self) -> dict[str, Any]:
        """Report what was read so far, and how.

        Returns
        -------
        dict
            device: where batches are made. batches, samples: how many were handed out. wait_s: seconds that the consumer waited
            for batches. buffers: batch buffers ever allocated. workers: number of threads. order: how samples are shuffled.
            blocks_decoded: chunks, or rows of chunks, that were decoded. corrupt: how many samples are known to be damaged, and
            why; None unless `on_corrupt="skip"`. files: a list that describes how each file is read.
        """
        return {
            "device": ", ".join(dict.fromkeys(backend.device for backend in self._backends)),
            "batches": self._source.n_batches,
            "samples": self._source.n_samples,
            "wait_s": self._source.wait_s,
            "buffers": self._pool.n_buffers,
            "workers": self._pool.n_threads,
            "order": self._sampler.describe(),
            "blocks_decoded": self._dataset.n_blocks_decoded,
            "corrupt": self._dataset.describe_corrupt(),
            "files": self._dataset.describe(),
        }

    def close(self) -> None:
        """Stop the workers, close the files and free the buffers; batches that were handed out stay valid.

        An iteration that is under way ends with a RuntimeError. The loader may be used again, and then opens its files anew.
        """
        self._pool.close()
        for backend in self._backends:
            backend.close()
        self._dataset.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _crop_spec(
    dataset: Dataset,
    crop: Crop,
    mean: NDArray[np.float32] | None,
    scale: ArrayLike | None,
    dtype: DTypeName,
    layout: Layout,
    check_finite: bool,
) -> CropSpec:
    try:
        scale = None if scale is None else np.array(scale, np.float32)
        spec = CropSpec(dataset.image_shape, dataset.dtype.name, crop.height_width, mean, scale, dtype, layout, check_finite)
        if check_finite:
            for stored in dataset.stored_dtypes:
                spec.check_range(stored)
        return spec
    except ValueError as error:
        raise ValueError(f"{error} (file {dataset.paths[0]!r}, dataset {dataset.images!r})") from None
