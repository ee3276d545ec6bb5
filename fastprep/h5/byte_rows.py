"""Rows of bytes, such as encoded images, by number, from any thread. `row_layouts` finds where they are."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprep.errors import ChangedError, DataError
from fastprep.h5.cache import Scratch, ThreadScratch
from fastprep.h5.file_bytes import bytes_of, identity_at
from fastprep.h5.files import CHANGED, HDF5_ERRORS, get_dataset, load_filters, open_file
from fastprep.h5.filters import missing_filters
from fastprep.h5.handles import Handles, OpenDataset, OpenFile
from fastprep.h5.retries import raise_machine_fault, read_again
from fastprep.h5.row_index import RowIndex
from fastprep.h5.row_layouts import index_rows
from fastprep.sampling import hashing
from fastprep.system import begin_in_children

_log = logging.getLogger(__name__)


class ByteRows:
    """Rows of bytes of one dataset. Any number of threads may use it at once. After a fork it opens its files again.

    Parameters
    ----------
    index : RowIndex
    handles : Handles, optional
        Keeps the open files. Readers may share it.
    scratch : Scratch, optional
        Memory for rows, in which each thread has one batch at a time. Readers may share it.
    """

    def __init__(self, index: RowIndex, handles: Handles | None = None, scratch: Scratch | None = None) -> None:
        self.index = index
        self._handles = Handles() if handles is None else handles
        self._scratch = ThreadScratch() if scratch is None else scratch
        self._key = object()  # marks what belongs to this reader in `handles`
        begin_in_children(self)

    def begin(self) -> None:
        """Forget what was kept between calls: locks in it do not survive a fork."""
        self._kept = self.index.places.remember()

    def __len__(self) -> int:
        return self.index.n

    def lengths(self) -> NDArray[np.int64]:
        """Length of each row in bytes, as the file says it; where it does not, all rows are read.

        Returns
        -------
        ndarray of int64, shape (N,)

        Raises
        ------
        OSError, DataError
            As `read`.
        """
        lengths = self.index.places.lengths(np.arange(len(self)))
        if lengths is not None:
            return lengths
        return np.array([len(self.read([sample])[0]) for sample in range(len(self))], np.int64)

    def read(self, samples: ArrayLike) -> list[NDArray[np.uint8]]:
        """Read rows, in any order.

        Parameters
        ----------
        samples : array_like of int, shape (n,)
            Rows of the dataset, 0..N-1.

        Returns
        -------
        list of ndarray of uint8
            The bytes of each row, valid until this thread reads again through the same `scratch`.

        Raises
        ------
        IndexError
            If a sample is out of range.
        OSError, MemoryError
            If the machine fails to read, a few times in a row. This says nothing about the rows.
        DataError
            If the file is damaged, naming file, dataset and sample; or if it has changed since it was indexed.
        """
        numbers = np.ascontiguousarray(samples, np.int64)
        if len(numbers) == 0:
            return []
        if numbers.min() < 0 or numbers.max() >= len(self):
            raise IndexError(f"samples must lie in 0..{len(self) - 1}, got {numbers.min()}..{numbers.max()}")
        read = self._read_by_hdf5 if self.index.reason else self._read_directly
        return read_again(lambda: read(numbers), self._close_files)

    def extents(self, samples: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return offsets and sizes of ranges of the file that probably have rows; none where HDF5 reads them."""
        if self.index.reason:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        return self.index.places.extents(self.index, samples)

    def close(self) -> None:
        """Close the files as soon as nobody reads from them. A later read opens them again."""
        self._close_files()

    def __reduce__(self) -> tuple[Any, ...]:
        return ByteRows, (self.index, self._handles, self._scratch)

    def _read_directly(self, samples: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        with self._handles.use((self._key, OpenFile), 1, self._open_file) as file, self._unchanged(file):
            return self.index.places.read(self.index, file, self._kept, samples, self._scratch)

    def _read_by_hdf5(self, samples: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        with self._handles.use((self._key, OpenDataset), 1, self._open_hdf5) as opened:
            rows = [_row_by_hdf5(opened.dataset, int(sample), self.index) for sample in samples]
            if opened.has_changed():
                raise ChangedError(CHANGED, self.index.file, self.index.dataset)
            return rows

    @contextlib.contextmanager
    def _unchanged(self, file: OpenFile) -> Iterator[None]:
        """Raise a ChangedError if the file has changed when the context ends, whatever was wrong with its bytes."""
        try:
            yield
        except DataError as error:
            if file.identity() != self.index.identity:
                problem = f"{error.problem}; the file was {CHANGED}"
                raise ChangedError(problem, self.index.file, error.dataset, None, error.sample) from error
            raise
        if file.identity() != self.index.identity:
            raise ChangedError(CHANGED, self.index.file, self.index.dataset)

    def _close_files(self) -> None:
        for kind in (OpenFile, OpenDataset):
            self._handles.close((self._key, kind))

    def _open_file(self) -> OpenFile:
        file = OpenFile(self.index.holder)
        self._check_identity(file.identity())
        return file

    def _open_hdf5(self) -> OpenDataset:
        self._check_identity(identity_at(self.index.holder))
        return OpenDataset(self.index.path, (self.index.file, self.index.members or self.index.dataset))

    def _check_identity(self, identity: tuple[int, ...]) -> None:
        if identity != self.index.identity:
            raise ChangedError(CHANGED, self.index.file, self.index.dataset)


def open_rows(
    path: str | os.PathLike[str], dataset: str, handles: Handles | None = None, scratch: Scratch | None = None
) -> ByteRows:
    """Open a dataset of rows of bytes, of which three are read directly and through HDF5, and compared.

    Parameters
    ----------
    path : str or path-like
    dataset : str
        Name of a dataset, shape (N,): rows of variable length of a type of one byte, or texts of variable length.
    handles, scratch
        As `ByteRows` takes them.

    Returns
    -------
    ByteRows

    Raises
    ------
    OSError
        If the file can't be opened.
    DataError
        If it has no such dataset, or its references can't be read.
    """
    named = os.fspath(path), dataset
    with open_file(path) as file:
        found = get_dataset(file, dataset)
        index = verified(index_rows(found, named), found)
    return ByteRows(index, handles, scratch)


def verified(index: RowIndex, dataset: h5py.Dataset) -> RowIndex:
    """Return an index that leaves the dataset to HDF5, with a warning, if one of three rows differs from HDF5's."""
    if not index.reason and (different := _first_difference(index, dataset)) is not None:
        index = index.by_hdf5(f"row {different} differs from HDF5's when it is read directly")
    if index.reason:
        load_filters()
        _log.warning(
            "%s: HDF5 has to read %r, which is slower and does not run in parallel: %s", index.file, index.dataset, index.reason
        )
    return index


def _first_difference(index: RowIndex, dataset: h5py.Dataset) -> int | None:
    """Compare the first row, the last one and another one with HDF5's; return the number of one that differs."""
    if index.n == 0:
        return None
    file, kept, scratch = bytes_of(dataset.file), index.places.remember(), Scratch()
    for sample in {0, index.n - 1, int(hashing.draw(hashing.key(index.n), np.zeros(1, np.int64), index.n)[0])}:
        try:
            # first, and HDF5 only where this finds nothing damaged: in some damaged heaps HDF5 loops for ever
            (ours,) = index.places.read(index, file, kept, np.array([sample]), scratch)
            theirs = _row_by_hdf5(dataset, sample, index)
        except DataError:
            continue  # a damaged row is reported when it is asked for
        if ours.tobytes() != theirs.tobytes():
            return sample
    return None


def _row_by_hdf5(dataset: h5py.Dataset, sample: int, index: RowIndex) -> NDArray[np.uint8]:
    """Read one row through HDF5, in memory of its own."""
    try:
        return index.places.read_by_hdf5(dataset, index, sample)
    except DataError:
        raise
    except HDF5_ERRORS as error:
        named = index.file, index.name_of(sample)
        raise_machine_fault(error, *named, None, sample)
        problem = f"HDF5 can't read it: {error}{missing_filters(getattr(dataset, 'first', dataset))}"
        raise DataError(problem, *named, None, sample) from error
