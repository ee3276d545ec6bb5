"""Which datasets hold rows of bytes, and in which layout."""

from __future__ import annotations

import contextlib

import h5py

from fastprep.errors import DataError
from fastprep.h5.byte_types import (
    are_images,
    byte_fields,
    has_fixed_length,
    has_variable_length,
    is_text,
    places_looked_at,
    read_stored,
)
from fastprep.h5.files import HDF5_ERRORS
from fastprep.h5.grouped_rows import are_grouped, index_grouped
from fastprep.h5.groups import ImageGroup
from fastprep.h5.joined_rows import are_joined, index_joined, is_flat_image
from fastprep.h5.padded_rows import are_columns, are_padded, index_padded
from fastprep.h5.references import index_references
from fastprep.h5.row_index import RowIndex
from fastprep.h5.types import describe_dataset, number_type

_WAYS = (
    "variable length, dtype=h5py.vlen_dtype('uint8'); a fixed length, such as dtype='V60000'; uint8 of shape (N, longest); or "
    "flat uint8 with a dataset of offsets beside it"
)


def holds_rows(dataset: h5py.Dataset | ImageGroup) -> bool:
    """Tell whether a dataset, or datasets of one image each, have rows of bytes, which are no pixels.

    Types of variable length, texts and opaque bytes can't be pixels. Rows of numbers of one byte are told by the bytes of several
    of them: at least half begin as an encoded image does.
    """
    if not isinstance(dataset, ImageGroup) and (has_variable_length(dataset.id.get_type()) or dataset.ndim > 2):
        return has_variable_length(dataset.id.get_type())
    with contextlib.suppress(DataError, *HDF5_ERRORS):
        if isinstance(dataset, ImageGroup):
            return are_grouped(dataset)
        return are_padded(dataset) or are_joined(dataset)
    return False


def seems_images(dataset: h5py.Dataset) -> bool:
    """Tell whether a dataset that nobody has named may be encoded images: by its type, or by the first bytes of several rows."""
    file_type = dataset.id.get_type()
    if has_variable_length(file_type):
        return dataset.ndim == 1 and not is_text(file_type)
    if dataset.ndim == 1 and has_fixed_length(file_type):
        with contextlib.suppress(*HDF5_ERRORS):
            return are_images(read_stored(dataset, (k,), (1,)).tobytes() for k in places_looked_at(len(dataset)))
        return False
    return holds_rows(dataset)


def index_rows(dataset: h5py.Dataset | ImageGroup, named: tuple[str, str], n_labels: int | None = None) -> RowIndex:
    """Describe a dataset of rows of bytes, and find out where they are.

    Parameters
    ----------
    dataset : h5py.Dataset or ImageGroup
        Rows of variable length of a type of one byte, or texts of any length, shape (N,); padded rows, opaque bytes, or texts of
        one length; all rows as flat bytes, with offsets beside; or a dataset for each row. In a file that is open for reading.
    named : (str, str)
        File and dataset as the user named them.
    n_labels : int, optional
        Number of labels, if it is known.

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
    if isinstance(dataset, ImageGroup):
        if holds_rows(dataset):
            return index_grouped(dataset, named)
    elif has_variable_length(dataset.id.get_type()):
        if dataset.ndim == 1:
            return index_references(dataset, named)
    elif holds_rows(dataset):
        return index_padded(dataset, named) if are_padded(dataset) else index_joined(dataset, named, n_labels)
    check_not_bytes(dataset, named)
    found = describe_dataset(dataset.first if isinstance(dataset, ImageGroup) else dataset)
    raise DataError(
        f"rows of bytes have the shape (N,) and a type of one byte, found {found}; ways to write them: {_WAYS}", *named
    )


def may_be_pixels(dataset: h5py.Dataset | ImageGroup) -> bool:
    """Tell whether values are numbers, which are pixels if a user says their axes or their shape."""
    return number_type(dataset.first if isinstance(dataset, ImageGroup) else dataset) is not None


def check_not_bytes(dataset: h5py.Dataset | ImageGroup, named: tuple[str, str]) -> None:
    """Check that what is not in a known layout does not hold encoded images either.

    Raises
    ------
    DataError
        If it does: as flat bytes without offsets, as rows along the second axis, or in a field of records.
    """
    if isinstance(dataset, ImageGroup):
        return
    problem = ""
    with contextlib.suppress(*HDF5_ERRORS):
        problem = _bytes_in(dataset)
    if problem:
        raise DataError(problem, *named)


def _bytes_in(dataset: h5py.Dataset) -> str:
    """Return what is wrong with a dataset that has encoded images in no known layout; empty if it has none."""
    if is_flat_image(dataset):
        return (
            f"{len(dataset):,} bytes in one row, which begin as an encoded image does, and no dataset beside them says where "
            "each image begins: a number for each image, named 'offsets' or alike; a single image is named in a list, ['NAME']"
        )
    if dataset.ndim == 2 and are_columns(dataset):
        return (
            f"encoded images lie along the second axis of {describe_dataset(dataset)}, as MATLAB and Julia store their arrays; "
            "store the array transposed, so that each image is a row"
        )
    fields = byte_fields(dataset)
    if fields:
        return (
            f"records with bytes in the field {fields[0]!r}: images are a dataset of their own; write that field as one, rows of "
            "dtype=h5py.vlen_dtype('uint8'), and the other fields as they are"
        )
    return ""
