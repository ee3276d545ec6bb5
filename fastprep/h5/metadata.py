"""Metadata in a file: labels, weights, mean, channel order, names of classes and files."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.errors import DataError
from fastprep.h5.attributes import Attribute, channel_order_of, class_names_of, read_attribute
from fastprep.h5.columns import Column, find_column, read_column
from fastprep.h5.files import HDF5_ERRORS, get_dataset, open_file
from fastprep.h5.groups import ImageGroup, Images, describe_images, get_images, is_group, owner_of, read_group
from fastprep.h5.retries import raise_machine_fault
from fastprep.h5.stored_meaning import describe_filled, notes_of_meaning
from fastprep.h5.texts import read_texts
from fastprep.h5.types import describe_type, number_type

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Metadata:
    """The attributes of the images in a file.

    Attributes
    ----------
    mean : ndarray of float64, shape (C,), or None
        Mean of each channel, in the channel order of the images (attribute `mean` of the images' dataset).
    mean_problem : str or None
        What is wrong with that attribute, for callers that need the mean.
    channel_order : str or None
        "RGB", "BGR" or "L", for example (attribute `channel_order`).
    class_names : tuple of str
        Name of each class in the order of the labels (attribute `class_names`); empty if the file has none.
    covariance : ndarray of float64, shape (C, C), or None
        Covariance of the channels over all pixels (attribute `covariance`).
    covariance_problem : str or None
        What is wrong with that attribute, for callers that need it.
    notes : tuple of str
        What a user should know of attributes that are not as described here, ignored or taken in another way, and of those that
        give the numbers a meaning which loaders do not apply.
    """

    mean: NDArray[np.float64] | None
    mean_problem: str | None
    channel_order: str | None
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    covariance: NDArray[np.float64] | None = None
    covariance_problem: str | None = None


def read_metadata(path: str | os.PathLike[str], images: Images, channels: int | None = None) -> Metadata:
    """Read the attributes of the images' dataset.

    Parameters
    ----------
    path : str or path
    images : str
        Name of the dataset.
    channels : int, optional
        Number of channels of the images. None: that of a dataset (N, H, W, C) or (N, H, W).

    Returns
    -------
    Metadata

    Raises
    ------
    OSError, DataError
        See `fastprep.h5.open_images`; DataError also if the attributes are damaged.
    """
    with open_file(path) as file:
        return metadata_of(get_images(file, images), (file.filename, describe_images(images)), channels)


def metadata_of(dataset: h5py.Dataset | ImageGroup, named: tuple[str, str], channels: int | None = None) -> Metadata:
    """Read the attributes of open images; see `read_metadata`. `named`: file and dataset as the user named them."""
    owner = owner_of(dataset)
    channels = _channels(dataset) if channels is None else channels
    wanted = "mean", "covariance", "channel_order", "class_names"
    stored, spread, order, names = (read_attribute(owner, name, named) for name in wanted)
    if isinstance(dataset, ImageGroup) and order.value is None and not order.problem:
        order = read_attribute(dataset.first, "channel_order", named)
    mean, problem = _of_each_channel("mean", stored, channels)
    covariance, spread_problem = _of_each_channel("covariance", spread, channels, n_each=channels)
    channel_order, order_note = channel_order_of(order, channels)
    class_names, names_note = class_names_of(names)
    meaning = [] if isinstance(dataset, ImageGroup) else notes_of_meaning(dataset, named)
    notes = tuple(filter(None, (order_note, names_note, *meaning)))
    covariance = None if covariance is None else covariance.reshape(channels, channels)
    return Metadata(mean, problem, channel_order, class_names, notes, covariance, spread_problem)


def _channels(dataset: h5py.Dataset | ImageGroup) -> int:
    return dataset.shape[3] if dataset.ndim == 4 else 1


def _of_each_channel(
    name: str, attribute: Attribute, channels: int, n_each: int = 1
) -> tuple[NDArray[np.float64] | None, str | None]:
    """Return the value of an attribute as `n_each` numbers for each channel, or None and what is wrong with it."""
    wanted = f"attribute {name!r} must hold {channels * n_each} finite numbers"
    if attribute.problem:
        return None, f"{wanted}, but {attribute.problem}"
    if attribute.value is None:
        return None, None
    try:
        numbers = np.array(attribute.value, np.float64).reshape(-1)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if len(numbers) != channels * n_each or not np.isfinite(numbers).all():
        return None, f"{wanted}, found {attribute.value!r}"
    return numbers, None


def read_labels(path: str | os.PathLike[str], labels: str, n_samples: int) -> NDArray:
    """Read all labels of a file.

    Parameters
    ----------
    path : str or path
    labels : str
        Name of the dataset, or "dataset:field" of a dataset of records.
    n_samples : int
        Number of images in the file.

    Returns
    -------
    ndarray, shape (n_samples, ...)
        Numbers of any type in native byte order, or texts, type object, shape (n_samples,). Bools are uint8, 0 and 1;
        enumerations are their integers.

    Raises
    ------
    OSError, DataError
        As `fastprep.h5.open_images`; DataError also if there are more or fewer labels than images.
    """
    with open_file(path) as file:
        return labels_of(file, labels, n_samples)


def labels_of(
    file: h5py.File,
    labels: str,
    n_samples: int,
    column: Column | None = None,
    images: Sequence[str] = (),
    of_one_image: bool = False,
) -> NDArray:
    """Read all labels of an open file; see `read_labels`.

    `images`: names of those that have a dataset each; `of_one_image`: whether the file has one, without an axis N, whose
    label may lack it, too.
    """
    if column is None and is_group(labels):
        return read_group(file, labels, images, n_samples)
    column = find_column(file, labels, "labels") if column is None else column
    values = read_column(column, (file.filename, labels), "label", n_samples, of_one_image)
    _warn_of_filled(column, file.filename, labels, values, "labels")
    return values


def read_weights(path: str | os.PathLike[str], weights: str, n_samples: int) -> NDArray:
    """Read the weight of each sample from a file; see `weights_of`."""
    with open_file(path) as file:
        return weights_of(file, weights, n_samples)


def weights_of(file: h5py.File, weights: str, n_samples: int) -> NDArray:
    """Read the weight of each sample from an open file.

    Parameters
    ----------
    file : h5py.File
    weights : str
        Name of the dataset, or "dataset:field" of a dataset of records.
    n_samples : int
        Number of images in the file.

    Returns
    -------
    ndarray, shape (n_samples,), any numeric dtype, native byte order
        Finite as float32, and not negative.

    Raises
    ------
    DataError
        If there is no such dataset, or it holds anything else.
    """
    column = find_column(file, weights, "sample_weight")
    dataset, named = column.dataset, (file.filename, weights)
    n_each = math.prod(dataset.shape[1:]) if dataset.shape else 0
    is_row = bool(dataset.shape) and dataset.shape[-1] == n_samples == math.prod(dataset.shape)
    if column.field is None and (number_type(dataset) is None or (n_each != 1 and not is_row)):
        problem = f"weights must be one number for each image, found {describe_type(dataset)} {dataset.shape}"
        raise DataError(problem, *named)
    values = read_column(column, named, "weight", n_samples).reshape(-1)
    _warn_of_filled(column, *named, values, "weights")
    if (wrong := ~are_weights(values)).any():
        sample = int(np.argmax(wrong))
        problem = f"weights must not be negative, and finite as float32, found {values[sample]}"
        raise DataError(problem, file.filename, weights, sample=sample)
    return values


def _warn_of_filled(column: Column, file: str, name: str, values: NDArray, what: str) -> None:
    if column.field is None and (words := describe_filled(column.dataset, values, what)):
        _log.warning("%s: dataset %r: %s", file, name, words)


def are_weights(values: NDArray) -> NDArray[np.bool_]:
    """Tell which numbers can be weights of samples: finite as float32, and not negative."""
    return (values >= 0) & (values <= np.finfo(np.float32).max)


def read_file_names(path: str | os.PathLike[str], n_samples: int, n_first: int | None = None) -> list[str]:
    """Return the name of the file that each image comes from (dataset `file_names`).

    Parameters
    ----------
    path : str or path
    n_samples : int
        Number of images in the file.
    n_first : int, optional
        Number of names to read. By default all of them.

    Returns
    -------
    list of str
        One name for each image; empty if the file has no such dataset, or one that was never written.

    Raises
    ------
    OSError, DataError
        See `fastprep.h5.open_images`; DataError also if the names would take more memory than names do.
    """
    with open_file(path) as file:
        try:
            has_names = "file_names" in file
        except HDF5_ERRORS as error:
            raise_machine_fault(error, file.filename)
            raise DataError(f"the file is damaged: {error}", file.filename) from error
        if not has_names:
            return []
        dataset, named = get_dataset(file, "file_names"), (file.filename, "file_names")
        try:
            if dataset.shape != (n_samples,) or dataset.id.get_type().get_class() != h5py.h5t.STRING:
                return []
            if dataset.id.get_storage_size() == 0 and not dataset.is_virtual:
                return []
            return read_texts(dataset, named, n_samples if n_first is None else min(n_first, n_samples))
        except DataError:
            raise
        except HDF5_ERRORS as error:
            raise_machine_fault(error, *named)
            raise DataError(f"HDF5 can't read it: {error}", *named) from error


def read_std(path: str | os.PathLike[str], images: Images, channels: int | None = None) -> NDArray[np.float64] | None:
    """Return the standard deviation of each channel (attribute `std` of the images); None if the file has no valid one.

    `channels` as in `read_metadata`.

    Raises
    ------
    OSError, DataError
        See `fastprep.h5.open_images`.
    """
    with open_file(path) as file:
        dataset = get_images(file, images)
        owner = owner_of(dataset)
        channels = _channels(dataset) if channels is None else channels
        stored = read_attribute(owner, "std", (file.filename, describe_images(images)))
        return _of_each_channel("std", stored, channels)[0]
