"""Metadata in a file: labels, weights, mean, channel order, names of classes and files."""

from __future__ import annotations

import os
from dataclasses import dataclass

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.errors import DataError
from fastprep.h5.attributes import Attribute, channel_order_of, class_names_of, read_attribute
from fastprep.h5.files import HDF5_ERRORS, get_dataset, open_file
from fastprep.h5.header_checks import check_whole
from fastprep.h5.retries import raise_machine_fault
from fastprep.h5.texts import read_texts
from fastprep.h5.types import as_numbers, describe_type, number_type


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
    notes : tuple of str
        What a user should know of attributes that are not as described here: ignored, or taken in another way.
    """

    mean: NDArray[np.float64] | None
    mean_problem: str | None
    channel_order: str | None
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_metadata(path: str | os.PathLike[str], images: str) -> Metadata:
    """Read the attributes of the images' dataset.

    Parameters
    ----------
    path : str or path
    images : str
        Name of the dataset.

    Returns
    -------
    Metadata

    Raises
    ------
    OSError, DataError
        See `fastprep.h5.open_images`; DataError also if the attributes are damaged.
    """
    with open_file(path) as file:
        return metadata_of(get_dataset(file, images), (file.filename, images))


def metadata_of(dataset: h5py.Dataset, named: tuple[str, str]) -> Metadata:
    """Read the attributes of an open dataset of images; see `read_metadata`. `named`: file and dataset as the user named them."""
    stored, order, names = (read_attribute(dataset, name, named) for name in ("mean", "channel_order", "class_names"))
    mean, problem = _of_each_channel("mean", stored, dataset)
    channel_order, order_note = channel_order_of(order, _channels(dataset))
    class_names, names_note = class_names_of(names)
    return Metadata(mean, problem, channel_order, class_names, tuple(filter(None, (order_note, names_note))))


def _channels(dataset: h5py.Dataset) -> int:
    return dataset.shape[3] if dataset.ndim == 4 else 1


def _of_each_channel(name: str, attribute: Attribute, dataset: h5py.Dataset) -> tuple[NDArray[np.float64] | None, str | None]:
    """Return the value of an attribute as one number for each channel, or None and what is wrong with it."""
    channels = _channels(dataset)
    if attribute.problem:
        return None, f"attribute {name!r} must hold {channels} finite numbers, but {attribute.problem}"
    if attribute.value is None:
        return None, None
    try:
        numbers = np.array(attribute.value, np.float64).reshape(-1)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if len(numbers) != channels or not np.isfinite(numbers).all():
        return None, f"attribute {name!r} must hold {channels} finite numbers, found {attribute.value!r}"
    return numbers, None


def read_labels(path: str | os.PathLike[str], labels: str, n_samples: int) -> NDArray:
    """Read all labels of a file.

    Parameters
    ----------
    path : str or path
    labels : str
        Name of the dataset.
    n_samples : int
        Number of images in the file.

    Returns
    -------
    ndarray, shape (n_samples, ...), any numeric dtype, native byte order
        Bools are uint8, 0 and 1; enumerations are their integers.

    Raises
    ------
    OSError, DataError
        As `fastprep.h5.open_images`; DataError also if there are more or fewer labels than images.
    """
    with open_file(path) as file:
        return labels_of(file, labels, n_samples)


def labels_of(file: h5py.File, labels: str, n_samples: int, dataset: h5py.Dataset | None = None) -> NDArray:
    """Read all labels of an open file; see `read_labels`. `dataset`: their dataset, if it is open already."""
    dataset = get_dataset(file, labels, "labels") if dataset is None else dataset
    if number_type(dataset) is None:
        problem = f"labels must be numbers, found {describe_type(dataset)}; {_way_to_numbers(dataset)}"
        raise DataError(problem, file.filename, labels)
    return _one_for_each(dataset, (file.filename, labels), "label", n_samples)


def _way_to_numbers(dataset: h5py.Dataset) -> str:
    if dataset.id.get_type().get_class() != h5py.h5t.STRING:
        return "store them anew as integers or floats"
    way = "names, numbers = numpy.unique(texts, return_inverse=True)"
    return f"names of classes go into the attribute 'class_names': {way} gives what fastprep.h5.write_images stores"


def weights_of(file: h5py.File, weights: str, n_samples: int) -> NDArray:
    """Read the weight of each sample from an open file.

    Parameters
    ----------
    file : h5py.File
    weights : str
        Name of the dataset.
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
    dataset = get_dataset(file, weights, "sample_weight")
    if number_type(dataset) is None or not dataset.shape or dataset.shape[1:] not in ((), (1,)):
        problem = f"weights must be one number for each image, found {describe_type(dataset)} {dataset.shape}"
        raise DataError(problem, file.filename, weights)
    values = _one_for_each(dataset, (file.filename, weights), "weight", n_samples).reshape(-1)
    if (wrong := ~are_weights(values)).any():
        sample = int(np.argmax(wrong))
        problem = f"weights must not be negative, and finite as float32, found {values[sample]}"
        raise DataError(problem, file.filename, weights, sample=sample)
    return values


def are_weights(values: NDArray) -> NDArray[np.bool_]:
    """Tell which numbers can be weights of samples: finite as float32, and not negative."""
    return (values >= 0) & (values <= np.finfo(np.float32).max)


def check_one_for_each(dataset: h5py.Dataset, named: tuple[str, str], noun: str, n_samples: int) -> None:
    """Check that a dataset has one row for each image.

    Parameters
    ----------
    dataset : h5py.Dataset
    named : (str, str)
        File and dataset as the user named them.
    noun : str
        Name of a row in errors, such as "label".
    n_samples : int
        Number of images in the file.

    Raises
    ------
    DataError
        If it has more or fewer.
    """
    if not dataset.shape or dataset.shape[0] != n_samples:
        raise DataError(f"there must be one {noun} for each of the {n_samples} images, found shape {dataset.shape}", *named)


def _one_for_each(dataset: h5py.Dataset, named: tuple[str, str], noun: str, n_samples: int) -> NDArray:
    check_one_for_each(dataset, named, noun, n_samples)
    check_whole(dataset, named)
    try:
        values = dataset[()]
    except HDF5_ERRORS as error:
        raise_machine_fault(error, *named)
        raise DataError(f"HDF5 can't read it: {error}", *named) from error
    numbers = as_numbers(values)
    return np.ascontiguousarray(numbers, np.dtype(numbers.dtype.str).newbyteorder("="))  # without the names of an enumeration


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


def read_std(path: str | os.PathLike[str], images: str) -> NDArray[np.float64] | None:
    """Return the standard deviation of each channel (attribute `std` of the images); None if the file has no valid one.

    Raises
    ------
    OSError, DataError
        See `fastprep.h5.open_images`.
    """
    with open_file(path) as file:
        dataset = get_dataset(file, images)
        return _of_each_channel("std", read_attribute(dataset, "std", (file.filename, images)), dataset)[0]
