"""Bytes of a dataset by ranges of its chunks, read and decoded without HDF5; contiguous data are one chunk."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep._sink import Status
from fastprep.errors import DataError
from fastprep.h5 import _read
from fastprep.h5.axes import Axes
from fastprep.h5.cache import Scratch
from fastprep.h5.chunk_list import list_chunks
from fastprep.h5.file_bytes import FileBytes
from fastprep.h5.filters import SLACK_BYTES, DecodeError, Pipeline, Unsupported
from fastprep.h5.retries import machine_fault
from fastprep.h5.row_index import RowIndex, RowPlaces
from fastprep.h5.storage import Storage, find_storage, storage_by_hdf5

_NOWHERE = -1  # the offset of a chunk that was never written


class Pieces(NamedTuple):
    """Ranges of bytes of chunks that make rows, in the order of the rows and of their bytes.

    Attributes
    ----------
    rows : ndarray of int64, shape (n,)
        To which of the rows that are read each piece belongs.
    chunks : ndarray of int64, shape (n,)
    begins, sizes : ndarray of int64, shape (n,)
        Where a piece begins in its chunk before filters, and how long it is, in bytes.
    """

    rows: NDArray[np.int64]
    chunks: NDArray[np.int64]
    begins: NDArray[np.int64]
    sizes: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class StoredBytes:
    """Where the chunks of a dataset of bytes are, and how they are decoded.

    Attributes
    ----------
    offsets : ndarray of int64, shape (n_chunks,)
        Position of each chunk in the file; -1 if it was never written, and so is zeros.
    sizes, masks : ndarray, shape (n_chunks,)
        As in `fastprep.h5.chunk_list.ChunkList`; empty where there are no filters.
    chunk_bytes : int or ndarray of int64, shape (n_chunks,)
        Size of all chunks, or of each of them, before filters.
    pipeline : Pipeline
    """

    offsets: NDArray[np.int64]
    chunk_bytes: int | NDArray[np.int64]
    sizes: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    masks: NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))
    pipeline: Pipeline = field(default_factory=Pipeline)

    def bytes_of(self, chunks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the sizes of some of the chunks before filters, in bytes."""
        if isinstance(self.chunk_bytes, int):
            return np.full(len(chunks), self.chunk_bytes)
        return self.chunk_bytes[chunks]

    def extents(self, pieces: Pieces) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return offsets and sizes of the ranges of the file that have pieces."""
        if self.pipeline.filters:
            return self.offsets[pieces.chunks], self.sizes[pieces.chunks]
        return np.where(self.offsets[pieces.chunks] < 0, 0, self.offsets[pieces.chunks] + pieces.begins), pieces.sizes

    def read(
        self,
        index: RowIndex,
        file: FileBytes,
        pieces: Pieces,
        samples: NDArray[np.int64],
        lengths: NDArray[np.int64],
        scratch: Scratch,
    ) -> list[NDArray[np.uint8]]:
        """Read rows.

        Parameters
        ----------
        index, file, samples, scratch
            As `RowPlaces.read` takes them.
        pieces : Pieces
            Those of these rows, which lie within their chunks.
        lengths : ndarray of int64, shape (n,)
            Size of each row in bytes, which is that of its pieces together.
        """
        starts = np.cumsum((lengths + 7) // 8 * 8) - (lengths + 7) // 8 * 8
        out = scratch.memory("rows", int(starts[-1] + lengths[-1]))
        before = np.cumsum(pieces.sizes) - pieces.sizes  # bytes of all pieces before
        row_begins = np.cumsum(lengths) - lengths
        targets = starts[pieces.rows] + before - row_begins[pieces.rows]
        is_written = self.offsets[pieces.chunks] != _NOWHERE
        for target, size in zip(targets[~is_written].tolist(), pieces.sizes[~is_written].tolist(), strict=True):
            out[target : target + size] = 0
        if not is_written.all():
            pieces, targets = Pieces(*(values[is_written] for values in pieces)), targets[is_written]
        if self.pipeline.filters:
            self._read_decoded(index, file, pieces, samples, out, targets, scratch)
        elif len(pieces.rows):
            offsets = self.offsets[pieces.chunks] + pieces.begins
            sizes = np.ascontiguousarray(pieces.sizes)
            with file.holding(offsets, sizes) as held:
                status, k = _read.read_ranges(held.number, offsets, sizes, out, targets)
            if status:
                raise _reading_error(index, status, int(samples[pieces.rows[k]]))
        return [out[start : start + length] for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)]

    def _read_decoded(
        self,
        index: RowIndex,
        file: FileBytes,
        pieces: Pieces,
        samples: NDArray[np.int64],
        out: NDArray[np.uint8],
        targets: NDArray[np.int64],
        scratch: Scratch,
    ) -> None:
        """Decode each chunk once, in the order of the file, and copy its pieces."""
        order = np.argsort(pieces.chunks, kind="stable")
        decoded, last = out, -1
        with file.holding(self.offsets[pieces.chunks], self.sizes[pieces.chunks]) as held:
            for k in order.tolist():
                chunk = int(pieces.chunks[k])
                if chunk != last:
                    decoded, last = self._decode(index, held, chunk, int(samples[pieces.rows[k]]), scratch), chunk
                begin, size, target = int(pieces.begins[k]), int(pieces.sizes[k]), int(targets[k])
                out[target : target + size] = decoded[begin : begin + size]

    def _decode(self, index: RowIndex, file: FileBytes, chunk: int, sample: int, scratch: Scratch) -> NDArray[np.uint8]:
        raw = scratch.memory("raw", int(self.sizes[chunk]))
        status = _read.read_bytes(file.number, int(self.offsets[chunk]), raw) if len(raw) else Status.TRUNCATED
        if status:
            raise _reading_error(index, status, sample)
        (chunk_bytes,) = self.bytes_of(np.array([chunk])).tolist()
        out, spare = (scratch.memory(purpose, chunk_bytes + SLACK_BYTES) for purpose in ("chunk", "spare"))
        try:
            return self.pipeline.decode(raw, int(self.masks[chunk]), chunk_bytes, out, spare)
        except DecodeError as error:
            raise DataError(str(error), index.file, index.name_of(sample), None, sample) from error


class StoredPlaces(RowPlaces):
    """Rows that are pieces of the chunks of datasets of bytes.

    Attributes
    ----------
    stored : StoredBytes or None
        The chunks; None if HDF5 reads the rows.
    """

    stored: StoredBytes | None

    @abstractmethod
    def pieces(self, index: RowIndex, stored: StoredBytes, samples: NDArray[np.int64]) -> tuple[Pieces, NDArray[np.int64]]:
        """Return the pieces of rows, and the lengths of rows in bytes; what claims to be too long is an error."""

    def extents(self, index: RowIndex, samples: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the places of chunks, or of parts of them."""
        if self.stored is None:
            return super().extents(index, samples)
        return self.stored.extents(self.pieces(index, self.stored, samples)[0])

    def read(
        self, index: RowIndex, file: FileBytes, kept: Any, samples: NDArray[np.int64], scratch: Scratch
    ) -> list[NDArray[np.uint8]]:
        """Read pieces of chunks."""
        assert self.stored is not None
        pieces, lengths = self.pieces(index, self.stored, samples)
        return self.stored.read(index, file, pieces, samples, lengths, scratch)


def find_stored_bytes(
    dataset: h5py.Dataset, named: tuple[str, str], axes: Axes, element_bytes: int
) -> tuple[Storage, StoredBytes | None, str]:
    """Find out how a dataset is stored, where its chunks are, and why HDF5 has to read it.

    Parameters
    ----------
    dataset, named, axes, element_bytes
        As `find_storage` takes them.

    Returns
    -------
    (Storage, StoredBytes or None, str)
        Without chunks if HDF5 has to read it, for the reason in the text, which is empty otherwise.

    Raises
    ------
    OSError, DataError
        As `find_storage`, or if the list of chunks can't be true.
    """
    try:
        storage = find_storage(dataset, named, axes, element_bytes)
        return storage, _stored_bytes(dataset, named, axes, storage, element_bytes), ""
    except Unsupported as error:
        return storage_by_hdf5(dataset, str(error), axes), None, str(error)


def _stored_bytes(dataset: h5py.Dataset, named: tuple[str, str], axes: Axes, storage: Storage, element_bytes: int) -> StoredBytes:
    """Return where the chunks of a dataset are; `Unsupported` if a part was never written, and is not read as zeros."""
    chunk_bytes = int(np.prod(storage.chunk_shape, dtype=np.int64)) * element_bytes
    if storage.extent is not None:
        return StoredBytes(np.array([storage.extent[0]], np.int64), storage.extent[1])
    chunks = list_chunks(dataset, named, axes, element_bytes)
    if chunks.masks.any() and not storage.pipeline.filters:
        raise Unsupported("chunks that say they skip filters, of which there are none")
    is_written = chunks.offsets > 0  # no chunk can begin with its file
    if not is_written.all() and np.any(np.frombuffer(np.asarray(dataset.fillvalue).tobytes(), np.uint8)):
        raise Unsupported("rows that were never written, and have a fill value")
    offsets = np.where(is_written, chunks.offsets, _NOWHERE)
    if not storage.pipeline.filters:
        return StoredBytes(offsets, chunk_bytes)
    return StoredBytes(offsets, chunk_bytes, chunks.sizes, chunks.masks, storage.pipeline)


def pieces_of_ranges(begins: NDArray[np.int64], ends: NDArray[np.int64], chunk_bytes: int) -> Pieces:
    """Return the pieces of ranges of bytes, counted from the first chunk on, where chunks follow each other."""
    first = begins // chunk_bytes
    counts = np.where(ends > begins, (ends - 1) // chunk_bytes - first + 1, 0)
    rows, numbers = counted(counts)
    chunks = first[rows] + numbers
    lows = np.maximum(begins[rows] - chunks * chunk_bytes, 0)
    highs = np.minimum(ends[rows] - chunks * chunk_bytes, chunk_bytes)
    return Pieces(rows, chunks, lows, highs - lows)


def counted(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for counts 2, 0, 3 the rows 0, 0, 2, 2, 2 and the numbers 0, 1, 0, 1, 2."""
    rows = np.repeat(np.arange(len(counts)), counts)
    return rows, np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]


def _reading_error(index: RowIndex, status: int, sample: int) -> Exception:
    named = index.file, index.name_of(sample)
    if status == Status.TRUNCATED:
        return DataError("the file ends before the row does; it may have been truncated", *named, None, sample)
    return machine_fault(status, *named, None, sample)
