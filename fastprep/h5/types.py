"""Types of the values in datasets: which are numbers, and words for those that are not, or that numpy lacks."""

from __future__ import annotations

import h5py
import numpy as np
from h5py import h5t

_MOST_BYTES = 8  # of a number; numpy's longer floats are not the same on all machines, and no tensor has them

_LARGEST_WHOLE = 2**53  # float64 holds all whole numbers up to it

FAILURES = (OSError, RuntimeError, KeyError, ValueError, TypeError)
"""Exceptions that h5py raises for an object that it can't open or describe."""

_KINDS = {
    h5t.TIME: "times",
    h5t.STRING: "strings",
    h5t.BITFIELD: "bit fields",
    h5t.OPAQUE: "opaque bytes",
    h5t.COMPOUND: "records of several fields",
    h5t.REFERENCE: "references to other objects",
    h5t.ENUM: "enumerated values",
    h5t.VLEN: "rows of variable length",
    h5t.ARRAY: "arrays",
}


def dtype_of(dataset: h5py.Dataset) -> np.dtype | None:
    """Type that numpy has for the values of a dataset; None if it has none.

    h5py raises for such a type, as it does for a damaged one; the type of a whole dataset does not make its file damaged.
    """
    try:
        return np.dtype(dataset.dtype)
    except FAILURES:
        return None


def number_type(dataset: h5py.Dataset) -> np.dtype | None:
    """Type of the numbers in a dataset, or None if it holds anything else.

    Bools of h5py (an enumeration of FALSE and TRUE) are uint8, 0 and 1, as are those of PyTables (bit fields). Other
    enumerations are their integers.

    Parameters
    ----------
    dataset : h5py.Dataset

    Returns
    -------
    dtype or None
        An integer or a float of at most 8 bytes, in the byte order of the file.
    """
    dtype = dtype_of(dataset)
    if dtype is None or dtype.kind not in "iufb" or dtype.itemsize > _MOST_BYTES:
        return None
    return np.dtype(np.uint8) if dtype.kind == "b" else np.dtype(dtype.str)  # without the names of an enumeration


def stored_number_type(dataset: h5py.Dataset) -> h5t.TypeID:
    """HDF5's type of the numbers in a file: of an enumeration, that of its integers."""
    file_type = dataset.id.get_type()
    return file_type.get_super() if file_type.get_class() == h5t.ENUM else file_type


def is_plain(file_type: h5t.TypeID, dtype: np.dtype) -> bool:
    """Tell whether the bytes of numbers in a file are those of a numpy type: no bits are left out, and none are moved.

    Parameters
    ----------
    file_type : h5py.h5t.TypeID
        From `stored_number_type`.
    dtype : dtype
        From `number_type`.
    """
    if file_type.get_class() == h5t.BITFIELD:
        whole = getattr(h5t, f"STD_B{8 * dtype.itemsize}{'BE' if dtype.byteorder == '>' else 'LE'}")
        return bool(file_type.equal(whole))
    if dtype.itemsize == 1:
        return file_type.get_precision() == 8 and file_type.get_offset() == 0
    return bool(file_type.equal(h5t.py_create(dtype)))


def as_numbers(values: np.ndarray) -> np.ndarray:
    """View bools as uint8; anything else is returned as it is."""
    return values.view(np.uint8) if values.dtype == np.bool_ else values


class OutOfRange(Exception):
    """Integers that the type in which images are handed on does not hold exactly.

    Attributes
    ----------
    row : int
        Which image of a block has the first of them.
    """

    def __init__(self, row: int, value: int, dtype: np.dtype) -> None:
        limit = f"{dtype} holds whole numbers up to {_LARGEST_WHOLE} exactly"
        super().__init__(f"the value {value} is too large for the kernels: {limit}; store the images anew, scaled down")
        self.row = row


def widened(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return stored numbers in the type in which they are handed on, which is the same array if that is theirs.

    Raises
    ------
    OutOfRange
        If integers of 64 bits are beyond those that `dtype` holds exactly.
    """
    if dtype.kind == "f" and values.dtype.kind in "iu" and values.dtype.itemsize == 8 and values.size:
        bad = values > _LARGEST_WHOLE
        if values.dtype.kind == "i":
            bad |= values < -_LARGEST_WHOLE
        if bad.any():
            where = np.unravel_index(int(np.argmax(bad)), values.shape)
            raise OutOfRange(int(where[0]), int(values[where]), dtype)
    return values.astype(dtype, copy=False)


def describe_type(dataset: h5py.Dataset) -> str:
    """Words for the type of the values in a dataset: numpy's name for it, or what HDF5 says of a type that numpy lacks."""
    dtype = dtype_of(dataset)
    if dtype is not None and dtype.kind not in "OSV":
        return str(dtype)
    file_type = dataset.id.get_type()
    kind, n_bits = file_type.get_class(), 8 * file_type.get_size()
    if kind == h5t.VLEN:
        inner = h5py.check_vlen_dtype(dtype) if dtype is not None else None
        return f"rows of variable length, of {inner}" if isinstance(inner, np.dtype) else _KINDS[kind]
    if kind in (h5t.INTEGER, h5t.FLOAT):
        noun = "floats" if kind == h5t.FLOAT else "integers"
        return f"{n_bits}-bit {noun}, a type that numpy lacks"
    words = _KINDS.get(kind, "values of an unknown kind")
    return words if dtype is not None else f"{words}, a type that numpy lacks"


def describe_dataset(dataset: h5py.Dataset) -> str:
    """Words for the shape and the type of a dataset, such as "(23, 12, 14, 3) uint8"."""
    return f"{dataset.shape} {describe_type(dataset)}"
