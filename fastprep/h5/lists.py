"""Rows of numbers in a file, of one length or of several: the boxes or the points of each image."""

from __future__ import annotations

import os

import h5py
import numpy as np
from h5py import h5t
from numpy.typing import NDArray

from fastprep.errors import DataError
from fastprep.h5.files import HDF5_ERRORS, get_dataset, open_file
from fastprep.h5.header_checks import check_header, check_whole
from fastprep.h5.retries import raise_machine_fault
from fastprep.h5.types import describe_dataset, number_type
from fastprep.h5.virtual import check_sources

_BLOCK_ROWS = 4096
_PLAUSIBLE_BYTES = 2**26
_MOST_USES = 16  # of each byte of a file


def read_rows(
    path: str | os.PathLike[str], name: str, argument: str, n_rows: int, is_one: bool = False
) -> NDArray | list[NDArray]:
    """Read a dataset with a row for each image as a whole.

    Parameters
    ----------
    path : str or path
    name : str
        Name of the dataset.
    argument : str
        Argument of the Python interface that gave the name, for errors.
    n_rows : int
        Number of images.
    is_one : bool, default False
        Whether the file has one image, without an axis that counts images: a dataset of numbers is its row.

    Returns
    -------
    ndarray of numbers, shape (n_rows, ...), in native byte order; or a list of vectors
        A list where rows have lengths of their own.

    Raises
    ------
    OSError
        If the file does not exist or may not be read.
    DataError
        If there is no such dataset, it is damaged, or it does not have a row of numbers for each image.
    """
    with open_file(path) as file:
        dataset, named = get_dataset(file, name, argument), (file.filename, name)
        is_list = dataset.id.get_type().get_class() == h5t.VLEN
        is_row = is_one and not is_list and dataset.shape is not None
        if not is_row and (not dataset.shape or dataset.shape[0] != n_rows):
            problem = f"{argument} must have a row for each of the {n_rows} images, found {describe_dataset(dataset)}"
            raise DataError(problem, *named)
        try:
            if is_list:
                return _of_any_length(dataset, named, argument)
            if number_type(dataset) is None:
                raise DataError(f"{argument} must be numbers, found {describe_dataset(dataset)}", *named)
            check_whole(dataset, named)
            values = np.asarray(dataset[()])[None] if is_row else np.asarray(dataset[()])
        except HDF5_ERRORS as error:
            if isinstance(error, DataError):
                raise
            raise_machine_fault(error, *named)
            raise DataError(f"HDF5 can't read it: {error}", *named) from error
        return np.ascontiguousarray(values, np.dtype(values.dtype.str).newbyteorder("="))


def _of_any_length(dataset: h5py.Dataset, named: tuple[str, str], argument: str) -> list[NDArray]:
    kind = h5py.check_vlen_dtype(dataset.dtype)
    if not isinstance(kind, np.dtype) or kind.kind not in "iuf" or dataset.ndim != 1:
        raise DataError(f"{argument} must be rows of numbers, found {describe_dataset(dataset)}", *named)
    if not kind.isnative:  # h5py hands their bytes on as if they were in the order of this machine
        problem = f"{argument}: rows of variable length are read in the byte order of this machine only, found {kind.str}"
        raise DataError(f"{problem}; store them anew", *named)
    check_header(dataset, named)
    check_sources(dataset, named)
    most, n_bytes, rows = max(_PLAUSIBLE_BYTES, _MOST_USES * dataset.file.id.get_filesize()), 0, []
    for first in range(0, dataset.shape[0], _BLOCK_ROWS):
        block = [np.asarray(row, kind).reshape(-1) for row in dataset[first : first + _BLOCK_ROWS]]
        n_bytes += sum(row.nbytes for row in block)
        if n_bytes > most:  # a heap that all rows point to
            raise DataError(f"its rows take more than {most} bytes, which the file can't have; it is damaged", *named)
        rows += block
    return rows
