"""Mean to subtract: stored in the file, given as numbers or in a tutorial's JSON file, or computed."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprep.command_lines import command_line, option_words, path_word
from fastprep.dataset.agreement import check_channel_orders
from fastprep.dataset.channels import Channels, pick_channels
from fastprep.dataset.dataset import Dataset
from fastprep.dataset.inputs import by_input
from fastprep.dataset.masked import check_unmasked
from fastprep.dataset.nested import map_outputs
from fastprep.dataset.part import part_of
from fastprep.dataset.paths import Paths, expand_paths
from fastprep.errors import DataError, MissingMeanError, NotFiniteError
from fastprep.h5 import (
    CopySink,
    ImageIndex,
    Images,
    Metadata,
    Reader,
    check_image_shape,
    decoded_like,
    is_pattern,
    open_images,
    read_metadata,
    reader_of,
    warn_of_unwritten,
)
from fastprep.remote import is_address

_log = logging.getLogger(__name__)

_BATCH_BYTES = 16 << 20
_NO_MEAN = "it has NaN or infinity, so there is no mean; mend the file, or leave such images out by indices="


class Adds(Protocol):
    """What sees all images while their mean is computed."""

    def add(self, images: NDArray) -> None:
        """Add images, shape (n, H, W, C), finite."""
        ...


def resolve_mean(mean: ArrayLike | str | os.PathLike[str] | None, images: Dataset) -> NDArray[np.float32] | None:
    """Turn the `mean` argument of `Loader` into numbers.

    Parameters
    ----------
    mean : "file", "none", path, array_like or None
    images : Dataset

    Returns
    -------
    ndarray of float32, any shape, or None
        Channels in the order of the file. The shape is not checked here.

    Raises
    ------
    DataError
        If `mean` is "file" and a file has no mean (MissingMeanError), or the files have different means.
    OSError
        If a JSON file does not exist or may not be read.
    ValueError
        If `mean` is not one of these, or a JSON file does not have the tutorial's form.
    """
    if mean is None or (isinstance(mean, str) and mean == "none"):
        return None
    if isinstance(mean, str) and mean == "file":
        return _stored_mean(images)
    if isinstance(mean, str | os.PathLike):
        return _tutorial_mean(os.fspath(mean), images.metadata[0].channel_order)
    if isinstance(mean, bool | np.bool_):
        raise ValueError(f'mean must be "file", "compute", numbers, the path of a JSON, or None, got {mean!r}')
    check_unmasked(mean, "mean")
    numbers = np.array(mean, np.float32)  # a copy, which the caller can't change later
    if not np.isfinite(numbers).all():
        raise ValueError(f"mean must be finite numbers, got {mean!r}")
    return numbers


def means_of(mean: Any, dataset: Dataset) -> Any:
    """Return the mean of each input of a dataset; see `resolve_mean`.

    Parameters
    ----------
    mean : "file", "compute", "none", path, array_like, None, or mapping of str to these
    dataset : Dataset

    Returns
    -------
    ndarray of float32 or None, or dict of str to such
    """

    def mean_of(images: Dataset, value: Any) -> NDArray[np.float32] | None:
        if isinstance(value, str) and value == "compute":
            return _mean_of_rows(images, _rows_of(dataset)).astype(np.float32)
        return resolve_mean(value, images)

    return map_outputs(mean_of, dataset.each_input, by_input(mean, dataset.each_input, "mean"))


def image_mean(
    files: Paths,
    images: Images = "images",
    *,
    axes: str | None = None,
    shape: Sequence[int] | None = None,
    channels: Channels | None = None,
    indices: ArrayLike | slice | str | None = None,
) -> NDArray[np.float64]:
    """Compute the mean of each channel over all images, or over a part of them.

    Parameters
    ----------
    files : path, glob pattern, or sequence of paths
        HDF5 files. Their images may be of different sizes, unless `indices` are given.
    images : str or sequence of str, default "images"
        Name of the dataset of images in each file, or of datasets of one image, see `Loader`.
    axes : str or None, default None
        Axes of the images, see `Loader`.
    shape : (int, int) or (int, int, int), or None, default None
        Height, width and channels of an image in a dataset of flat rows, see `Loader`.
    channels : sequence of int or str, or str, or None, default None
        Channels whose means there are, see `Loader`.
    indices : array_like of int or of bool, slice, str or None, default None
        Part of the images, such as those of training, see `Loader`. None takes all.

    Returns
    -------
    ndarray of float64, shape (C,)
        Means in the channel order of the file. For uint8 images they are exact up to the last division.

    Raises
    ------
    ValueError
        If `files` names no file, `axes`, `shape` or `channels` is not one of its values, or `indices` breaks its rule.
    OSError
        If a file does not exist or may not be read.
    DataError
        If a file is damaged or has no such images, its images probably have other axes, the files have different numbers of
        channels or name them in different orders, or an image has NaN or infinity.
    """
    return computed_mean(files, images, axes=axes, shape=shape, channels=channels, indices=indices)[0]


def computed_mean(
    files: Paths,
    images: Images,
    *,
    axes: str | None = None,
    shape: Sequence[int] | None = None,
    channels: Channels | None = None,
    indices: ArrayLike | slice | str | None = None,
    moments: Adds | None = None,
) -> tuple[NDArray[np.float64], tuple[int, ...] | None]:
    """Compute the mean as `image_mean` does, and hand all images to `moments` on the way.

    Returns
    -------
    ndarray of float64, shape (C,)
    tuple of int, or None
        Numbers of the channels that are in the mean; None for all. `moments` has seen all channels.
    """
    if indices is not None:
        with contextlib.closing(Dataset(files, images, None, axes=axes, shape=shape, channels=channels)) as whole:
            part = part_of(whole, indices)
            return _mean_of_rows(part, _rows_of(part), moments), part.channels
    total: NDArray[np.float64] | None = None
    image_shape = check_image_shape(shape)
    n_pixels, picked = 0, None
    first: tuple[Metadata, str] | None = None  # that names its channels
    first_index: ImageIndex | None = None
    for path in expand_paths(files):
        opened, metadata = _open(path, images, axes, image_shape, first_index)
        with contextlib.closing(opened) as reader:
            first_index = first_index or reader.index
            n, n_channels = reader.index.shape[0], reader.index.shape[3]
            name = reader.index.dataset
            warn_of_unwritten(path, name, reader.index.n_unwritten, n, "images", reader.index.rows is not None)
            if total is not None and len(total) != n_channels:
                raise DataError(f"images have {n_channels} channels, those before have {len(total)}", path, name)
            first = first or ((metadata, path) if metadata.channel_order else None)
            if first is not None:
                check_channel_orders((first[0], metadata), (first[1], path), name)
            if total is None and channels is not None:
                picked = pick_channels(channels, metadata.channel_order, n_channels)
            sums, n_added = _channel_sums(reader, n, moments)
        total = sums if total is None else total + sums
        n_pixels += n_added
    assert total is not None  # there is a file, and a file has images
    mean = total / n_pixels
    return mean if picked is None else mean[list(picked)], picked


def _open(
    path: str, images: Images, axes: str | None, shape: tuple[int, int, int] | None, first: ImageIndex | None
) -> tuple[Reader, Metadata]:
    """Open the images of a file; encoded ones have as many channels as those of the first file."""
    reader = open_images(path, images, axes=axes, shape=shape)
    index = reader.index
    metadata = read_metadata(path, images, index.shape[3])
    if index.rows is None or (first is not None and first.rows is None):
        return reader, metadata
    index, metadata = decoded_like(first or index, index, metadata)
    return reader_of(index), metadata


def _rows_of(dataset: Dataset) -> NDArray[np.int64]:
    """Return the rows of a dataset in its files, which are those of a part or all."""
    return np.arange(dataset.n_in_files) if dataset.rows is None else dataset.rows


def _mean_of_rows(images: Dataset, rows: NDArray[np.int64], moments: Adds | None = None) -> NDArray[np.float64]:
    """Compute the mean of images by their rows in the files; masks and other inputs that are read with them are not."""
    sums, n_pixels = np.zeros(images.file_channels), 0
    for first, block in _blocks_of_rows(images, rows):
        if not _are_finite(block) and not (finite := np.isfinite(block).reshape(len(block), -1).all(axis=1)).all():
            raise images.image_files.not_finite(int(rows[first + np.argmin(finite)]), _NO_MEAN)
        sums += _sums_of(block)
        n_pixels += math.prod(block.shape[:3])
        if moments is not None:
            moments.add(block)
    mean = sums / n_pixels
    return mean if images.channels is None else mean[list(images.channels)]


def _blocks_of_rows(images: Dataset, rows: NDArray[np.int64]) -> Iterator[tuple[int, NDArray]]:
    """Yield the place of the first row of a block, and the block, shape (n, H, W, C)."""
    files, axes = images.image_files, images.axes
    if images.is_encoded:
        yield from ((first, image[None]) for first, image in enumerate(files.images(rows)))
        return
    image_bytes = math.prod(axes.sides[1:]) * images.dtype.itemsize
    step = max(1, _BATCH_BYTES // image_bytes)
    for first in range(0, len(rows), step):
        some = rows[first : first + step]
        stored = np.empty((len(some), *axes.sides[1:]), images.dtype)
        files.read(some, np.arange(len(some)), CopySink(stored.reshape(-1).view(np.uint8), image_bytes))
        yield first, axes.as_images(stored)


def _blocks(reader: Reader, n: int) -> Iterator[tuple[int, NDArray]]:
    """Yield the number of the first image of a block, and the block, shape (n, H, W, C)."""
    if reader.index.rows is not None:
        yield from ((first, image[None]) for first, image in enumerate(reader.images(np.arange(n))))
        return
    step = max(1, _BATCH_BYTES // reader.index.image_bytes)
    for first in range(0, n, step):
        yield first, reader.array(np.arange(first, min(first + step, n)))


def _channel_sums(reader: Reader, n: int, moments: Adds | None) -> tuple[NDArray[np.float64], int]:
    """Return the sum of each channel over all images, and the number of their pixels."""
    sums, n_pixels = np.zeros(reader.index.shape[3]), 0
    for first, images in _blocks(reader, n):
        if not _are_finite(images):
            _check_finite(images, first, reader.index)
        sums += _sums_of(images)
        n_pixels += math.prod(images.shape[:3])
        if moments is not None:
            moments.add(images)
    return sums, n_pixels


def _are_finite(images: NDArray) -> bool:
    """Tell whether a sum of images is finite; if it is not, an image may not be."""
    return images.dtype.kind != "f" or bool(np.isfinite(images.sum(dtype=np.float64)))


def _sums_of(images: NDArray) -> NDArray[np.float64]:
    if images.dtype == np.uint8:
        is_long = images.shape[0] * images.shape[1] > 2**24  # of which sums may be too large: one encoded image, or one in a file
        rows = images.sum(axis=(0, 1), dtype=np.uint64 if is_long else np.uint32)
        return rows.sum(axis=0, dtype=np.uint64).astype(np.float64)
    return images.sum(axis=(0, 1, 2), dtype=np.float64)


def _check_finite(images: NDArray, first: int, index: ImageIndex) -> None:
    finite = np.isfinite(images).reshape(len(images), -1).all(axis=1)
    if not finite.all():
        sample = first + int(np.argmin(finite))
        raise NotFiniteError(_NO_MEAN, index.file, index.name_of(sample), sample // index.images_per_chunk, sample)


def _stored_mean(images: Dataset) -> NDArray[np.float32]:
    files, dataset = images.paths, images.images
    first = images.metadata[0].mean
    for file, facts in zip(files, images.metadata, strict=True):
        mean = facts.mean
        if facts.mean_problem:
            raise DataError(facts.mean_problem, file, dataset)
        if mean is None or first is None:
            ways = 'pass mean="compute" for training and mean=train.mean for validation, '
            ways += "mean=fastprep.image_mean(training files), numbers, the path of a JSON with R, G and B, "
            ways += "or mean=None to subtract nothing"
            place = place_of("mean", file, images, ways, ["--mean", "--store"])
            raise MissingMeanError(f"no mean is stored in the file{place}", file, dataset)
        if not np.array_equal(mean, first):
            raise DataError(f"the stored mean {mean} differs from {first} in {files[0]!r}; pass one mean for all", file, dataset)
    return np.asarray(first, np.float32)


def place_of(name: str, file: str, dataset: Dataset, ways: str, options: Sequence[str]) -> str:
    """Return where an attribute of images would be, and the ways to have one: options of `show`, and others."""
    images, axes = dataset.images, dataset.first_index.axes
    if is_pattern(images) or ", " in images:
        return f" (attribute {name!r} of the group that has the images): {ways}"
    owner = "group" if images.endswith("/") else "images"
    if is_address(file):  # which nothing is written to
        return f" (attribute {name!r} of the {owner}): {ways}"
    said = {"images": images, "axes": axes.name if axes.must_be_said else None, "shape": axes.shape[1:] if axes.is_flat else None}
    command = command_line("show", [path_word(file)], option_words(said), options)
    store = f"`{command}` computes and stores that of training images"
    return f" (attribute {name!r} of the {owner}): {store}; or {ways}"


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))


def _tutorial_mean(path: str, channel_order: str | None) -> NDArray[np.float32]:
    """Read {"R": .., "G": .., "B": ..}; images whose channel order is not stored are taken for the tutorial's, BGR."""
    if not os.path.exists(path):
        words = '"file", "compute", "none", numbers, or the path of a JSON file'
        raise FileNotFoundError(f"mean must be {words}, and there is no file {path!r}")
    with open(path, encoding="utf-8") as file:
        try:
            means = json.load(file)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"mean file {path!r} is not JSON: {error}") from error
    order = (channel_order or "BGR").upper()
    if not isinstance(means, dict) or not all(_is_finite(means.get(c)) for c in order):
        raise ValueError(f'mean file {path!r} must have a finite number for each of {", ".join(order)}, like {{"R": 124.9, ...}}')
    if channel_order is None:
        _log.warning("the images do not name their channel order; the mean in %s is applied in the tutorial's order, BGR", path)
    return np.array([means[c] for c in order], np.float32)
