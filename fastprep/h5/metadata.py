"""Metadata in a file: labels, weights, mean, channel order, names of classes and files."""

from __future__ import annotations

import os
from dataclasses import dataclass

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.errors import DataError
from fastprep.h5.files import HDF5_ERRORS, get_dataset, open_file
from fastprep.h5.header_checks import check_header


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
    """

    mean: NDArray[np.float64] | None
    mean_problem: str | None
    channel_order: str | None
    class_names: tuple[str, ...]


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
        See `fastprep.h5.open_images`; DataError also if `channel_order` is not a string, or `class_names` not a list of strings.
    """
    with open_file(path) as file:
        return metadata_of(get_dataset(file, images), (file.filename, images))


def metadata_of(dataset: h5py.Dataset, named: tuple[str, str]) -> Metadata:
    """Read the attributes of an open dataset of images; see `read_metadata`. `named`: file and dataset as the user named them."""
    try:
        stored, order, names = (dataset.attrs.get(key) for key in ("mean", "channel_order", "class_names"))
    except HDF5_ERRORS as error:
        raise DataError(f"the attributes are damaged: {error}", *named) from error
    mean, problem = _of_each_channel("mean", stored, dataset)
    if not isinstance(order, str | bytes | None):
        raise DataError(f"attribute 'channel_order' must be a string such as 'RGB', found {order!r}", *named)
    if names is not None and (np.ndim(names) != 1 or not all(isinstance(name, str | bytes) for name in names)):
        raise DataError(f"attribute 'class_names' must be a list of strings, found {names!r}", *named)
    return Metadata(mean, problem, None if order is None else _text(order), tuple(map(_text, names if names is not None else ())))


def _of_each_channel(name: str, value: object, dataset: h5py.Dataset) -> tuple[NDArray[np.float64] | None, str | None]:
    """Return the value of an attribute as one number for each channel, or None and what is wrong with it."""
    if value is None:
        return None, None
    channels = dataset.shape[3] if dataset.ndim == 4 else 1
    try:
        numbers = np.array(value, np.float64).reshape(-1)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if len(numbers) != channels or not np.isfinite(numbers).all():
        return None, f"attribute {name!r} must hold {channels} finite numbers, found {value!r}"
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

    Raises
    ------
    OSError, DataError
        As `fastprep.h5.open_images`; DataError also if there are more or fewer labels than images.
    """
    with open_file(path) as file:
        return labels_of(file, labels, n_samples)


def labels_of(file: h5py.File, labels: str, n_samples: int) -> NDArray:
    """Read all labels of an open file; see `read_labels`."""
    dataset = get_dataset(file, labels)
    if dataset.dtype.kind not in "iufb":
        found = "strings" if h5py.check_string_dtype(dataset.dtype) else str(dataset.dtype)
        problem = f"labels must be numbers, found {found}; names of classes go into the attribute 'class_names'"
        raise DataError(problem, file.filename, labels)
    return _one_for_each(dataset, (file.filename, labels), "label", n_samples)


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
    dataset = get_dataset(file, weights)
    if dataset.dtype.kind not in "iufb" or dataset.ndim == 0 or dataset.shape[1:] not in ((), (1,)):
        problem = f"weights must be one number for each image, found {dataset.dtype} {dataset.shape}"
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
    check_header(dataset, named, n_at_once=n_samples)
    try:
        values = dataset[()]
    except HDF5_ERRORS as error:
        raise DataError(f"HDF5 can't read it: {error}", *named) from error
    return np.ascontiguousarray(values, dataset.dtype.newbyteorder("="))


def read_file_names(path: str | os.PathLike[str], n_samples: int) -> list[str]:
    """Return the name of the file that each image comes from (dataset `file_names`).

    Parameters
    ----------
    path : str or path
    n_samples : int
        Number of images in the file.

    Returns
    -------
    list of str
        One name for each image; empty if the file has no such dataset.

    Raises
    ------
    OSError, DataError
        See `fastprep.h5.open_images`.
    """
    with open_file(path) as file:
        try:
            has_names = "file_names" in file
        except HDF5_ERRORS as error:
            raise DataError(f"the file is damaged: {error}", file.filename) from error
        if not has_names:
            return []
        dataset = get_dataset(file, "file_names")
        if dataset.shape != (n_samples,) or h5py.check_string_dtype(dataset.dtype) is None:
            return []
        try:
            return [_text(name) for name in dataset[()]]
        except HDF5_ERRORS as error:
            raise DataError(f"HDF5 can't read it: {error}", file.filename, "file_names") from error


def read_std(path: str | os.PathLike[str], images: str) -> NDArray[np.float64] | None:
    """Return the standard deviation of each channel (attribute `std` of the images); None if the file has no valid one.

    Raises
    ------
    OSError, DataError
        See `fastprep.h5.open_images`.
    """
    with open_file(path) as file:
        dataset = get_dataset(file, images)
        try:
            return _of_each_channel("std", dataset.attrs.get("std"), dataset)[0]
        except HDF5_ERRORS as error:
            raise DataError(f"the attributes are damaged: {error}", file.filename, images) from error


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
