"""Writing of encoded images: one row of bytes for each, of its own length, as any program that knows HDF5 can read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import h5py
import numpy as np
from numpy.typing import ArrayLike

from fastprep.h5.marks import is_own, mark
from fastprep.h5.write import new_file, write_facts
from fastprep.system import check_replaceable, whole_file


def write_encoded(
    path: str | os.PathLike[str],
    images: Iterable[bytes],
    labels: ArrayLike | None,
    *,
    mean: ArrayLike | None,
    std: ArrayLike | None,
    covariance: ArrayLike | None,
    channel_order: str,
    class_names: Sequence[str],
    file_names: Sequence[str],
    attributes: dict[str, str],
    writer: str,
) -> None:
    """Write encoded images to a new file, completely or not at all.

    Parameters
    ----------
    path : str or path
        Path of the new file.
    images : iterable of bytes
        The whole JPEG, PNG or other image file, one for each file name.
    mean, std, covariance : array_like or None
        Attributes of the images, of their pixels; None is not written.
    channel_order : {"RGB", "L"}
        Channels to which a loader decodes all images.
    labels, class_names, file_names, attributes, writer
        See `fastprep.h5.write_images`.

    Raises
    ------
    FileExistsError
        If the file exists.
    ValueError
        If the numbers of images and names differ.
    OSError
        If the disk is full.
    """
    path = os.fspath(path)
    check_replaceable(path, asked=False, is_own=is_own)
    with whole_file(path, replace=False) as temporary, new_file(temporary, path) as file:
        mark(file, writer)
        dataset = new_rows(file, "images", len(file_names))
        for row, data in zip(range(len(file_names)), images, strict=True):
            write_row(dataset, row, data)
        numbers = {"mean": mean, "std": std, "covariance": covariance}
        write_facts(dataset, labels, numbers, channel_order, class_names, file_names, attributes)


def new_rows(file: h5py.File, name: str | None, n: int, track_order: bool = False) -> h5py.Dataset:
    """Create a dataset of encoded images, without values.

    Parameters
    ----------
    file : h5py.File
        Open for writing.
    name : str or None
        Name of the new dataset. None: it has no name until it is linked.
    n : int
        Number of images.
    track_order : bool
        Record the order in which attributes are created.
    """
    return file.create_dataset(name, (n,), h5py.vlen_dtype(np.uint8), track_order=track_order)


def write_row(dataset: h5py.Dataset, row: int, data: bytes) -> None:
    """Write an encoded image. Images are written one by one, because h5py takes several of one length for a table."""
    dataset[row] = np.frombuffer(data, np.uint8)
