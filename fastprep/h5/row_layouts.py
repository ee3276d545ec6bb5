"""Which datasets hold rows of bytes, and in which layout."""

from __future__ import annotations

import h5py

from fastprep.errors import DataError
from fastprep.h5.references import has_variable_length, index_references
from fastprep.h5.row_index import RowIndex
from fastprep.h5.types import describe_dataset


def holds_rows(dataset: h5py.Dataset) -> bool:
    """Tell whether a dataset has rows of bytes, which can't be pixels: of variable length, and of a type of one byte."""
    return has_variable_length(dataset.id.get_type())


def index_rows(dataset: h5py.Dataset, named: tuple[str, str]) -> RowIndex:
    """Describe a dataset of rows of bytes, and find out where they are.

    Parameters
    ----------
    dataset : h5py.Dataset
        Rows of variable length of a type of one byte, or texts of any length, shape (N,), in a file that is open for reading.
    named : (str, str)
        File and dataset as the user named them.

    Returns
    -------
    RowIndex

    Raises
    ------
    OSError
        If the machine fails to read.
    DataError
        If the dataset does not hold rows of bytes, or what says where they are can't be read.
    """
    if not holds_rows(dataset) or dataset.ndim != 1:
        problem = (
            f"rows of bytes have the shape (N,) and a type of one byte and variable length, found {describe_dataset(dataset)}"
        )
        raise DataError(f"{problem}; h5py writes such rows with dtype=h5py.vlen_dtype('uint8')", *named)
    return index_references(dataset, named)
