"""Mean to subtract: stored in the file, given as numbers or in a tutorial's JSON file, or computed."""

from __future__ import annotations

import json
import logging
import os
import shlex
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprep.dataset.dataset import Paths, expand_paths
from fastprep.errors import DataError, MissingMeanError, NotFiniteError
from fastprep.h5 import ImageIndex, Metadata, Reader, open_images, warn_of_unwritten

_log = logging.getLogger(__name__)

_BATCH_BYTES = 16 << 20


def resolve_mean(
    mean: ArrayLike | str | os.PathLike[str] | None, metadata: Sequence[Metadata], files: Sequence[str], dataset: str
) -> NDArray[np.float32] | None:
    """Turn the `mean` argument of `Loader` into numbers.

    Parameters
    ----------
    mean : "file", path, array_like or None
    metadata : sequence of Metadata
        Metadata of each file.
    files : sequence of str
        Paths of the files, for errors.
    dataset : str
        Name of the dataset of images, for errors.

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
    if mean is None:
        return None
    if isinstance(mean, str) and mean == "file":
        return _stored_mean(metadata, files, dataset)
    if isinstance(mean, str | os.PathLike):
        return _tutorial_mean(os.fspath(mean), metadata[0].channel_order)
    if isinstance(mean, bool | np.bool_):
        raise ValueError(f'mean must be "file", numbers, the path of a JSON, or None, got {mean!r}')
    numbers = np.array(mean, np.float32)  # a copy, which the caller can't change later
    if not np.isfinite(numbers).all():
        raise ValueError(f"mean must be finite numbers, got {mean!r}")
    return numbers


def image_mean(files: Paths, images: str = "images", *, axes: str | None = None) -> NDArray[np.float64]:
    """Compute the mean of each channel over all images.

    Parameters
    ----------
    files : path, glob pattern, or sequence of paths
        HDF5 files.
    images : str, default "images"
        Name of the dataset of images in each file.
    axes : {"NHWC", "NHW"} or None, default None
        Axes of the images, see `Loader`.

    Returns
    -------
    ndarray of float64, shape (C,)
        Means in the channel order of the file. For uint8 images they are exact up to the last division.

    Raises
    ------
    ValueError
        If `files` names no file, or `axes` is not one of its values.
    OSError
        If a file does not exist or may not be read.
    DataError
        If a file is damaged or has no such images, its images probably have other axes, the files have different numbers of
        channels, or an image has NaN or infinity.
    """
    total: NDArray[np.float64] | None = None
    n_pixels = 0
    for path in expand_paths(files):
        reader = open_images(path, images, axes=axes)
        n, height, width, channels = reader.index.shape
        warn_of_unwritten(path, images, reader.index.n_unwritten, n, "images")
        if total is not None and len(total) != channels:
            raise DataError(f"images have {channels} channels, those before have {len(total)}", path, images)
        sums = _channel_sums(reader, n)
        total = sums if total is None else total + sums
        n_pixels += n * height * width
        reader.close()
    assert total is not None  # there is a file, and a file has images
    return total / n_pixels


def _channel_sums(reader: Reader, n: int) -> NDArray[np.float64]:
    step = max(1, _BATCH_BYTES // reader.index.image_bytes)
    sums = np.zeros(reader.index.shape[3])
    for first in range(0, n, step):
        images = reader.array(np.arange(first, min(first + step, n)))
        if images.dtype.kind == "f" and not np.isfinite(images.sum(dtype=np.float64)):
            _check_finite(images, first, reader.index)
        if images.dtype == np.uint8:
            rows = images.sum(axis=(0, 1), dtype=np.uint32)  # at most 255 * 2**24: a batch is 2**24 bytes
            sums += rows.sum(axis=0, dtype=np.uint64)
        else:
            sums += images.sum(axis=(0, 1, 2), dtype=np.float64)
    return sums


def _check_finite(images: NDArray, first: int, index: ImageIndex) -> None:
    finite = np.isfinite(images).reshape(len(images), -1).all(axis=1)
    if not finite.all():
        sample = first + int(np.argmin(finite))
        problem = "it has NaN or infinity, so there is no mean; mend the file, or leave such images out"
        raise NotFiniteError(problem, index.file, index.dataset, sample // index.images_per_chunk, sample)


def _stored_mean(metadata: Sequence[Metadata], files: Sequence[str], dataset: str) -> NDArray[np.float32]:
    first = metadata[0].mean
    for file, facts in zip(files, metadata, strict=True):
        mean = facts.mean
        if facts.mean_problem:
            raise DataError(facts.mean_problem, file, dataset)
        if mean is None or first is None:
            raise MissingMeanError(
                "no mean is stored in the file (attribute 'mean' of the images): "
                f"`python -m fastprep.show {shlex.quote(file)} --mean --store`{_option(dataset)} computes and stores that of "
                "training images; or pass mean=fastprep.image_mean(training files), numbers, the path of a JSON with R, G "
                "and B, or mean=None to subtract nothing",
                file,
                dataset,
            )
        if not np.array_equal(mean, first):
            raise DataError(f"the stored mean {mean} differs from {first} in {files[0]!r}; pass one mean for all", file, dataset)
    return np.asarray(first, np.float32)


def _option(dataset: str) -> str:
    return "" if dataset == "images" else f" with --images {shlex.quote(dataset)}"


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))


def _tutorial_mean(path: str, channel_order: str | None) -> NDArray[np.float32]:
    """Read {"R": .., "G": .., "B": ..}; images whose channel order is not stored are taken for the tutorial's, BGR."""
    with open(path, encoding="utf-8") as file:
        try:
            means = json.load(file)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"mean file {path!r} is not JSON: {error}") from error
    if channel_order is None:
        _log.warning("the images do not name their channel order; the mean in %s is applied in the tutorial's order, BGR", path)
    order = (channel_order or "BGR").upper()
    if not isinstance(means, dict) or not all(_is_finite(means.get(c)) for c in order):
        raise ValueError(f'mean file {path!r} must have a finite number for each of {", ".join(order)}, like {{"R": 124.9, ...}}')
    return np.array([means[c] for c in order], np.float32)
