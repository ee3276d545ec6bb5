"""Vectors of numbers in a file that belong to no image each, such as the rows of a part."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from fastprep.errors import DataError
from fastprep.h5.files import HDF5_ERRORS, get_dataset, open_file
from fastprep.h5.header_checks import check_whole
from fastprep.h5.retries import raise_machine_fault
from fastprep.h5.types import describe_type, dtype_of, number_type


def read_vector(path: str | os.PathLike[str], name: str, argument: str) -> NDArray:
    """Read a dataset of numbers or bools as a whole.

    Parameters
    ----------
    path : str or path
    name : str
        Name of the dataset.
    argument : str
        Argument of the Python interface that gave the name, for errors.

    Returns
    -------
    ndarray, shape (n,)
        Integers, floats or bools, in native byte order.

    Raises
    ------
    OSError
        If the file does not exist or may not be read.
    DataError
        If there is no such dataset, it is damaged, or it is not a vector of numbers.
    """
    with open_file(path) as file:
        dataset, named = get_dataset(file, name, argument), (file.filename, name)
        if number_type(dataset) is None or not dataset.shape or dataset.shape[1:] not in ((), (1,)):
            problem = f"{argument} must be a vector of numbers or of bools, found {describe_type(dataset)} {dataset.shape}"
            raise DataError(problem, *named)
        check_whole(dataset, named)
        is_bool = getattr(dtype_of(dataset), "kind", "") == "b"
        try:
            values = np.asarray(dataset[()]).reshape(-1)
        except HDF5_ERRORS as error:
            raise_machine_fault(error, *named)
            raise DataError(f"HDF5 can't read it: {error}", *named) from error
        return values.astype(bool) if is_bool else np.ascontiguousarray(values, np.dtype(values.dtype.str).newbyteorder("="))
