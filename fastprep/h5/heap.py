"""Rows of variable length in the global heap, by their references, and what is wrong with those that can't be read, in words."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep._sink import Status
from fastprep.errors import DataError
from fastprep.h5 import _heap
from fastprep.h5._heap import HeapStatus, HeapTables
from fastprep.h5.cache import Scratch
from fastprep.h5.file_bytes import FileBytes
from fastprep.h5.groups import ImageGroup
from fastprep.h5.retries import machine_fault
from fastprep.h5.row_index import RowIndex, RowPlaces

REFERENCE = np.dtype([("length", "<u4"), ("address", "<u8"), ("number", "<u4")])
"""A reference to a row where addresses have 8 bytes: the row's length, the address of a collection of the global heap, and the
number of the object in it (HDF5 File Format Specification, IV.A.2.d). All of it is 0 for an empty row."""

_NO_TEXTS = (
    "it is a text of variable length, and HDF5 keeps no byte of such a text from the first 0 on, so most of the image is lost: "
    "write images anew, with dtype=h5py.vlen_dtype('uint8')"
)

NO_REFERENCES = np.empty(0, REFERENCE)

_HEADER_BYTES = 16  # of a collection
_MARGINS = _heap.MARGIN_BEFORE + _heap.MARGIN_BEHIND
_MOST_OBJECTS = 2**16 - 1  # of a collection


@dataclass(frozen=True, eq=False)
class HeapPlaces(RowPlaces):
    """Rows of variable length.

    Attributes
    ----------
    references : ndarray of `REFERENCE`, shape (N,)
        Empty if HDF5 reads the dataset.
    are_texts : bool
        Whether rows are texts, of which HDF5 keeps no byte from the first 0 on.
    """

    references: NDArray[np.void]
    are_texts: bool = False

    @property
    def advice(self) -> str:
        """What to do about rows that are no images, because they are texts."""
        return _NO_TEXTS if self.are_texts else ""

    def lengths(self, samples: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Return the lengths that references say; None if HDF5 reads the dataset."""
        return self.references["length"][samples].astype(np.int64) if len(self.references) else None

    @property
    def n_bytes(self) -> int | None:
        """Size of all rows together, in bytes; None if HDF5 reads the dataset."""
        return int(self.references["length"].sum(dtype=np.int64)) if len(self.references) else None

    @property
    def n_empty(self) -> int:
        """Number of references that lead nowhere."""
        return int(np.count_nonzero(self.references["length"] == 0))

    def extents(self, index: RowIndex, samples: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the places of the rows, if they are the first of their collections."""
        if not len(self.references):
            return super().extents(index, samples)
        wanted = self.references[samples]
        return wanted["address"].astype(np.int64), wanted["length"].astype(np.int64) + _MARGINS

    def remember(self) -> HeapTables:
        """Return where objects of the heap are; the lock of these tables does not survive a fork."""
        return HeapTables()

    def read(
        self, index: RowIndex, file: FileBytes, kept: HeapTables, samples: NDArray[np.int64], scratch: Scratch
    ) -> list[NDArray[np.uint8]]:
        """Read objects of the heap."""
        return _read_from_heap(index, self.references, file, kept, samples, scratch)

    def read_by_hdf5(self, dataset: h5py.Dataset | ImageGroup, index: RowIndex, sample: int) -> NDArray[np.uint8]:
        """Read one row as h5py does."""
        row = dataset[sample]
        return np.frombuffer(row if isinstance(row, bytes) else row.tobytes(), np.uint8)


def _read_from_heap(
    index: RowIndex,
    references: NDArray[np.void],
    file: FileBytes,
    tables: HeapTables,
    samples: NDArray[np.int64],
    scratch: Scratch,
) -> list[NDArray[np.uint8]]:
    wanted = references[samples]
    lengths = wanted["length"].astype(np.int64)
    _check_claims(index, wanted, lengths, samples)
    # a multiple of 8, so that nothing of a row shares a word with what another one reads
    ends = np.cumsum((lengths + _MARGINS + 7) // 8 * 8)
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]]) + _heap.MARGIN_BEFORE
    out = scratch.memory("rows", int(ends[-1]))
    stored = references.view(np.uint8)
    with _holding_collections(file, wanted["address"].astype(np.int64), index.file_bytes) as held:
        status, position, first, second = _heap.read_rows(held.number, index.file_bytes, tables, stored, samples, out, starts)
    if status:
        sample = int(samples[position])
        if status > 0:
            raise machine_fault(status, index.file, index.name_of(sample), None, sample)
        raise _error(index, sample, _problem(index, references[sample], status, first, second))
    return [out[start : start + length] for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)]


@contextlib.contextmanager
def _holding_collections(file: FileBytes, addresses: NDArray[np.int64], file_bytes: int) -> Iterator[FileBytes]:
    """Have collections of the heap at hand as long as the context lasts: first their headers, which say how long they are."""
    if not file.is_remote:
        yield file
        return
    addresses = np.unique(addresses)
    with file.holding(addresses, np.full(len(addresses), _HEADER_BYTES)) as held:
        claims = [os.pread(held.number, _HEADER_BYTES, address)[8:16] for address in addresses.tolist()]
    claimed = [int.from_bytes(claim, "little") for claim in claims]
    sizes = [min(size, file_bytes) if address else 0 for size, address in zip(claimed, addresses.tolist(), strict=True)]
    if sum(sizes) > file_bytes:  # a damaged one, which the reader finds: it reads no further than a row's bytes
        sizes = [_HEADER_BYTES] * len(sizes)
    with file.holding(addresses, np.array(sizes, np.int64)) as held:
        yield held


def _check_claims(index: RowIndex, wanted: NDArray[np.void], lengths: NDArray[np.int64], samples: NDArray[np.int64]) -> None:
    """Check what references say before memory is taken: where they lead to, and that rows have no more bytes than the file."""
    leads, file_bytes = wanted["address"] > 0, index.file_bytes
    room = file_bytes - _heap.MARGIN_BEFORE - np.minimum(wanted["address"], np.uint64(file_bytes)).astype(np.int64)
    nowhere, outside = ~leads & ((lengths > 0) | (wanted["number"] > 0)), leads & (lengths > room)
    wrong = nowhere | outside | (leads & ((wanted["number"] == 0) | (wanted["number"] > _MOST_OBJECTS)))
    if wrong.any():
        k = int(np.argmax(wrong))
        sample = int(samples[k])
        if nowhere[k]:
            raise _error(
                index,
                sample,
                f"its reference has a length of {lengths[k]} bytes, the number {wanted['number'][k]}, and no address",
            )
        if outside[k]:
            raise _error(index, sample, _problem(index, wanted[k], HeapStatus.OUTSIDE, 0, 0))
        raise _error(index, sample, f"its reference has the number {wanted['number'][k]}, and numbers are 1..{_MOST_OBJECTS}")
    if int(lengths.sum()) > file_bytes:
        _, places = np.unique(samples, return_index=True)
        total, k = int(lengths[places].sum()), int(np.argmax(lengths))
        if total > file_bytes:
            claim = f"{len(places)} rows that are read together claim {total} bytes, this one {lengths[k]} of them"
            raise _error(index, int(samples[k]), f"{claim}, in a file of {file_bytes}")


def _error(index: RowIndex, sample: int, problem: str) -> DataError:
    return DataError(f"{problem}; the file is damaged", index.file, index.name_of(sample), None, sample)


def _problem(index: RowIndex, reference: np.void, status: int, first: int, second: int) -> str:
    """Describe why a row can't be read, for a status of `_heap` and its numbers."""
    length, address, number = reference.item()
    heap = f"the heap collection at byte {address}"
    words: dict[int, str] = {
        Status.TRUNCATED: f"the file ends before {heap} does; it may have been truncated",
        HeapStatus.OUTSIDE: f"its reference leads to {length} bytes in {heap}, in a file of {index.file_bytes}",
        HeapStatus.NO_HEAP: f"its reference leads to byte {address}, where there is no heap collection",
        HeapStatus.HEAP_SIZE: f"{heap} has a size of {first} bytes, where {second} are left of the file",
        HeapStatus.BEYOND: f"object {first} of {heap} has a size of {second} bytes, more than are left of it",
        HeapStatus.FREE_SPACE: f"the free space of {heap} has a size of {first} bytes, where {second} are left",
        HeapStatus.TWICE: f"{heap} has two objects {first}",
        HeapStatus.NO_OBJECT: f"its reference leads to object {number} of {heap}, which is none of the {first} there",
        HeapStatus.LENGTH: f"its reference has a length of {length} bytes, object {number} of {heap} one of {first}",
    }
    return words[status]
