"""Images of a file by their name: indexed, verified, and ready to be read."""

from __future__ import annotations

import os

from fastprep.h5 import verify
from fastprep.h5.axes import check_axes_name
from fastprep.h5.columns import find_quietly, n_rows_of
from fastprep.h5.encoded_reader import reader_of
from fastprep.h5.files import load_filters, open_file
from fastprep.h5.group_index import index_any
from fastprep.h5.groups import Images, describe_images, get_images
from fastprep.h5.index import warn_of_hdf5
from fastprep.h5.reader import Reader


def open_images(
    path: str | os.PathLike[str],
    dataset: Images = "images",
    io: str = "pread",
    axes: str | None = None,
    labels: str | None = "labels",
    shape: tuple[int, int, int] | None = None,
    warns: bool = True,
    n_labels: int | None = None,
) -> Reader:
    """Index a dataset of images, and verify the index on three of them.

    Parameters
    ----------
    path : str or path
    dataset : str or sequence of str
        Shape (N, H, W, C), or (N, H, W) for one channel, unless `axes` or the file name others; or images that have a dataset
        each, see `fastprep.h5.groups.Images`.
    io : {"pread", "mmap"}
        See `Reader`.
    axes : str or None
        Axes of the dataset: a letter N, H, W or C for each. None takes what the file says, and otherwise "NHWC" or "NHW", if its
        shape makes that plausible.
    labels : str or None
        Name of the dataset of labels, whose number is one of the signs, if the file has it.
    shape : (int, int, int) or None
        Height, width and channels of an image, for a dataset of flat rows.
    warns : bool
        Log a warning if HDF5 has to read the dataset.
    n_labels : int or None
        Number of labels, if the file does not have them.

    Returns
    -------
    Reader

    Raises
    ------
    ValueError
        If `io` or `axes` is not one of its values.
    OSError
        If the file does not exist or may not be read.
    DataError
        If it is not HDF5, or the dataset is missing, damaged, does not hold images, or probably has other axes.
    """
    check_axes_name(axes)
    with open_file(path) as file:
        n_rows = n_rows_of(find_quietly(file, labels))
        n_labels = n_labels if n_rows is None else n_rows
        header = index_any(get_images(file, dataset), (file.filename, describe_images(dataset)), axes, n_labels, shape)
        index = verify.complete(header, file)
    if index.reason:
        load_filters()
        if warns:
            warn_of_hdf5(index)
    return reader_of(index, io)
