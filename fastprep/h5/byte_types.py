"""Types whose values are bytes, the values of such a dataset as they are stored, and whether they begin as an image does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import h5py
import numpy as np
from h5py import h5s, h5t
from numpy.typing import NDArray

from fastprep.encoded import kind_of
from fastprep.errors import DecodeError

HEAD_BYTES = 32
"""Bytes at the beginning of an image that tell its kind."""

LEAST_BYTES = 12
"""Bytes that an image has at least."""

_BYTE_CLASSES = (h5t.INTEGER, h5t.OPAQUE, h5t.BITFIELD)
_N_LOOKED_AT = 16  # rows
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # bytes, by its versions


def has_fixed_length(file_type: h5t.TypeID) -> bool:
    """Tell whether a value is a text of a fixed number of bytes, or as many opaque bytes; times of numpy are opaque, too."""
    if file_type.get_class() == h5t.STRING:
        return not file_type.is_variable_str()
    return file_type.get_class() == h5t.OPAQUE and not file_type.get_tag().startswith(b"NUMPY:")


def has_variable_length(file_type: h5t.TypeID) -> bool:
    """Tell whether a type is that of rows of variable length, of numbers of one byte or of characters."""
    if file_type.get_class() == h5t.STRING:
        return bool(file_type.is_variable_str())
    if file_type.get_class() != h5t.VLEN:
        return False
    inner = file_type.get_super()
    return inner.get_class() in _BYTE_CLASSES and inner.get_size() == 1


def is_text(file_type: h5t.TypeID) -> bool:
    """Tell whether a value is a text."""
    return bool(file_type.get_class() == h5t.STRING)


def is_one_byte(file_type: h5t.TypeID) -> bool:
    """Tell whether a value is an integer of one byte, signed or not."""
    return file_type.get_class() == h5t.INTEGER and file_type.get_size() == 1


def byte_fields(dataset: h5py.Dataset) -> list[str]:
    """Return the names of the fields of records that may be encoded images: rows of variable length, opaque bytes."""
    file_type = dataset.id.get_type()
    if file_type.get_class() != h5t.COMPOUND:
        return []
    found = []
    for k in range(file_type.get_nmembers()):
        inner = file_type.get_member_type(k)
        is_opaque = inner.get_class() == h5t.OPAQUE and has_fixed_length(inner)
        if is_opaque or (inner.get_class() == h5t.VLEN and inner.get_super().get_size() == 1):
            found.append(file_type.get_member_name(k).decode("utf-8", "replace"))
    return found


def read_stored(dataset: h5py.Dataset, begin: Sequence[int] = (), sides: Sequence[int] = ()) -> NDArray[np.uint8]:
    """Return the bytes of a part of a dataset through HDF5, as they are stored.

    h5py drops zeros and spaces at the end of texts, and HDF5 changes them, as each kind of text ends in its own way.

    Parameters
    ----------
    dataset : h5py.Dataset
        Of a type for which `has_fixed_length` or `is_one_byte` holds.
    begin, sides : sequence of int
        Where the part begins, and its sides; empty for all of the dataset.
    """
    file_type, space = dataset.id.get_type(), dataset.id.get_space()
    if sides:
        space.select_hyperslab(tuple(begin), tuple(sides))
    n = int(np.prod(sides or dataset.shape, dtype=np.int64))
    values = np.zeros(n, f"V{file_type.get_size()}")
    if n:
        dataset.id.read(h5s.create_simple((n,)), space, values, file_type)
    return values.view(np.uint8)


def places_looked_at(n: int) -> list[int]:
    """Return the numbers of rows from a whole dataset by which it is judged."""
    return sorted(set(np.linspace(0, n - 1, min(n, _N_LOOKED_AT)).astype(np.int64).tolist()))


def is_row(dataset: h5py.Dataset) -> bool:
    """Tell whether a dataset may be one row of bytes; MATLAB stores vectors with two axes."""
    shape, file_type = dataset.shape, dataset.id.get_type()
    if has_fixed_length(file_type) or has_variable_length(file_type):
        return shape is not None and shape in ((), (1,), (1, 1))
    return is_one_byte(file_type) and bool(shape) and len(shape) <= 2 and max(shape) == dataset.size


def head_of(dataset: h5py.Dataset) -> bytes:
    """Return the first bytes of one row of bytes of a known length."""
    if has_fixed_length(dataset.id.get_type()):
        return read_stored(dataset)[:HEAD_BYTES].tobytes()
    sides = tuple(min(side, HEAD_BYTES) for side in dataset.shape)
    return read_stored(dataset, (0,) * dataset.ndim, sides).tobytes()


def begins_an_image(head: bytes) -> bool:
    """Tell whether the first bytes of a row are those of an encoded image. The two letters of a BMP alone are too few."""
    try:
        kind = kind_of(head)
    except DecodeError:
        return False
    return kind != "BMP" or (int.from_bytes(head[14:18], "little") in _BMP_HEADERS and not any(head[6:10]))


def are_images(heads: Iterable[bytes]) -> bool:
    """Tell whether rows are encoded images by their first bytes: at least half of those that are not all zeros, or empty."""
    found = [begins_an_image(head) for head in heads if any(head)]
    return bool(found) and 2 * sum(found) >= len(found)
