"""Lengths and offsets of rows of bytes, in datasets beside theirs, which are known by their names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.errors import DataError
from fastprep.h5.files import HDF5_ERRORS
from fastprep.h5.header_checks import check_whole
from fastprep.h5.listing import get_quietly, names_in
from fastprep.h5.name_pairs import natural_order
from fastprep.h5.name_words import differ_in_split, words_of
from fastprep.h5.types import number_type

LENGTH_WORDS = {"length", "lengths", "len", "lens", "size", "sizes", "nbytes", "bytes"}
OFFSET_WORDS = {
    *("offset", "offsets", "index", "indices", "indexes", "idx", "indptr", "start", "starts", "begin", "begins"),
    *("ptr", "ptrs", "pointer", "pointers", "position", "positions", "pos"),
}
_MOST_NAMES = 2000
_MOST_COLUMNS = 8  # that are read
_LARGEST = np.iinfo(np.int64).max


class RowColumn(NamedTuple):
    """A number for each row.

    Attributes
    ----------
    name : str
        Of its dataset, in the group of the rows.
    values : ndarray of int64, shape (n,)
        -1 for what is no whole number.
    """

    name: str
    values: NDArray[np.int64]


def columns_beside(dataset: h5py.Dataset, words: set[str], n: int | None = None) -> Iterator[RowColumn]:
    """Yield the columns of whole numbers in the group of a dataset whose names have one of these words, the likeliest first.

    Parameters
    ----------
    dataset : h5py.Dataset
    words : set of str
        `LENGTH_WORDS` or `OFFSET_WORDS`.
    n : int, optional
        How many numbers a column has. None: any number.
    """
    with contextlib.suppress(*HDF5_ERRORS):
        group, own = dataset.parent, (dataset.name or "").rpartition("/")[2]
        found = []
        for stored in names_in(group, _MOST_NAMES):
            name = stored.decode("utf-8", "surrogateescape")
            if name != own and words_of(name) & words and not differ_in_split(name, own):
                found.append(((-len(words_of(name) & words_of(own)), natural_order(name)), stored, name))
        n_read = 0
        for _, stored, name in sorted(found):
            other = get_quietly(group, stored)
            if not isinstance(other, h5py.Dataset) or not _may_be_column(other, n) or n_read >= _MOST_COLUMNS:
                continue
            n_read += 1
            with contextlib.suppress(DataError, *HDF5_ERRORS):
                check_whole(other, (dataset.file.filename, name))
                yield RowColumn(name, _whole_numbers(other[()].reshape(-1)))


def _may_be_column(dataset: h5py.Dataset, n: int | None) -> bool:
    """Tell whether a dataset is a row of numbers, as which MATLAB stores vectors with two axes."""
    if number_type(dataset) is None or not dataset.shape or dataset.size < 1 or max(dataset.shape) != dataset.size:
        return False
    return n is None or dataset.size == n


def _whole_numbers(values: NDArray) -> NDArray[np.int64]:
    if values.dtype.kind == "f":  # as MATLAB stores all numbers
        is_whole = np.isfinite(values) & (np.abs(values) < _LARGEST)
        whole = np.where(is_whole, values, -1)
        return np.where(whole == np.floor(whole), whole, -1).astype(np.int64)
    if values.dtype.kind == "u" and values.dtype.itemsize == 8:
        return np.minimum(values, np.uint64(_LARGEST)).astype(np.int64)
    return values.astype(np.int64)
