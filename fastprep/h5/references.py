"""Rows of variable length: the reference of each, 16 bytes as the file has it, which leads to an object of the global heap."""

from __future__ import annotations

import h5py
import numpy as np
from h5py import h5d
from numpy.typing import NDArray

from fastprep._sink import Status
from fastprep.errors import DamagedIndexError
from fastprep.h5 import _read
from fastprep.h5.axes import Axes, four_sides
from fastprep.h5.byte_types import is_text
from fastprep.h5.chunk_list import list_chunks
from fastprep.h5.file_bytes import FileBytes, absolute, bytes_of
from fastprep.h5.files import HDF5_ERRORS
from fastprep.h5.filters import SLACK_BYTES, DecodeError, Unsupported
from fastprep.h5.header_checks import check_header
from fastprep.h5.heap import NO_REFERENCES, REFERENCE, HeapPlaces
from fastprep.h5.retries import machine_fault, raise_machine_fault
from fastprep.h5.row_index import RowIndex
from fastprep.h5.storage import Storage, find_storage, storage_by_hdf5


def index_references(dataset: h5py.Dataset, named: tuple[str, str]) -> RowIndex:
    """Describe a dataset of rows of variable length, for whose type `has_variable_length` holds, and read its references.

    Parameters
    ----------
    dataset : h5py.Dataset
        Shape (N,).
    named : (str, str)
        File and dataset as the user named them.

    Raises
    ------
    OSError
        If the machine fails to read.
    DataError
        If the references can't be read.
    """
    check_header(dataset, named)
    sides = four_sides(dataset.shape)
    axes = Axes("N", sides, sides)
    reason, references = "", NO_REFERENCES
    try:
        check_sizes(dataset.file)
        storage = find_storage(dataset, named, axes, REFERENCE.itemsize)
        references = _read_references(dataset, named, axes, storage)
    except Unsupported as error:
        reason = str(error)
        storage = storage_by_hdf5(dataset, reason, axes)
    path = absolute(named[0])
    places = HeapPlaces(references, is_text(dataset.id.get_type()))
    return RowIndex(*named, path, len(dataset), storage.holder, storage.identity, storage.layout, reason, places)


def check_sizes(file: h5py.File) -> None:
    """Raise `Unsupported` if references of a file are not those of `fastprep.h5.heap.REFERENCE`."""
    address_bytes, size_bytes = file.id.get_create_plist().get_sizes()
    if (address_bytes, size_bytes) != (8, 8):
        raise Unsupported(f"addresses of {address_bytes} bytes and sizes of {size_bytes}")


def _read_references(dataset: h5py.Dataset, named: tuple[str, str], axes: Axes, storage: Storage) -> NDArray[np.void]:
    references = np.zeros(len(dataset), REFERENCE)
    if len(references) == 0:
        return references
    file = bytes_of(dataset.file)
    if storage.extent is not None:
        _fill(references.view(np.uint8), file, storage.extent[0], named)
        return references
    chunks, per_chunk = list_chunks(dataset, named, axes, REFERENCE.itemsize), storage.chunk_shape[0]
    if not chunks.written.all():
        _check_empty(dataset, int(np.argmin(chunks.written)) * per_chunk, named)
    chunk_bytes = per_chunk * REFERENCE.itemsize
    raw = np.empty(int(chunks.sizes.max(initial=0)), np.uint8)
    out, spare = (np.empty(chunk_bytes + SLACK_BYTES, np.uint8) for _ in range(2))
    for number in np.flatnonzero(chunks.written):
        stored, first = raw[: chunks.sizes[number]], int(number) * per_chunk
        _fill(stored, file, int(chunks.offsets[number]), named, int(number), first)
        try:
            decoded = storage.pipeline.decode(stored, int(chunks.masks[number]), chunk_bytes, out, spare)
        except DecodeError as error:
            raise DamagedIndexError(f"the references to its rows are damaged: {error}", *named, int(number), first) from error
        rows = references[first : first + per_chunk]
        rows.view(np.uint8)[:] = decoded[: len(rows) * REFERENCE.itemsize]
    return references


def _fill(buffer: NDArray[np.uint8], file: FileBytes, offset: int, named: tuple[str, str], *place: int) -> None:
    with file.holding(offset, len(buffer)) as held:
        status = _read.read_bytes(held.number, offset, buffer) if len(buffer) else Status.TRUNCATED
    if status == Status.TRUNCATED:
        raise DamagedIndexError("the file ends before the references to its rows do; it may have been truncated", *named, *place)
    if status:
        raise machine_fault(status, *named, *place)


def _check_empty(dataset: h5py.Dataset, row: int, named: tuple[str, str]) -> None:
    """Check that rows which nobody has written are empty, as they are unless the dataset has a fill value.

    HDF5 1.14.6 reads a fill value of variable length only from files that are open for writing.
    """
    if dataset.id.get_create_plist().fill_value_defined() == h5d.FILL_VALUE_DEFAULT:
        return
    try:
        is_empty = len(dataset[row]) == 0
    except HDF5_ERRORS as error:
        raise_machine_fault(error, *named, None, row)
        is_empty = False
    if not is_empty:
        raise Unsupported("rows that were never written, and have a fill value")
