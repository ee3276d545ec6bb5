"""Loader: batches of crops from HDF5 image files, prepared ahead by threads and handed out in order."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprep._arguments import unless_none
from fastprep.dataset import (
    augmentation_of,
    by_input,
    check_blend,
    check_labels_finite,
    check_masks,
    check_one_size,
    described,
    draws_of,
    map_outputs,
    means_of,
    names_of_columns,
    one_hot,
    open_dataset,
    part_of,
    sample_weights,
    takes_any_size,
)
from fastprep.dataset.paths import Paths
from fastprep.dataset.shuffling import choose_window
from fastprep.h5 import Images
from fastprep.kernels.choices import Layout, dtype_name
from fastprep.kernels.device import device_number
from fastprep.pipeline import Backend, BatchSource, Companions, EpochIterator, HandedOut, check_workers, choose, pool_of, profiled
from fastprep.pipeline.decoding import decode_there, decoding_of
from fastprep.pipeline.grouping import Grouping, most_in_group
from fastprep.pipeline.host_transform import HostTransform, Transform, host_device
from fastprep.pipeline.operation import operations_of
from fastprep.pipeline.targets import target_rows
from fastprep.presentation import Presented
from fastprep.remote import Session
from fastprep.sampling import Position, Sampler, check_flag, check_sampling
from fastprep.sampling.engine_ranks import find_shard
from fastprep.transforms import Blend, Crop, Erase, Policy, check_crop, check_transforms

_log = logging.getLogger(__name__)


class Loader(Presented):
    """Batches of crops from HDF5 image files, for Keras' `fit`, `evaluate` and `predict`, or for a training loop of your own.

    A batch is a pure function of (file, arguments, seed, epoch, step). Iteration gives the batches of one epoch, and the next
    iteration those of the next epoch. The arguments can be read back under their names and can't be changed.

    Parameters
    ----------
    files : path, glob pattern, or sequence of paths
        HDF5 files, on this machine or by addresses s3://, gs://, az:// and https://. Several files are read as one long dataset,
        those of a pattern in alphabetical order.
    batch_size : int
        Number of samples in a batch. The last batch of an epoch may have fewer, and memory is taken for no more samples than
        there are. With `TenCrop` a batch has ten rows for each sample.
    crop : RandomCrop, RandomResizedCrop, CenterCrop, TenCrop, Resize, RandomAffine or None
        Part of each image that becomes a row of x, and its size there. None takes whole images.
    policy : RandAugment, TrivialAugment or None, default None
        Operations on geometry and colours that are drawn for each row of x. They follow the crop, and come before `color`.
        Several inputs share them, and must have three channels for those with colours.
    color : ColorJitter, Lighting, ChannelPermutation, a sequence of these, dict or None, default None
        What is done to the colours of each image, in this order, before mean and scale. With several inputs, a dict names those
        whose colours change; anything else is for all of them, which must have three channels then.
    erase : RandomErasing or None, default None
        Rectangle of each row of x that is erased.
    blend : MixUp, CutMix or None, default None
        How each image of a batch is blended with another one of it. Labels and weights are blended alike, so labels must be
        floats: `num_classes` makes one-hot rows of classes. Shares follow from (seed, epoch, sample), and partners from the
        batch, or from the part of it that one of several GPUs makes.
    transform : callable or None, default None
        Function of your own, called as ``transform(x, rng)`` with x as an array in memory of the host, (rows, h, w, C) or
        (rows, C, h, w) of `dtype`, and a `numpy.random.Generator` that follows from (seed, epoch, samples). It changes x in place
        and returns None, or returns an array of that shape and type; with several inputs these are dicts of arrays. It is called
        by several threads at once, under Python's global lock where it has one, and batches are then made on the CPU.
    images : str, sequence of str or dict, default "images"
        Name of the dataset of images in each file, shape (N, H, W, C) or (N, H, W) unless `axes` or the file name others. For
        images that have a dataset each, shape (H, W, C) or (H, W), the name of their group, "X/", a pattern such as
        `"X/*/image"`, or a list of names; those of a group or pattern are sorted naturally, "2" before "10".
        A dict such as {"rgb": "images", "depth": "depth"} is for a network of several inputs, by the names of its `keras.Input`:
        x is then a dict of arrays. "depth.h5:depth" is the dataset of another file, or of as many files as `files` are, by a
        pattern; one input or more are in `files`. All inputs have as many images, of one height and width or, if all are encoded,
        of one for each sample. They are cropped, resized, turned, erased and blended alike. `mean`, `scale`, `standardize`,
        `dtype`, `channels`, `axes` and `shape` may be dicts with the same names then; anything else is for all inputs.
    axes : str, dict or None, default None
        Axes of that dataset, a letter for each in its order: H and W, and N and C where there are such axes. "NCHW" is channels
        first, "NCWH" what MATLAB stores of an array (H, W, C, N), and "HWC" one image a file; for images that have a dataset
        each, N may be left out. Orders with N first are read directly; others by HDF5 in blocks, with a warning. None takes the
        axes that the file names by MATLAB's header, by the attributes CLASS=IMAGE and INTERLACE_MODE, or by the names of its
        dimensions. Otherwise it takes "NHWC" or "NHW" by the rank, and raises an error if the shape or the number of labels makes
        other axes probable. Naming them settles that.
    shape : (int, int, int) or (int, int), dict or None, default None
        Height, width and channels of an image where each is a flat row, in a dataset of shape (N, H * W * C); a row is in the
        order of `axes`, "NHWC" if these are None.
    channels : sequence of int or str, or str, dict or None, default None
        Channels of the images that there are in x, in this order: numbers from 0, or the letters of the file's channel order,
        such as "RGB". A channel may come several times. Mean and scale are then those of these channels. None takes all.
    labels : str, array_like, Mask, Boxes, Points, tuple, list, dict or None, default "labels"
        Labels of the samples: the name of a dataset in each file; "dataset:field" for a field of records; "y.h5:y" for a dataset
        of another file, which has the labels of all samples, or of as many files as there are of images, by a pattern; or an
        array. `Mask`, `Boxes` and `Points` name labels that follow their images. A tuple, list or dict of these is for several
        outputs: y is then a tuple or dict. A list of numbers is an array.
        Numbers are handed on as they are stored; labels (1, N) and (N, 1, 1, ...) become (N,). Texts become the numbers of their
        classes. None or "none" is for images without labels; batches are then x alone. `loader.labels` has the labels of all
        samples.
    class_names : sequence of str or None, default None
        Classes of labels that are texts, in the order of their numbers; for several outputs a tuple or dict of them. Loaders for
        validation need `class_names=train.class_names`, where they may lack a class. None takes the attribute `class_names` of
        the images, or sorts the texts that there are.
    indices : array_like of int or of bool, slice, str or None, default None
        Part of the samples, as a data set by itself: sample numbers, counted through all files, in any order; a mask with an
        entry for each sample; a slice; or the name of a dataset of row numbers, or of a mask, in each file. `fastprep.split` and
        `fastprep.folds` make such numbers. The samples are numbered anew, from 0 in the order given, so that order, crops,
        shards and `samples` are those of a file that holds these samples only; `loader.indices` has their numbers in the files.
        Where images share chunks, the shuffled order follows from the chunks of the file. None takes all samples.
    mean : "file", "compute", array_like, path, dict or None, default "file"
        Mean to subtract. "file" takes the mean that is stored in the file. "compute" reads all samples of this loader and takes
        theirs, as `image_mean` computes it; loaders for validation need ``mean=train.mean`` all the same. An array_like is a
        scalar, a value for each channel in the file's channel order, or a mean image of shape (H, W, C). A path names a JSON file
        {"R": .., "G": .., "B": ..}, which is applied in the file's channel order, or as BGR if the file names none. None or
        "none" subtracts nothing. `loader.mean` has the resulting numbers. With several inputs a dict gives each its own, such as
        {"rgb": "file", "depth": None}.
    scale : array_like, dict or None, default None
        Factor to multiply with after the subtraction: a scalar, or a value for each channel; a dict of these for several inputs.
    standardize : bool or dict, default False
        Bring each output image to mean 0 and standard deviation 1 after mean and scale, over all its pixels and channels, as
        `tf.image.per_image_standardization` does: ``(x - m) / max(s, 1 / sqrt(n))`` for n numbers. Erasing and blending follow.
        A dict says it of each of several inputs.
    dtype : {"float32", "float16", "bfloat16"} or dict, default "float32"
        Type of x, by its name or as a numpy type of that name; a dict for several inputs.
    layout : {"channels_last", "channels_first"}, default "channels_last"
        Shape of x: (rows, h, w, C) or (rows, C, h, w).
    num_classes : int or None, default None
        Number of classes. If it is given, labels of classes 0..num_classes-1 become one-hot rows of float32: integers, texts, and
        floats if all of them are whole. Rows of 0 and 1 that have this length stay rows. For several outputs an int for all, or
        a tuple or dict of int or None.
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
    sampling : "balanced", str, array_like or None, default None
        Draw the samples of an epoch with replacement, as many as there are: each class alike ("balanced"), or in proportion to
        weights, one for each sample of the files, or the name of a dataset of them in each file. A sample that is drawn twice
        in an epoch is cropped in two ways. The draws follow from (seed, epoch); `shuffle` is True with them. None or "none" takes
        each sample once.
    mix : mapping of path or pattern to float, or None, default None
        Share of each file in the draws, such as {"a.h5": 0.7, "b.h5": 0.3}, or of all files of a pattern. Samples are drawn with
        replacement, within their share alike or as `sampling` says, by class in each share.
    seed : int, default 0
        Seed of the order, of draws and of random crops.
    shard : (int, int) or "auto", default (0, 1)
        Pair (rank, world) of a distributed run: which share of every epoch this loader has. Over all ranks every sample comes
        exactly once. Shares differ by at most one sample, so that the last batch may be missing on some ranks. "auto" finds the
        pair by torch.distributed, jax.distributed, Ray Train, TF_CONFIG, or the variables of torchrun, MPI, SLURM or
        Kubernetes; the log says which.
    drop_remainder : bool, default False
        Leave out the samples that do not fill a batch of every rank, so that all ranks have the same number of batches.
    class_weight : mapping of int or str to float, "balanced" or None, default None
        Weight of each class, by its number or name; 1 for a class that is not named. "balanced" divides the number of samples by
        that of the classes and by the samples of the class. One-hot rows have classes, too. None or "none" is for none. Batches
        become (x, y, weights). For several outputs a tuple or dict of mappings or None. The argument `class_weight` of Keras'
        `fit` is refused, because it would have no effect.
    sample_weight : array_like of shape (N,), str, tuple, dict or None, default None
        Weight of each sample in the order of the files, of all of them where `indices` takes a part: numbers, or a name as for
        `labels`. For several outputs a tuple or dict gives each its own, and anything else is for all of them. Batches become
        (x, y, weights), with weights in the structure of y, multiplied with those of `class_weight` if both are given. They have
        the shape (rows,), and (rows, 1, ...) for masks, boxes, points and other labels of more than two axes. The argument
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
    decode : {"cpu", "device"}, default "cpu"
        Where JPEGs are decoded if batches are made on a CUDA device. "device" has nvImageCodec decode them there, from the extra
        `gpu-jpeg`; other kinds of images, and JPEGs out of the ordinary, are still decoded on the CPU. Its pixels are not those
        of the CPU to the bit, and it finds less of the damage in a file; the guide says more. `stats` counts what was decoded
        where.
    workers : int or None, default None
        Number of threads that prepare batches. None takes one for each processor that this process may use, and at most eight.
    prefetch : int, default 2
        Number of finished batches kept ready beyond those that the workers are preparing.
    io : {"pread", "mmap"}, default "pread"
        How files are read where HDF5 is not needed for it. "mmap" saves a copy, but it is only for local files that nobody
        changes: if a mapped file is truncated meanwhile, the system ends the process (SIGBUS), where "pread" raises a DataError.
        With "pread", images of up to 4 KiB that are stored without filters are kept in memory, up to 256 MiB of them.
    on_corrupt : {"raise", "skip"}, default "raise"
        What to do about images that can't be read. "skip" replaces them and their labels by the next ones in the file that can
        be read, and reports it in the log and in `stats`. The replacement depends on the file alone, so that batches stay the
        same. An evaluation in Keras leaves such images out instead, and `fastprep.predict` gives rows of NaN for them. A file
        that is changed meanwhile is an error in either case.
    check_finite : bool, default True
        Raise an error where x would have NaN or infinity: from images of floats that have them, or from numbers that are beyond
        the range of `dtype`, about 65,504 for float16. The labels are checked, too. False lets such values pass.
    storage_options : mapping or None, default None
        How remote files are reached, such as `"s3://bucket/train-*.h5"`: settings of the store as obstore takes them, such as
        {"endpoint": "https://...", "region": "eu-central-1"}, and its `client_options`, `retry_config` and `credential_provider`.
        None leaves all of it to the environment, such as AWS_ACCESS_KEY_ID. Needs the extra `remote`.
    cache : path or None, default None
        Folder for what was read of remote files, kept between runs and shared by all processes of the machine. None is the
        folder that FASTPREP_CACHE names in the environment; without it, a temporary file without a name, which ends with the
        loader.
    cache_bytes : int or None, default None
        Bytes of remote files that are kept; the blocks used least lately are let go of. None is FASTPREP_CACHE_BYTES or,
        without it, 4 GiB without a folder, and no bound with one.

    Raises
    ------
    ValueError
        If an argument breaks its rule.
    OSError
        If a file does not exist or may not be read.
    DataError
        If a file is damaged or does not fit the arguments.
    DeviceUnavailableError
        If `device` names a CUDA device that can't be used, or `decode` is "device" and batches are made on the CPU, or
        nvImageCodec can't be used.

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
        policy: Policy | None = None,
        color: Any = None,
        erase: Erase | None = None,
        blend: Blend | None = None,
        transform: Transform | None = None,
        images: Images | Mapping[str, Images] = "images",
        axes: Any = None,
        shape: Any = None,
        channels: Any = None,
        labels: Any = "labels",
        class_names: Any = None,
        indices: ArrayLike | slice | str | None = None,
        mean: Any = "file",
        scale: Any = None,
        standardize: Any = False,
        dtype: Any = "float32",
        layout: Layout = "channels_last",
        num_classes: Any = None,
        shuffle: bool = False,
        shuffle_window: int | None = None,
        sampling: ArrayLike | str | None = None,
        mix: Mapping[str, float] | None = None,
        seed: int = 0,
        shard: tuple[int, int] | Literal["auto"] = (0, 1),
        drop_remainder: bool = False,
        class_weight: Any = None,
        sample_weight: Any = None,
        device: str = "auto",
        decode: Literal["cpu", "device"] = "cpu",
        workers: int | None = None,
        prefetch: int = 2,
        io: Literal["pread", "mmap"] = "pread",
        on_corrupt: Literal["raise", "skip"] = "raise",
        check_finite: bool = True,
        storage_options: Mapping[str, Any] | None = None,
        cache: str | os.PathLike[str] | None = None,
        cache_bytes: int | None = None,
    ) -> None:
        labels, sampling, class_weight = map(unless_none, (labels, sampling, class_weight))
        shard = find_shard() if isinstance(shard, str) and shard == "auto" else shard
        check_sampling(batch_size, shuffle_window, seed, shard)
        for name, value in (("shuffle", shuffle), ("drop_remainder", drop_remainder), ("check_finite", check_finite)):
            check_flag(name, value)
        device_number(device, "auto")
        check_crop(crop)
        colors = check_transforms(policy, color, erase, blend, standardize)
        finish = None if transform is None else HostTransform(transform, check_finite)
        if finish is not None:
            device = host_device(device, "transform= is called with batches in memory of the host")
        workers, prefetch = check_workers(workers, prefetch)
        self._session = Session(storage_options, cache, cache_bytes)
        with self._session.active():
            self._dataset = open_dataset(files, images, labels, sample_weight, io, on_corrupt, axes, shape, channels, class_names)
        decoding = decoding_of(decode, self._dataset, device)
        if indices is not None:
            self._dataset = part_of(self._dataset, indices)
        if takes_any_size(self._dataset, crop):
            self._dataset.tell_sizes()
        else:
            check_one_size(self._dataset)
        inputs = self._dataset.each_input
        dtype = map_outputs(dtype_name, by_input(dtype, inputs, "dtype"))
        mean = means_of(mean, self._dataset)
        augmentation = augmentation_of(self._dataset, crop, policy, colors, erase, blend, standardize)
        self._spec = operations_of(self._dataset, augmentation, mean, scale, dtype, layout, check_finite)
        if check_finite:
            check_labels_finite(self._dataset)
        label_values = self._dataset.labels if num_classes is None else one_hot(self._dataset, num_classes)
        weights = sample_weights(self._dataset, class_weight, sample_weight is not None)
        check_masks(self._dataset, labels, augmentation)
        rows = target_rows(label_values, augmentation, self._dataset.n_samples, check_finite)
        keep = self._keep_arguments
        keep(files=tuple(self._dataset.paths), io=io, on_corrupt=on_corrupt)
        keep(**{name: by_input(value, inputs, name) for name, value in (("images", images), ("axes", axes), ("shape", shape))})
        keep(channels=map_outputs(lambda own: own.channels, inputs))
        keep(labels=described(label_values), labels_name=names_of_columns(labels), num_classes=num_classes)
        keep(class_weight=class_weight, sample_weight=sample_weight)
        keep(crop=augmentation.crop, policy=augmentation.policy, color=augmentation.color, erase=erase, blend=blend)
        keep(standardize=map_outputs(bool, augmentation.standardize), transform=transform)
        keep(mean=mean, scale=map_outputs(lambda spec: spec.scale, self._spec), dtype=dtype, layout=layout)
        self._session.check_used()
        keep(storage_options=storage_options, cache=cache, cache_bytes=cache_bytes)
        with self._session.active():
            draws = draws_of(self._dataset, sampling, mix)
        shuffle = bool(shuffle) or draws is not None
        check_blend(self._dataset, augmentation, label_values, batch_size, shuffle)
        window = choose_window(self._dataset, shuffle_window, int(batch_size), draws, int(seed)) if shuffle else shuffle_window
        keep(batch_size=int(batch_size), shuffle=shuffle, shuffle_window=window, seed=int(seed))
        keep(indices=self._dataset.rows, sampling=sampling, mix=mix)
        keep(shard=(int(shard[0]), int(shard[1])), drop_remainder=bool(drop_remainder))
        keep(device=device, decode=decode, workers=workers, prefetch=prefetch, check_finite=bool(check_finite))
        order = self.batch_size, self.shuffle, self.seed, self.shard, self.drop_remainder, window or 0
        self._sampler = Sampler(self.n_samples, *order, self._dataset.block_starts, self._dataset.block_order, draws)
        self._sampler.check_not_empty()
        self._dataset.keep(self._sampler.n_blocks_to_keep(workers + prefetch))
        self._position = Position(self._sampler, augmentation.describe(), self._dataset.digest())
        self._companions = self._choose_companions(rows, weights)
        self._decoding = decoding
        self._backends = decode_there(self._choose_backends(device), decoding, device)  # one for each part of a batch
        most = 1
        if finish is None and [backend.device for backend in self._backends] == ["cpu"] and not isinstance(self._spec, dict):
            batch_bytes = self._largest_batch * self.crop.n_crops * self._spec.crop_bytes
            most = most_in_group(batch_bytes, workers, augmentation, self._sampler, self._dataset.has_sizes, rows, weights)
        pool_options = workers, prefetch, self._n_held, most
        self._pool = pool_of(self._backends, self._largest_batch, self.crop.n_crops, *pool_options)
        self._source = BatchSource(
            *(self._dataset, rows, weights, augmentation, self._sampler, self._position, self._backends, self._pool, finish),
            grouping=Grouping(most),
        )
        _log.debug("%r, mean %s, scale %s, seed %d, device %s", self, self.mean, self.scale, self.seed, self.device)

    def __len__(self) -> int:
        """Count the steps of an epoch."""
        return len(self._sampler)

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the next epoch, or over what is left of the one in which `load_state_dict` resumed.

        Several threads may iterate at once, each over an epoch of its own, or share one iterator, each batch of which goes to
        one of them. `state_dict` is then the position after the batch that was handed out last, by whichever iterator.
        """
        return HandedOut(self._epoch_iterator(), lambda batch: batch.hand_out())

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
            If `epoch` is not an integer of at least 0, or `step` no integer.
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
            Sample ids in 0..n_samples-1, counted through all files; with `indices`, places in `loader.indices`.

        Raises
        ------
        ValueError
            If `epoch` is not an integer of at least 0.
        IndexError
            If there is no such step.
        """
        return self._source.samples(epoch, step)

    def _choose_companions(self, *arrays: Any) -> Companions:
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

    def profile(self, path: str | os.PathLike[str], steps: int = 300) -> AbstractContextManager[Any]:
        """Take a timeline of what the workers do and of what waits for them, for Perfetto (https://ui.perfetto.dev) or Chrome.

        The file has a lane for each thread. Those of workers show each batch: waiting for a buffer, drawing crops, reading and
        decoding, and inside of that the kernel for each image. That of the consumer shows how long it waited for each batch, and
        the step that it made of it. On a GPU each image goes to pinned memory there, and copies and kernels are shown by the
        time that it takes to start them.
        Without a profile, and after it, iterating costs what it always does.

        Parameters
        ----------
        path : path
            File of JSON to write, in Chrome's trace event format. It replaces no other files than such of fastprep.
        steps : int, default 300
            Number of batches that are handed out before the file is written and the profile ends, inside the context.

        Returns
        -------
        context manager
            What is iterated over inside is in the file. It is written at the end at the latest, after an interruption, too.

        Raises
        ------
        ValueError
            If `steps` is not an integer of at least 1.
        NotReplacedError
            If there is another file at `path`.
        OSError
            If nothing can be written there.
        RuntimeError
            If another profile of this loader is being taken.

        Examples
        --------
        >>> with loader.profile("profile.json"):
        ...     model.fit(loader, epochs=1)
        """
        return profiled(self._source, path, steps)

    def close(self) -> None:
        """Stop the workers, close the files and free the buffers; batches that were handed out stay valid.

        An iteration that is under way ends with a RuntimeError. The loader may be used again, and then opens its files anew.
        """
        self._pool.close()
        for backend in self._backends:
            backend.close()
        self._dataset.close()
        self._session.fetcher.rest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
