"""Rows of bytes that have a dataset each: a vector of uint8, or a scalar of opaque bytes, of a text, or of variable length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep._sink import Status
from fastprep.errors import DamagedIndexError, DataError
from fastprep.h5 import _read
from fastprep.h5.axes import Axes
from fastprep.h5.byte_types import (
    are_images,
    has_variable_length,
    head_of,
    is_one_byte,
    is_row,
    is_text,
    places_looked_at,
    read_stored,
)
from fastprep.h5.chunk_list import list_chunks
from fastprep.h5.file_bytes import FileBytes, absolute, bytes_of, identity_at
from fastprep.h5.filters import Pipeline, Unsupported, pipeline_of
from fastprep.h5.groups import ImageGroup
from fastprep.h5.header_checks import check_header
from fastprep.h5.heap import NO_REFERENCES, REFERENCE, HeapPlaces
from fastprep.h5.references import check_sizes
from fastprep.h5.retries import machine_fault, raise_machine_fault
from fastprep.h5.row_index import RowIndex, RowPlaces, check_claims
from fastprep.h5.storage import beyond_end, check_access, identity_of_open
from fastprep.h5.stored_bytes import Pieces, StoredBytes, StoredPlaces, counted
from fastprep.h5.types import describe_dataset


class _Chunks(NamedTuple):
    """The chunks of one row."""

    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    masks: NDArray[np.uint32]
    chunk_bytes: int


_NO_CHUNKS = _Chunks(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint32), 1)


def are_grouped(group: ImageGroup) -> bool:
    """Tell whether datasets are encoded images, one each. Vectors of numbers, which may be pixels, are told by their first bytes.

    Raises
    ------
    OSError, RuntimeError, DataError
        If HDF5 can't read them.
    """
    if not is_row(group.first):
        return False
    if not is_one_byte(group.first.id.get_type()):
        return True
    members = map(group.member, places_looked_at(len(group)))
    return are_images(head_of(member) for member in members if is_row(member) and is_one_byte(member.id.get_type()))


def index_grouped(group: ImageGroup, named: tuple[str, str]) -> RowIndex:
    """Describe datasets for which `are_grouped` holds.

    Parameters
    ----------
    group : ImageGroup
    named : (str, str)
        File and images as the user named them.

    Raises
    ------
    OSError
        If the machine fails to read.
    DataError
        If one of them is no row of bytes, or can't be where its header says.
    """
    file, reason = group.first.file, ""
    lengths = np.zeros(len(group), np.int64)
    try:
        check_access(file)
        check_sizes(file)
        identity = identity_of_open(file)
    except Unsupported as error:
        reason, identity = str(error), identity_at(file.filename)
    rows: list[_Chunks] = []
    pipeline, file_number = None, h5py.h5o.get_info(group.first.id).fileno
    is_in_heap = has_variable_length(group.first.id.get_type())
    for number in range(len(group)):
        dataset = group.member(number)
        its_name = named[0], group.names[number]
        if not _is_empty(dataset) and not is_row(dataset):
            problem = f"images of one group are encoded alike, {group.names[0]!r} as one row of bytes, found"
            way_out = "a pattern such as 'X/*.jpg', or a list of names, leaves others out"
            raise DataError(f"{problem} {describe_dataset(dataset)}; {way_out}", *its_name, None, number)
        if _is_empty(dataset):
            rows.append(_NO_CHUNKS)
            continue
        lengths[number] = dataset.size * dataset.id.get_type().get_size()
        if reason:
            continue
        try:
            if h5py.h5o.get_info(dataset.id).fileno != file_number:
                raise Unsupported("images in several files, by links")
            if has_variable_length(dataset.id.get_type()) != is_in_heap:
                raise Unsupported("images stored in different ways")
            chunks, its_pipeline = _chunks_of(dataset, its_name, number, identity[2])
            pipeline = its_pipeline if pipeline is None else pipeline
            if its_pipeline != pipeline:
                raise Unsupported("images stored in different ways")
            rows.append(chunks)
        except Unsupported as error:
            reason = str(error)
    places: RowPlaces
    if is_in_heap:
        references = NO_REFERENCES if reason else _references_of(bytes_of(file), rows, named)
        places = GroupedHeapPlaces(references, is_text(group.first.id.get_type()))
    else:
        places = _places_of(rows, lengths, pipeline or Pipeline(), bool(reason))
    how = f"read by HDF5: {reason}" if reason else "in the heap" if is_in_heap else _how(rows, pipeline)
    path, holder = absolute(named[0]), absolute(file.filename)
    layout = f"one dataset each, {how}"
    return RowIndex(*named, path, len(group), holder, identity, layout, reason, places, group.names)


@dataclass(frozen=True, eq=False)
class GroupedPlaces(StoredPlaces):
    """Rows that have a dataset each.

    Attributes
    ----------
    sizes : ndarray of int64, shape (N,)
        Length of each row in bytes.
    stored : StoredBytes or None
        The chunks of all rows, row by row; None if HDF5 reads them.
    first_chunks : ndarray of int64, shape (N + 1,)
        Which of the chunks is the first one of each row.
    """

    sizes: NDArray[np.int64]
    stored: StoredBytes | None
    first_chunks: NDArray[np.int64]

    def lengths(self, samples: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Return the sizes of datasets in bytes."""
        return self.sizes[samples]

    @property
    def n_bytes(self) -> int | None:
        """Size of all datasets together, in bytes."""
        return int(self.sizes.sum())

    @property
    def n_empty(self) -> int:
        """Number of datasets without bytes."""
        return int(np.count_nonzero(self.sizes == 0))

    def pieces(self, index: RowIndex, stored: StoredBytes, samples: NDArray[np.int64]) -> tuple[Pieces, NDArray[np.int64]]:
        """Return the pieces of rows, and the lengths of rows in bytes; what claims to be too long is an error."""
        lengths = self.sizes[samples]
        check_claims(index, samples, lengths)
        rows, numbers = counted(self.first_chunks[samples + 1] - self.first_chunks[samples])
        chunks = self.first_chunks[samples][rows] + numbers
        chunk_bytes = stored.bytes_of(chunks)
        sizes = np.minimum(lengths[rows] - numbers * chunk_bytes, chunk_bytes)
        return Pieces(rows, chunks, np.zeros_like(chunks), sizes), lengths

    def read_by_hdf5(self, dataset: h5py.Dataset | ImageGroup, index: RowIndex, sample: int) -> NDArray[np.uint8]:
        """Read one dataset as it is stored."""
        assert isinstance(dataset, ImageGroup)
        check_claims(index, np.array([sample]), self.sizes[[sample]])
        member = dataset.member(sample)
        return np.empty(0, np.uint8) if _is_empty(member) else read_stored(member)


class GroupedHeapPlaces(HeapPlaces):
    """Rows of variable length that have a dataset each."""

    def read_by_hdf5(self, dataset: h5py.Dataset | ImageGroup, index: RowIndex, sample: int) -> NDArray[np.uint8]:
        """Read one row as h5py does."""
        assert isinstance(dataset, ImageGroup)
        member = dataset.member(sample)
        if _is_empty(member):
            return np.empty(0, np.uint8)
        row = member[(0,) * member.ndim]
        return np.frombuffer(row if isinstance(row, bytes) else row.tobytes(), np.uint8)


def _is_empty(dataset: h5py.Dataset) -> bool:
    return dataset.shape is None or dataset.size == 0


def _chunks_of(dataset: h5py.Dataset, named: tuple[str, str], number: int, file_bytes: int) -> tuple[_Chunks, Pipeline]:
    """Return where the bytes of a dataset are; `Unsupported` if only HDF5 can find them."""
    properties, n_bytes = dataset.id.get_create_plist(), dataset.size * dataset.id.get_type().get_size()
    layout = properties.get_layout()
    if layout == h5py.h5d.CONTIGUOUS and not properties.get_external_count():
        try:
            offset = dataset.id.get_offset()
        except RuntimeError as error:  # h5py takes an offset of 0 for an error
            raise_machine_fault(error, *named)
            raise DataError("the header says that its data begin at byte 0; it is damaged", *named, None, number) from error
        if offset is None:
            raise Unsupported("never written: all fill value")
        if offset + n_bytes > file_bytes:
            raise DamagedIndexError(beyond_end(offset, n_bytes, file_bytes), *named, None, number)
        return _Chunks(np.array([offset], np.int64), np.array([n_bytes], np.int64), np.zeros(1, np.uint32), n_bytes), Pipeline()
    if layout != h5py.h5d.CHUNKED or not hasattr(dataset.id, "chunk_iter") or has_variable_length(dataset.id.get_type()):
        raise Unsupported("compact layout" if layout == h5py.h5d.COMPACT else "images stored in an unusual way")
    check_header(dataset, named)
    element_bytes, chunk_length = dataset.id.get_type().get_size(), int(np.prod(dataset.chunks))
    sides = (dataset.size, 1, 1, 1)
    if chunk_length != max(dataset.chunks):
        raise Unsupported("images stored in an unusual way")
    try:
        pipeline = pipeline_of(properties, element_bytes)
    except ValueError as error:
        raise DataError(str(error), *named, None, number) from error
    axes = Axes("N", sides, sides) if dataset.ndim == 1 else Axes("NH", sides, sides)
    if dataset.ndim == 2 and dataset.shape[0] == 1:
        raise Unsupported("images stored in an unusual way")
    found = list_chunks(dataset, named, axes, element_bytes)
    if not (found.offsets > 0).all():
        raise Unsupported("rows that were never written")
    if found.masks.any() and not pipeline.filters:
        raise Unsupported("chunks that say they skip filters, of which there are none")
    return _Chunks(found.offsets, found.sizes, found.masks, chunk_length * element_bytes), pipeline


def _places_of(rows: list[_Chunks], lengths: NDArray[np.int64], pipeline: Pipeline, is_by_hdf5: bool) -> GroupedPlaces:
    if is_by_hdf5:
        return GroupedPlaces(lengths, None, np.empty(0, np.int64))
    counts = [len(row.offsets) for row in rows]
    offsets, sizes, masks = (np.concatenate([row[k] for row in rows]) for k in range(3))
    chunk_bytes = np.repeat([row.chunk_bytes for row in rows], counts).astype(np.int64)
    stored = StoredBytes(offsets, chunk_bytes, sizes, masks, pipeline)
    return GroupedPlaces(lengths, stored, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


def _references_of(file: FileBytes, rows: list[_Chunks], named: tuple[str, str]) -> NDArray[np.void]:
    references = np.zeros(len(rows), REFERENCE)
    stored = references.view(np.uint8).reshape(len(rows), REFERENCE.itemsize)
    offsets = np.array([row.offsets[0] for row in rows if len(row.offsets)], np.int64)
    with file.holding(offsets, np.full(len(offsets), REFERENCE.itemsize)) as held:
        for number, row in enumerate(rows):
            if len(row.offsets):
                status = _read.read_bytes(held.number, int(row.offsets[0]), stored[number])
                if status == Status.TRUNCATED:
                    raise DamagedIndexError("the file ends before the reference to a row does", *named, None, number)
                if status:
                    raise machine_fault(status, *named, None, number)
    return references


def _how(rows: list[_Chunks], pipeline: Pipeline | None) -> str:
    if pipeline is not None and pipeline.filters:
        return f"chunked, filters {pipeline.names}"
    return "contiguous" if all(len(row.offsets) <= 1 for row in rows) else "chunked, filters none"
