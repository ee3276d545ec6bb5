"""Dataset: images of one or several files by sample number, and their labels in memory."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastprep._sink import Sink
from fastprep.dataset.agreement import bring_to_one_type, check_channel_orders, check_images
from fastprep.dataset.any_size import check_same_sizes
from fastprep.dataset.channels import Channels, pick_channels, picked_metadata
from fastprep.dataset.corrupt import Corrupt, Sinks
from fastprep.dataset.image_files import ImageFiles
from fastprep.dataset.joining import join_labels, join_weights
from fastprep.dataset.label_counts import count_labels
from fastprep.dataset.label_errors import label_error
from fastprep.dataset.label_sources import Source, columns_of, label_sources, weight_sources
from fastprep.dataset.masks import MaskValues
from fastprep.dataset.nested import map_outputs, outputs_of
from fastprep.dataset.notices import log_notes, warn_of_slow_reading, warn_of_unwritten_rows
from fastprep.dataset.paths import Paths, expand_paths
from fastprep.dataset.read_together import ReadTogether
from fastprep.errors import DataError
from fastprep.h5 import (
    Axes,
    Handles,
    ImageIndex,
    Images,
    Metadata,
    Reader,
    SizeSink,
    ThreadScratch,
    check_axes_name,
    check_image_shape,
    decoded_like,
    describe_images,
    reader_of,
    survey,
)


class Dataset(ReadTogether):
    """Images and labels of one or several files, with sample numbers that run through all of them.

    Every file is opened once, for its shape, type, attributes and labels. With several files, the chunks of each are indexed when
    its images are first asked for. The order of samples does not depend on that, because it follows from the headers. Files are
    kept open while `handles` has room.

    Parameters
    ----------
    files : path, glob pattern, or sequence of paths
    images : str or sequence of str
        Name of the dataset of images in each file, or of images that have one each, see `fastprep.h5.groups.Images`.
    labels : str, array_like, tuple, list, dict or None
        Where the labels of each output are, see `fastprep.dataset.label_sources.label_sources`; None for images without labels.
    weights : str, array_like, tuple, list, dict or None
        Where the weights of the samples are, see `fastprep.dataset.label_sources.weight_sources`; None for no weights.
    io : {"pread", "mmap"}
        See `fastprep.h5.Reader`.
    on_corrupt : {"raise", "skip"}
        What `read` does about images that can't be read. If the list of chunks of a file is damaged, none of its images can be
        read; with only one file that is an error in either case.
    axes : str or None
        Axes of the images, see `fastprep.h5.open_images`.
    shape : (int, int) or (int, int, int), or None
        Height, width and channels of an image, for datasets of flat rows.
    channels : str, sequence of int or of str, or None
        Which channels there are, by number or by the names in `channel_order`; None for all.
    class_names : sequence of str, or one for each output; or None
        Classes of labels that are texts, in the order of their numbers. None takes the attribute `class_names` of the images, if
        there is one output, or else sorts the texts.
    handles : Handles, optional
        Of a dataset with which this one is read.
    counts : sequence of int, optional
        Number of images that each file is to have, by which their axes are judged.

    Attributes
    ----------
    paths : list of str
    pattern : str or None
        The pattern that names them, if there are several and one does.
    n_samples : int
    image_shape : (int, int, int)
        Height, width, and number of the channels that there are.
    order : str
        Order of the axes in which images are handed on, always with all channels of the file.
    channels : tuple of int, or None
        Channel in the file of each channel; None if none were named.
    file_channels : int
        Number of channels in the file.
    dtype : dtype
        Type of the images as they are handed on: uint8, uint16, int16, float32 or float64.
    outputs : Output, tuple of Output, dict of str to Output, or None
        Labels of each output; None without labels.
    weights : ndarray, shape (n_samples,), in the structure of `outputs`, or None
        None for an output without weights.
    labels_name : str or None
        Name of the labels, if there is one.
    metadata : list of Metadata
        Metadata of each file, for the channels that there are.
    rows : ndarray of int64, shape (n_samples,), or None
        Numbers of a part's samples in the files, see `fastprep.dataset.part`; None for all samples.
    image_files : ImageFiles
        Images of all files.
    inputs : dict of str to Dataset
        Images of further inputs of a network, by their names; see `read_with`.
    masks : list of MaskValues
        Masks of the outputs that are such; their samples are read with the images.
    corrupt : Corrupt or None
        Samples that can't be read; None if they are errors.
    handles : Handles
        Open files.
    has_sizes : bool
        Whether `shapes` tells a size for each image; False unless `tell_sizes` was called.

    Raises
    ------
    ValueError
        If `io`, `on_corrupt`, `axes`, `shape` or `channels` is not one of its values, or `files` names no file.
    OSError
        If a file does not exist or may not be read.
    DataError
        If a file is damaged or does not fit the arguments, or the files do not fit together.
    """

    def __init__(
        self,
        files: Paths,
        images: Images = "images",
        labels: Any = "labels",
        weights: Any = None,
        io: str = "pread",
        on_corrupt: str = "raise",
        axes: str | None = None,
        shape: Sequence[int] | None = None,
        channels: Channels | None = None,
        class_names: Any = None,
        handles: Handles | None = None,
        counts: Sequence[int] | None = None,
    ) -> None:
        if on_corrupt not in ("raise", "skip"):
            raise ValueError(f'on_corrupt must be "raise" or "skip", got {on_corrupt!r}')
        check_axes_name(axes)
        image_shape = check_image_shape(shape)
        self.paths = expand_paths(files)
        self.pattern = os.fspath(files) if isinstance(files, str | os.PathLike) and len(self.paths) > 1 else None
        self.images, self.labels_name = describe_images(images), labels if isinstance(labels, str) else None
        sources = label_sources(labels, self.paths)
        own_weights = weight_sources(weights, sources, self.paths)
        names = columns_of(sources), columns_of(own_weights)
        self.handles = Handles() if handles is None else handles
        self.metadata: list[Metadata] = []
        readers: list[Reader] = []
        scratch = ThreadScratch()
        found_labels: list[dict[str, NDArray]] = []
        found_weights: list[dict[str, NDArray]] = []
        surveys = survey(
            self.paths, images, *names, self.handles.limit, axes, image_shape, counts or count_labels(sources, self.paths)
        )
        with contextlib.closing(surveys) as surveyed_files:
            for surveyed in surveyed_files:
                index, metadata = surveyed.index, surveyed.metadata
                first = readers[0].index if readers else index
                if index.rows is not None and first.rows is not None:
                    index, metadata = decoded_like(first, index, metadata)
                check_images(self, index, first)
                readers.append(reader_of(index, io, self.handles, scratch))
                self.metadata.append(metadata)
                warn_of_unwritten_rows(surveyed)
                found_labels.append(surveyed.labels)
                found_weights.append(surveyed.weights)
        bring_to_one_type(readers)
        log_notes(self.metadata, self.paths, self.images)
        check_channel_orders(self.metadata, self.paths, self.images)
        warn_of_slow_reading(reader.index for reader in readers)
        self.image_files = ImageFiles(readers)
        first = self.first_index
        self.order, self.file_channels = first.axes.order, first.shape[3]
        self.channels = pick_channels(channels, self.metadata[0].channel_order, self.file_channels)
        self.metadata = [picked_metadata(facts, self.channels) for facts in self.metadata]
        n_channels = self.file_channels if self.channels is None else len(self.channels)
        self.image_shape: tuple[int, int, int] = (*first.shape[1:3], n_channels)
        self.dtype = first.dtype
        self.n_samples = len(self.image_files)
        self.rows: NDArray[np.int64] | None = None
        self.outputs = join_labels(self, sources, found_labels, class_names)
        self.masks = [output.target for output in outputs_of(self.outputs) if isinstance(output.target, MaskValues)]
        self.weights = join_weights(self, own_weights, found_weights)
        self.corrupt = Corrupt(self.n_samples, by_sample=bool(self.masks)) if on_corrupt == "skip" else None
        self.has_sizes = False
        self._input_names: tuple[str, ...] = ()
        self.inputs: dict[str, Dataset] = {}
        self.parts = [self.image_files, *self.masks]

    def read_with(self, names: Sequence[str], inputs: dict[str, Dataset]) -> None:
        """Read the images of further inputs of a network with these ones.

        Parameters
        ----------
        names : sequence of str
            Names of all inputs, in the order of their sinks.
        inputs : dict of str to Dataset
            Images of all but one of them, of as many samples.
        """
        self._input_names, self.inputs = tuple(names), inputs
        files = [inputs[name].image_files if name in inputs else self.image_files for name in names]
        self.parts = [*files, *self.masks]
        if self.corrupt is not None:
            self.corrupt = Corrupt(self.n_samples, by_sample=True)

    @property
    def each_input(self) -> Dataset | dict[str, Dataset]:
        """Images of each input, by its name; this dataset if its images are the only ones."""
        return {name: self.inputs.get(name, self) for name in self._input_names} if self._input_names else self

    def read(self, samples: NDArray[np.int64], *sinks: Sink) -> NDArray[np.int64]:
        """Hand the images of `samples` to a sink, or those of each input to one, and their masks to one each.

        Slot k is for `samples[k]`. See `fastprep.h5.Reader.read`.

        Returns
        -------
        ndarray of int64, shape (n,)
            Samples that were read: `samples`, where `on_corrupt="skip"` replaces those that can't be read.
        """
        if self.corrupt is None:
            self._read(samples, np.arange(len(samples), dtype=np.int64), sinks)
            return samples
        return self.corrupt.read(self._read, samples, sinks)

    @property
    def is_encoded(self) -> bool:
        """Whether images are encoded, so that each has a size of its own."""
        return self.first_index.rows is not None

    def tell_sizes(self) -> None:
        """Take encoded images as they are: `image_shape` is only that of the first one, and `shapes` tells those of all.

        Images of further inputs, and masks, have to be encoded, too.
        """
        self.has_sizes = True
        for images in self.inputs.values():
            images.has_sizes = True
        for masks in self.masks:
            masks.has_sizes = True

    def shapes(self, samples: NDArray[np.int64]) -> tuple[Any, Any, int]:
        """Return height, width and number of channels of images.

        Parameters
        ----------
        samples : ndarray of int64, shape (n,)

        Returns
        -------
        int or ndarray of int64, shape (n,)
            Height: of all images; or, with `has_sizes`, of each, or of the one that replaces it.
        int or ndarray of int64, shape (n,)
            Width.
        int
            Channels.

        Raises
        ------
        OSError, DataError
            If a header can't be read, or an image of another input, or a mask, has another size than the image.
        """
        if not self.has_sizes:
            return self.image_shape
        sinks = [SizeSink(len(samples)) for _ in self.parts]
        read = self.read(samples, *sinks)
        check_same_sizes(self, read, [sink.found for sink in sinks])
        height, width = sinks[0].found.T
        return height, width, self.image_shape[2]

    def images_of(self, samples: NDArray[np.int64]) -> Iterator[NDArray]:
        """Yield images one by one, (H, W, C) each with all channels of the file; damaged ones are errors.

        Each is valid until this thread asks for the next one.
        """
        return self.image_files.images(samples)

    def replaced(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what `read` reads for these samples, as far as it is known by now which ones can't be read."""
        return samples if self.corrupt is None else self.corrupt.replace(samples)

    def _read(self, samples: NDArray[np.int64], slots: NDArray[np.int64], sinks: Sinks) -> None:
        self.read_parts(samples, slots, sinks, self.corrupt is not None)

    def not_finite(self, sample: int, part: int = 0) -> DataError:
        """Return the error of a sample with values that are not finite in what goes to one of the sinks of `read`."""
        return self.parts[part].not_finite(sample)

    def image_error(self, sample: int, problem: str, part: int = 0) -> DataError:
        """Return the error of a sample's image, or of what goes to another sink of `read`; it names file, dataset and row."""
        return self.parts[part].error(sample, problem)

    def error_of(self, sample: int, problem: str, source: Source | None) -> DataError:
        """Return the error of a sample's label, which names file, dataset and row."""
        number, row = self.image_files.locate(sample)
        return label_error(problem, source, self.paths, number, row, sample)

    @property
    def labels(self) -> Any:
        """Labels of all samples: an array of shape (n_samples, ...), targets, or a tuple or dict of such; None without labels."""
        return None if self.outputs is None else map_outputs(lambda output: output.labels, self.outputs)

    @property
    def first_labels(self) -> NDArray | None:
        """Labels of the first output that has such, by which it is judged how well an order mixes; None without labels."""
        return next((output.values for output in outputs_of(self.outputs) if output.target is None), None)

    @property
    def class_names(self) -> Any:
        """Names of the classes: a tuple of str, in the structure of the labels."""
        if self.outputs is None:
            return self.metadata[0].class_names
        return map_outputs(lambda output: output.class_names, self.outputs)

    @property
    def stored_dtypes(self) -> set[np.dtype]:
        """Types in which the files hold the images."""
        return self.image_files.stored_dtypes

    def describe(self) -> list[dict[str, Any]]:
        """Describe how each file is read.

        Returns
        -------
        list of dict
            Keys file, samples, shape, dtype, read, never_written, indexed; and input, its name, where there are several. A file
            is indexed when its images are first asked for; until then `read` follows from its header alone, and `never_written`,
            a number of images, is 0.
        """
        inputs = self.each_input
        if not isinstance(inputs, dict):
            return self.image_files.describe()
        return [{**facts, "input": name} for name, images in inputs.items() for facts in images.image_files.describe()]

    def without_masks(self) -> Self:
        """Return the same images without the masks that are read with them; this dataset if there are none.

        They have a record of their own of the samples that can't be read: a damaged mask is no reason to replace an image.
        """
        if not self.masks:
            return self
        images = copy.copy(self)
        images.masks, images.parts = [], [part for part in self.parts if part not in self.masks]
        if self.corrupt is not None:
            images.corrupt = Corrupt(self.n_samples, by_sample=bool(self.inputs))
        return images

    def describe_corrupt(self, images: Dataset) -> dict[str, Any] | None:
        """Describe the samples that are known to be damaged, here or among the images alone, see `without_masks`.

        Returns
        -------
        dict or None
            Keys samples, problems. None if they are errors.
        """
        if self.corrupt is None or images.corrupt is None:
            return None
        problems = dict.fromkeys([*self.corrupt.problems, *images.corrupt.problems])
        return {"samples": int((self.corrupt.known | images.corrupt.known).sum()), "problems": list(problems)}

    @property
    def first_index(self) -> ImageIndex:
        """Index of the first file."""
        return self.image_files.first_index

    @property
    def axes(self) -> Axes:
        """Axes of the first file; in all files they have the same order."""
        return self.first_index.axes

    @property
    def n_in_files(self) -> int:
        """Number of samples in the files, of which these may be a part."""
        return len(self.image_files)

    @property
    def file_numbers(self) -> NDArray[np.int64]:
        """Number of the file of each sample."""
        return np.repeat(np.arange(len(self.file_sizes)), self.file_sizes)

    def digest(self) -> str | None:
        """Return what tells the rows of a part from those of another; None for all samples."""
        return None if self.rows is None else hashlib.blake2b(self.rows.tobytes(), digest_size=8).hexdigest()

    def take(self, values: NDArray) -> NDArray:
        """Return the values of these samples out of values for all samples of the files."""
        return values

    def path_of(self, sample: int) -> str:
        """Return the path of the file that has a sample."""
        return self.paths[self.image_files.locate(sample)[0]]

    @property
    def file_sizes(self) -> list[int]:
        """Number of images in each file."""
        return self.image_files.sizes
