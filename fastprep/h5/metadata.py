"""What a file says about its pictures: labels, mean, channel order, class names."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastprep.h5.errors import DataError
from fastprep.h5.index import get_dataset, open_file


@dataclass(frozen=True)
class Metadata:
    """What a file says about its pictures.

    Attributes
    ----------
    mean : ndarray of float64, shape (C,), or None
        Mean of each channel, in the channel order of the pictures (attribute `mean` of the pictures' dataset).
    channel_order : str or None
        Such as "RGB", "BGR" or "L" (attribute `channel_order`).
    class_names : tuple of str
        Name of each class in the order of the labels (attribute `class_names`); empty if there are none.
    """

    mean: NDArray[np.float64] | None
    channel_order: str | None
    class_names: tuple[str, ...]


def read_metadata(path: str | os.PathLike[str], images: str) -> Metadata:
    """Read the attributes of the pictures' dataset.

    Raises
    ------
    OSError, DataError
        See `fastprep.h5.open_images`; DataError also if an attribute makes no sense.
    """
    with open_file(path) as file:
        dataset = get_dataset(file, images)
        channels = dataset.shape[3] if dataset.ndim == 4 else 1
        attributes = dataset.attrs
        mean = np.array(attributes["mean"], np.float64).reshape(-1) if "mean" in attributes else None
        if mean is not None and (len(mean) != channels or not np.isfinite(mean).all()):
            raise DataError(
                f"attribute 'mean' must hold {channels} finite numbers, found {attributes['mean']}", file.filename, images
            )
        order = attributes.get("channel_order")
        names = attributes.get("class_names")
        return Metadata(
            mean,
            _text(order) if order is not None else None,
            tuple(_text(name) for name in names) if names is not None else (),
        )


def read_labels(path: str | os.PathLike[str], labels: str, n_samples: int) -> NDArray:
    """Read all labels of a file.

    Parameters
    ----------
    path : str or path
    labels : str
        Name of the dataset.
    n_samples : int
        Pictures there are.

    Returns
    -------
    ndarray, shape (n_samples, ...), any numeric dtype, native byte order

    Raises
    ------
    OSError, DataError
        As `fastprep.h5.open_images`; DataError also if there are more or fewer labels than pictures.
    """
    with open_file(path) as file:
        dataset = get_dataset(file, labels)
        if dataset.dtype.kind not in "iufb":
            raise DataError(f"labels must be numbers, found {dataset.dtype}", file.filename, labels)
        if dataset.ndim == 0 or dataset.shape[0] != n_samples:
            raise DataError(
                f"there must be one label for each of the {n_samples} pictures, found shape {dataset.shape}",
                file.filename,
                labels,
            )
        try:
            values = dataset[()]
        except (OSError, RuntimeError) as error:
            raise DataError(f"HDF5 can't read it: {error}", file.filename, labels) from error
        return np.ascontiguousarray(values, dataset.dtype.newbyteorder("="))


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
