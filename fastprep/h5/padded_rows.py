"""Rows of one length that are padded at the end: texts of a fixed length, opaque bytes, and uint8 of shape (N, longest).

How long each image is may be told by a dataset beside them. If not, a row is handed on as it is stored: decoders find the end of
an image by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.errors import DataError
from fastprep.h5.axes import Axes, four_sides
from fastprep.h5.byte_types import (
    HEAD_BYTES,
    LEAST_BYTES,
    are_images,
    has_fixed_length,
    is_one_byte,
    places_looked_at,
    read_stored,
)
from fastprep.h5.file_bytes import absolute
from fastprep.h5.groups import ImageGroup
from fastprep.h5.header_checks import check_header
from fastprep.h5.row_columns import LENGTH_WORDS, RowColumn, columns_beside
from fastprep.h5.row_index import RowIndex, check_claims
from fastprep.h5.stored_bytes import Pieces, StoredBytes, StoredPlaces, counted, find_stored_bytes
from fastprep.h5.unwritten import rows_of

_END_MARKERS = (b"\xff\xd9", b"IEND\xaeB`\x82")  # of JPEG and PNG


def are_padded(dataset: h5py.Dataset) -> bool:
    """Tell whether a dataset has padded rows. Rows of numbers, which may be pixels, are told by their first bytes.

    Raises
    ------
    OSError, RuntimeError
        If HDF5 can't read them.
    """
    file_type = dataset.id.get_type()
    if dataset.ndim == 1 and has_fixed_length(file_type):
        return True
    if dataset.ndim != 2 or not is_one_byte(file_type) or 0 in dataset.shape or dataset.shape[1] < LEAST_BYTES:
        return False
    n, width = dataset.shape
    heads = (read_stored(dataset, (row, 0), (1, min(width, HEAD_BYTES))).tobytes() for row in places_looked_at(n))
    return are_images(heads)


def are_columns(dataset: h5py.Dataset) -> bool:
    """Tell whether a dataset of rank 2 has encoded images along its second axis, by their first bytes."""
    if not is_one_byte(dataset.id.get_type()) or 0 in dataset.shape or dataset.shape[0] < LEAST_BYTES:
        return False
    n = dataset.shape[1]
    return are_images(read_stored(dataset, (0, k), (LEAST_BYTES, 1)).tobytes() for k in places_looked_at(n))


def index_padded(dataset: h5py.Dataset, named: tuple[str, str]) -> RowIndex:
    """Describe a dataset for which `are_padded` holds.

    Raises
    ------
    OSError
        If the machine fails to read.
    DataError
        If it can't be as large as its header says, or its list of chunks can't be true.
    """
    check_header(dataset, named)
    is_table = dataset.ndim == 2
    element_bytes = dataset.id.get_type().get_size()
    row_bytes = element_bytes * (dataset.shape[1] if is_table else 1)
    sides = four_sides(dataset.shape)
    axes = Axes("NH" if is_table else "N", sides, sides)
    storage, stored, reason = find_stored_bytes(dataset, named, axes, element_bytes)
    lengths = next((column for column in columns_beside(dataset, LENGTH_WORDS, len(dataset)) if _fit(column, dataset)), None)
    n_in_chunk, piece_bytes = storage.chunk_shape[0], element_bytes * storage.chunk_shape[1]
    told = f", their lengths in {lengths.name!r}" if lengths else ""
    layout = f"padded to {row_bytes:,} bytes{told}; {storage.layout}"
    places = PaddedPlaces(len(dataset), row_bytes, stored, n_in_chunk, piece_bytes, lengths)
    return RowIndex(*named, absolute(named[0]), len(dataset), storage.holder, storage.identity, layout, reason, places)


@dataclass(frozen=True, eq=False)
class PaddedPlaces(StoredPlaces):
    """Rows of one length, and how long what is in each of them is.

    Attributes
    ----------
    n : int
        Number of rows.
    row_bytes : int
    stored : StoredBytes or None
        None if HDF5 reads the dataset.
    n_in_chunk, piece_bytes : int
        Rows of a chunk, and bytes that it has of each of them.
    column : RowColumn or None
        Lengths, as the file says them.
    """

    n: int
    row_bytes: int
    stored: StoredBytes | None
    n_in_chunk: int
    piece_bytes: int
    column: RowColumn | None

    def lengths(self, samples: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Return the lengths of rows in bytes, padding included where nothing says how long it is."""
        return np.full(len(samples), self.row_bytes) if self.column is None else self.column.values[samples]

    @property
    def n_bytes(self) -> int | None:
        """Size of all images together, in bytes; None if nothing says how long they are."""
        return None if self.column is None else int(np.clip(self.column.values, 0, self.row_bytes).sum())

    @property
    def n_empty(self) -> int:
        """Number of rows whose length is 0, or, where nothing says how long they are, that nobody has written."""
        if self.column is not None:
            return int(np.count_nonzero(self.column.values == 0))
        if self.stored is None:
            return 0
        first_chunks = self.stored.offsets[:: self.n_chunks_of_row]
        return rows_of(first_chunks < 0, self.n_in_chunk, self.n)

    @property
    def n_chunks_of_row(self) -> int:
        """Number of chunks that a row lies in."""
        return -(-self.row_bytes // self.piece_bytes)

    def pieces(self, index: RowIndex, stored: StoredBytes, samples: NDArray[np.int64]) -> tuple[Pieces, NDArray[np.int64]]:
        """Return the pieces of rows, and the lengths of rows in bytes; what claims to be too long is an error."""
        lengths = self._checked_lengths(index, samples)
        rows, numbers = counted(-(-lengths // self.piece_bytes))
        chunk_rows, within = np.divmod(samples[rows], self.n_in_chunk)
        sizes = np.minimum(lengths[rows] - numbers * self.piece_bytes, self.piece_bytes)
        return Pieces(rows, chunk_rows * self.n_chunks_of_row + numbers, within * self.piece_bytes, sizes), lengths

    def read_by_hdf5(self, dataset: h5py.Dataset | ImageGroup, index: RowIndex, sample: int) -> NDArray[np.uint8]:
        """Read one row as it is stored."""
        assert isinstance(dataset, h5py.Dataset)
        (length,) = self._checked_lengths(index, np.array([sample])).tolist()
        if dataset.ndim == 1:
            return read_stored(dataset, (sample,), (1,))[:length]
        return read_stored(dataset, (sample, 0), (1, length))

    def _checked_lengths(self, index: RowIndex, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.column is None:
            lengths = np.full(len(samples), self.row_bytes)
            check_claims(index, samples, lengths)
            return lengths
        lengths = self.column.values[samples]
        wrong = (lengths < 0) | (lengths > self.row_bytes)
        if wrong.any():
            k = int(np.argmax(wrong))
            problem = f"its length in {self.column.name!r} is {lengths[k]}, and a row has {self.row_bytes} bytes"
            raise DataError(f"{problem}; the file is damaged", index.file, index.dataset, None, int(samples[k]))
        check_claims(index, samples, lengths)
        return lengths


def _fit(column: RowColumn, dataset: h5py.Dataset) -> bool:
    """Tell whether numbers are the lengths of images: at least half of those that are looked at, as what follows them tells."""
    row_bytes = dataset.id.get_type().get_size() * (dataset.shape[1] if dataset.ndim == 2 else 1)
    verdicts = []
    for sample in places_looked_at(len(dataset)):
        row = read_stored(dataset, (sample, 0)[: dataset.ndim], (1, row_bytes)[: dataset.ndim])
        if row.any():
            verdicts.append(_ends_at(row, int(column.values[sample])))
    return 2 * sum(verdicts) >= len(verdicts) > 0


def _ends_at(row: NDArray[np.uint8], length: int) -> bool:
    """Tell whether an image ends at a place of its row: only padding follows, or an end marker is before it."""
    if not LEAST_BYTES <= length <= len(row):
        return False
    rest, end = row[length:], row[:length].tobytes()
    return bool((rest == 0).all() or (rest == ord(" ")).all()) or end.endswith(_END_MARKERS)
