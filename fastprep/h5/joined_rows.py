"""Rows that follow each other in one dataset of bytes: one beside it says where each begins, and maybe another how long it is."""

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
    begins_an_image,
    is_one_byte,
    places_looked_at,
    read_stored,
)
from fastprep.h5.file_bytes import absolute
from fastprep.h5.groups import ImageGroup
from fastprep.h5.header_checks import check_header
from fastprep.h5.row_columns import LENGTH_WORDS, OFFSET_WORDS, RowColumn, columns_beside
from fastprep.h5.row_index import RowIndex, check_claims
from fastprep.h5.stored_bytes import Pieces, StoredBytes, StoredPlaces, find_stored_bytes, pieces_of_ranges


def are_joined(dataset: h5py.Dataset) -> bool:
    """Tell whether a dataset has the bytes of all rows, and one beside it says where each of them begins.

    Raises
    ------
    OSError, RuntimeError
        If HDF5 can't read them.
    """
    return _is_flat(dataset) and _find_columns(dataset, None) is not None


def is_flat_image(dataset: h5py.Dataset) -> bool:
    """Tell whether a dataset of rank 1 has bytes that begin as an encoded image does."""
    return _is_flat(dataset) and begins_an_image(_head(dataset, 0))


def index_joined(dataset: h5py.Dataset, named: tuple[str, str], n_labels: int | None = None) -> RowIndex:
    """Describe a dataset for which `are_joined` holds.

    Parameters
    ----------
    dataset : h5py.Dataset
    named : (str, str)
        File and dataset as the user named them.
    n_labels : int, optional
        Number of labels, if it is known: it tells whether the last offset is the end of the last row.

    Raises
    ------
    OSError
        If the machine fails to read.
    DataError
        If it can't be as large as its header says, or its list of chunks can't be true.
    """
    check_header(dataset, named)
    columns = _find_columns(dataset, n_labels)
    assert columns is not None
    sides = four_sides(dataset.shape)
    axes = Axes("N", sides, sides)
    storage, stored, reason = find_stored_bytes(dataset, named, axes, 1)
    offsets, lengths = columns
    told = f"offsets in {offsets.name!r}" + (f", lengths in {lengths.name!r}" if lengths else "")
    layout = f"joined, {told}; {storage.layout.replace(' rows each', ' bytes each')}"
    places = JoinedPlaces(len(dataset), stored, offsets, lengths)
    path = absolute(named[0])
    return RowIndex(*named, path, places.n, storage.holder, storage.identity, layout, reason, places)


@dataclass(frozen=True, eq=False)
class JoinedPlaces(StoredPlaces):
    """Rows that follow each other.

    Attributes
    ----------
    total : int
        Number of bytes of all of them.
    stored : StoredBytes or None
        None if HDF5 reads the dataset.
    offsets : RowColumn
        Where each row begins, and, without `sizes`, where the last one ends.
    sizes : RowColumn or None
        Lengths, if the file has them.
    """

    total: int
    stored: StoredBytes | None
    offsets: RowColumn
    sizes: RowColumn | None

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.offsets.values) - (self.sizes is None)

    def lengths(self, samples: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Return the lengths of rows in bytes."""
        if self.sizes is not None:
            return self.sizes.values[samples]
        return self.offsets.values[samples + 1] - self.offsets.values[samples]

    @property
    def n_bytes(self) -> int | None:
        """Size of all rows together, in bytes."""
        if self.sizes is not None:
            return int(np.clip(self.sizes.values, 0, self.total).sum())
        return self.total

    @property
    def n_empty(self) -> int:
        """Number of rows without bytes."""
        lengths = self.sizes.values if self.sizes is not None else np.diff(self.offsets.values)
        return int(np.count_nonzero(lengths == 0))

    def pieces(self, index: RowIndex, stored: StoredBytes, samples: NDArray[np.int64]) -> tuple[Pieces, NDArray[np.int64]]:
        """Return the pieces of rows, and the lengths of rows in bytes; what claims to be too long is an error."""
        begins, ends = self._checked(index, samples)
        assert isinstance(stored.chunk_bytes, int)
        return pieces_of_ranges(begins, ends, stored.chunk_bytes), ends - begins

    def read_by_hdf5(self, dataset: h5py.Dataset | ImageGroup, index: RowIndex, sample: int) -> NDArray[np.uint8]:
        """Read one range."""
        assert isinstance(dataset, h5py.Dataset)
        begins, ends = self._checked(index, np.array([sample]))
        return read_stored(dataset, begins.tolist(), (ends - begins).tolist())

    def _checked(self, index: RowIndex, samples: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where rows begin and end, which is within the dataset."""
        begins = self.offsets.values[samples]
        lengths = self.lengths(samples)
        assert lengths is not None
        wrong = (begins < 0) | (begins > self.total) | (lengths < 0) | (lengths > self.total - begins)
        if wrong.any():
            k = int(np.argmax(wrong))
            what = f"it begins at {begins[k]} by {self.offsets.name!r}"
            last = int(begins[k]) + int(lengths[k])
            end = f"has {lengths[k]} bytes by {self.sizes.name!r}" if self.sizes else f"ends at {last}"
            problem = f"{what} and {end}, of {self.total} bytes in the dataset; the file is damaged"
            raise DataError(problem, index.file, index.dataset, None, int(samples[k]))
        check_claims(index, samples, lengths)
        return begins, begins + lengths


def _is_flat(dataset: h5py.Dataset) -> bool:
    return dataset.ndim == 1 and is_one_byte(dataset.id.get_type()) and dataset.shape[0] >= LEAST_BYTES


def _find_columns(dataset: h5py.Dataset, n_labels: int | None) -> tuple[RowColumn, RowColumn | None] | None:
    """Return the offsets of rows, and their lengths, if there are such; offsets without lengths have the end of the last row."""
    total = len(dataset)
    for offsets in columns_beside(dataset, OFFSET_WORDS):
        begins = offsets.values
        if not are_images(_heads(dataset, begins, places_looked_at(len(begins)))):
            continue
        for lengths in columns_beside(dataset, LENGTH_WORDS, len(begins)):
            if lengths.name != offsets.name and _fit(begins, lengths.values, total):
                return offsets, lengths
        if n_labels is not None and abs(len(begins) - n_labels - 0.5) < 1:
            has_end = len(begins) == n_labels + 1
        else:
            has_end = len(begins) > 1 and not begins_an_image(_head(dataset, int(begins[-1])))
        return (offsets if has_end else RowColumn(offsets.name, np.append(begins, total))), None
    for lengths in columns_beside(dataset, LENGTH_WORDS):
        if (lengths.values >= 0).all() and float(lengths.values.sum(dtype=float)) == total:
            begins = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths.values)])
            if are_images(_heads(dataset, begins, places_looked_at(len(lengths.values)))):
                return RowColumn(lengths.name, begins), None
    return None


def _heads(dataset: h5py.Dataset, begins: NDArray[np.int64], places: list[int]) -> list[bytes]:
    return [_head(dataset, begin) for begin in begins[places].tolist()]


def _head(dataset: h5py.Dataset, begin: int) -> bytes:
    n_bytes = min(HEAD_BYTES, len(dataset) - begin)
    return read_stored(dataset, (begin,), (n_bytes,)).tobytes() if begin >= 0 and n_bytes > 0 else b""


def _fit(begins: NDArray[np.int64], lengths: NDArray[np.int64], total: int) -> bool:
    """Tell whether numbers are lengths of rows that begin at offsets: half of those looked at end before the next row."""
    verdicts = []
    for k in places_looked_at(len(begins)):
        begin, length, following = int(begins[k]), int(lengths[k]), int(begins[min(k + 1, len(begins) - 1)])
        verdicts.append(LEAST_BYTES <= length <= (following if following > begin else total) - begin)
    return 2 * sum(verdicts) >= len(verdicts)
