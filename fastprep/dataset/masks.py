"""Masks of all samples: images of another dataset, or of an array, that are read together with the images."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fastprep._sink import Sink, hand_over
from fastprep.dataset.image_files import ImageFiles
from fastprep.dataset.label_files import images_of_each
from fastprep.dataset.label_sources import Source
from fastprep.dataset.masked import check_unmasked
from fastprep.dataset.notices import warn_of_slow_reading
from fastprep.errors import DataError, MissingDatasetError, NotFiniteError
from fastprep.h5 import (
    ImageIndex,
    Reader,
    ThreadScratch,
    check_axes_name,
    like_first,
    mask_reader_of,
    survey,
    warn_of_unwritten,
    wrong_pair,
)
from fastprep.transforms import Mask

if TYPE_CHECKING:
    from fastprep.dataset.dataset import Dataset

_NOT_FINITE = "its mask has NaN or infinity; mend the file, or pass check_finite=False to get such masks"
_KERNEL_TYPES = ("uint8", "float32", "float64")  # of the kernels for images


class MaskValues:
    """Masks of all samples of the files, by their numbers.

    Parameters
    ----------
    description : Mask
    files : ImageFiles or ndarray, shape (N, H, W, C)
    has_channels : bool
        Whether masks have an axis of channels.
    image_file : str
        First file of the images, which errors of an array name.

    Attributes
    ----------
    files : ImageFiles or None
        None for masks in an array.
    image_shape : (int, int, int)
        Height, width and channels.
    order : str
        Order of the axes in which masks are handed on.
    dtype : dtype
        Type in which they are handed on.
    has_sizes : bool
        Whether each has the size of its image; `image_shape` is only that of the first one then.
    """

    has_sizes = False

    def __init__(self, description: Mask, files: ImageFiles | NDArray, has_channels: bool, image_file: str) -> None:
        self.description, self.has_channels, self._image_file = description, has_channels, image_file
        self.files = files if isinstance(files, ImageFiles) else None
        self._array = files if isinstance(files, np.ndarray) else None
        if self.files is not None:
            index = self.files.first_index
            self.image_shape, self.order, self.dtype = index.shape[1:], index.axes.order, index.dtype
        else:
            assert self._array is not None
            height, width, channels = self._array.shape[1:]
            self.image_shape, self.order, self.dtype = (height, width, channels), "HWC", self._array.dtype

    def read(self, samples: NDArray[np.int64], slots: NDArray[np.int64], sink: Sink, may_be_damaged: bool = False) -> None:
        """Hand masks to a sink; see `ImageFiles.read`."""
        if self.files is not None:
            self.files.read(samples, slots, sink, may_be_damaged)
            return
        assert self._array is not None
        numbers = self._array.reshape(-1).view(np.uint8)
        offsets = samples.astype(np.int64) * (numbers.size // len(self._array))
        status, position = hand_over(numbers, offsets, np.ascontiguousarray(slots, np.int64), sink)
        if status:
            raise self.not_finite(int(samples[position]))

    @property
    def is_encoded(self) -> bool:
        """Whether masks are encoded, so that each has a size of its own."""
        return self.files is not None and self.first_index.rows is not None

    @property
    def first_index(self) -> ImageIndex:
        """Index of the first file, where masks are in files."""
        assert self.files is not None
        return self.files.first_index

    def error(self, sample: int, problem: str) -> DataError:
        """Return the error of a sample's mask, which names file, dataset and row."""
        return DataError(problem, self._image_file, sample=sample) if self.files is None else self.files.error(sample, problem)

    def not_finite(self, sample: int) -> DataError:
        """Return the error of a sample whose mask has values that are not finite."""
        if self.files is not None:
            return self.files.not_finite(sample, _NOT_FINITE)
        return NotFiniteError(_NOT_FINITE, self._image_file, sample=sample)

    def take(self, rows: NDArray[np.int64]) -> MaskValues:
        """Return the masks of a part of the samples, which is read by the numbers of all."""
        return self

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        if self.files is not None:
            self.files.close()


def open_masks(dataset: Dataset, source: Source) -> MaskValues:
    """Open the masks of a dataset.

    Parameters
    ----------
    dataset : Dataset
        Its images are open.
    source : Source
        With a `Mask`.

    Returns
    -------
    MaskValues

    Raises
    ------
    ValueError
        If an array, or the number of files, does not fit the images.
    OSError, DataError
        If the masks can't be opened, or do not fit the images.
    """
    description = source.target
    assert isinstance(description, Mask)
    if source.column is None:
        return _masks_of_array(dataset, description, source.argument)
    try:
        check_axes_name(description.axes)
    except ValueError as error:
        raise ValueError(f"{source.argument}: {str(error).replace('axes', 'axes of a Mask', 1)}") from None
    paths = source.files or tuple(dataset.paths)
    wanted = images_of_each(source.argument, "masks", len(paths), dataset.file_sizes)
    scratch, readers = ThreadScratch(), list[Reader]()
    surveys = survey(paths, source.column, [], [], dataset.handles.limit, description.axes, None, wanted, are_masks=True)
    with _named(source.argument), contextlib.closing(surveys) as surveyed_files:
        for surveyed, n in zip(surveyed_files, wanted, strict=True):
            index = surveyed.index
            first = readers[0].index if readers else index
            _check_masks(dataset, index, n, first)
            if index.members and (members := dataset.first_index.members) and len(dataset.paths) == len(paths):
                _check_pairs(index, members)
            warn_of_unwritten(index.file, index.dataset, index.n_unwritten, n, "masks", index.rows is not None)
            index = index.unwidened() if description.interpolation == "nearest" else index
            index = like_first(index, first) if index.rows is not None else index
            readers.append(mask_reader_of(index, dataset.image_files.readers[0].io, dataset.handles, scratch))
    warn_of_slow_reading(reader.index for reader in readers)
    first = readers[0].index
    has_channels = "C" in first.axes.name and first.rows is None  # an encoded mask is of numbers, (height, width)
    return MaskValues(description, ImageFiles(readers), has_channels, dataset.paths[0])


@contextlib.contextmanager
def _named(argument: str) -> Iterator[None]:
    """Name the argument in errors of datasets that are opened as images."""
    try:
        yield
    except MissingDatasetError as error:
        raise MissingDatasetError(error.problem, error.file, error.dataset, argument=argument) from None
    except DataError as error:
        if type(error) is not DataError or not error.problem.startswith(("images", "axes=")):
            raise
        raise DataError(
            f"{argument}: masks are read as images, and {_for_masks(error.problem)}", error.file, error.dataset
        ) from None


def _for_masks(problem: str) -> str:
    """Return an error of images with the ways out that there are for masks: an axes name, but no shape and no conversion."""
    of_images = r"; or `python -m fastprep\.convert [^`]*` writes [^;]*|; if these are flat rows, say the shape [^;]*"
    return re.sub(r"(?<= )axes='(\w+)'", r"Mask(..., axes='\1')", re.sub(of_images, "", problem))


def _check_masks(dataset: Dataset, index: ImageIndex, n: int, first: ImageIndex) -> None:
    named, (height, width) = (index.file, index.dataset), dataset.image_shape[:2]
    if index.shape[0] != n:
        problem = f"there must be one mask for each of the {n} images, found {index.shape[0]}"
        raise DataError(f"{problem}; name the masks of these images, or, if these are other axes, Mask(..., axes=...)", *named)
    has_size_each = index.rows is not None and dataset.is_encoded
    if index.shape[1:3] != (height, width) and not has_size_each:
        found = f"masks have {index.shape[1]}x{index.shape[2]} pixels, and the images that they follow {height}x{width}"
        way_out = "store both in one size; or, if these are other axes, say which: Mask(..., axes=...)"
        raise DataError(f"{found}; {way_out}", *named)
    if (index.rows is None) != (first.rows is None):
        found, its = ("are numbers", "they are encoded") if index.rows is None else ("are encoded", "they are numbers")
        raise DataError(f"masks {found}, in {first.file!r} {its}; store all of them in one way", *named)
    alike = (index.shape[3], index.stored_dtype, index.axes.order)
    if alike != (wanted := (first.shape[3], first.stored_dtype, first.axes.order)):
        words = "masks of all files must be alike in channels, type and axes"
        raise DataError(f"{words}: found {_describe(alike)}, in {first.file!r} {_describe(wanted)}", *named)


def _describe(alike: tuple[int, np.dtype, str]) -> str:
    channels, dtype, order = alike
    return f"{channels} of {dtype} in the order {order}"


def _check_pairs(index: ImageIndex, images: tuple[str, ...]) -> None:
    if (place := wrong_pair(index.members, images, alike=True)) is not None:
        names = f"{index.members[place]!r} is not the mask of {images[place]!r}"
        problem = f"masks and images are paired in natural order, but {names}"
        raise DataError(f"{problem}; Mask takes an array, too, in the order of the images", index.file)


def _masks_of_array(dataset: Dataset, description: Mask, argument: str) -> MaskValues:
    check_unmasked(description.source, f"{argument}: masks")
    array, (height, width), n = np.asarray(description.source), dataset.image_shape[:2], dataset.n_samples
    are_numbers = array.dtype.kind in "iufb" and array.dtype.itemsize <= 8
    if not are_numbers or array.ndim not in (3, 4) or array.shape[:3] != (n, height, width):
        rule = f"{argument}: masks must be numbers of shape ({n}, {height}, {width}) or ({n}, {height}, {width}, C)"
        raise ValueError(f"{rule}, one for each image of the files, got {array.dtype} {array.shape}")
    dtype = np.dtype(np.uint8) if array.dtype == np.bool_ else array.dtype.newbyteorder("=")
    if description.interpolation == "bilinear" and dtype.name not in _KERNEL_TYPES:
        dtype = np.dtype(np.float32 if dtype.itemsize <= 2 else np.float64)
    masks = np.array(array.reshape(n, height, width, -1), dtype, order="C")  # a copy, which its owner can't change
    return MaskValues(description, masks, array.ndim == 4, dataset.paths[0])
