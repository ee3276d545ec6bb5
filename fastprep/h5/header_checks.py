"""Checks of a dataset's header against the size of its file, before anything is allocated or counted by what it says."""

from __future__ import annotations

import math
import os

import h5py

from fastprep.errors import DataError
from fastprep.h5.sources import places
from fastprep.h5.virtual import check_sources

# No filter compresses better than this. Data that were never written take less, and are accepted up to the limits below
_MAX_COMPRESSION = 2**16
_PLAUSIBLE_BYTES = 2**40
_PLAUSIBLE_BYTES_AT_ONCE = 2**28
_PLAUSIBLE_CHUNKS = 2**22
_MAX_CHUNKS_PER_STORED_CHUNK = 16
_MAX_CHUNKS = 2**27
_MAX_BYTES_ELSEWHERE = 2**60
# For datasets that are read as a whole: gzip shrinks zeros to a 1030th. Less is accepted up to the limit below
_MAX_COMPRESSION_OF_ALL = 2**12
_PLAUSIBLE_BYTES_OF_ALL = 2**26
_CAUSE = "it is damaged, or was never written"


def check_header(dataset: h5py.Dataset, named: tuple[str, str]) -> None:
    """Compare the shape of a dataset with the size of its file.

    Parameters
    ----------
    dataset : h5py.Dataset
        It has one dimension at least.
    named : (str, str)
        File and dataset as the user named them, for errors.

    Raises
    ------
    DataError
        If the shape can't be true.
    """
    properties, file_bytes = dataset.id.get_create_plist(), dataset.file.id.get_filesize()
    header = f"the header says {dataset.shape} {dataset.dtype}"
    n_bytes = _n_bytes(dataset.shape, dataset)
    if properties.get_layout() == h5py.h5d.VIRTUAL or properties.get_external_count():  # the bytes are in other files
        if n_bytes > _MAX_BYTES_ELSEWHERE:
            raise DataError(f"{header}: {n_bytes} bytes, more than files can have; it is damaged", *named)
        at_once = _n_bytes(dataset.shape[1:], dataset)
        if at_once > _PLAUSIBLE_BYTES_AT_ONCE and at_once > _MAX_COMPRESSION_OF_ALL * (stored := _stored_bytes(dataset)):
            raise DataError(f"{header}, 1 of them: {at_once} bytes in memory, of which {stored} are stored; {_CAUSE}", *named)
        return
    _compare(n_bytes, _PLAUSIBLE_BYTES, file_bytes, header, named)
    _compare(_n_bytes(dataset.shape[1:], dataset), _PLAUSIBLE_BYTES_AT_ONCE, file_bytes, f"{header}, 1 of them", named)
    if dataset.chunks is None:
        return
    chunk_bytes = _n_bytes(dataset.chunks, dataset)
    header = f"{header} in chunks of {dataset.chunks}"
    _compare(chunk_bytes, _PLAUSIBLE_BYTES_AT_ONCE, file_bytes, f"{header}, one of them", named)
    n_chunks = math.prod(-(-s // c) for s, c in zip(dataset.shape, dataset.chunks, strict=True))
    if n_chunks <= _PLAUSIBLE_CHUNKS:
        return
    if n_chunks > _MAX_CHUNKS:  # reading an index of so many takes minutes, and a hole in the file may be as large
        raise DataError(f"{header}: {n_chunks} of them, and no more than {_MAX_CHUNKS} can be read", *named)
    # the implicit index is not a list: it counts all chunks of the shape as stored, so the size of the file is a limit, too
    possible = file_bytes // (1 if properties.get_nfilters() else chunk_bytes)
    if n_chunks > _MAX_CHUNKS_PER_STORED_CHUNK * min(possible, dataset.id.get_num_chunks()):
        raise DataError(f"{header}: {n_chunks} of them, and hardly any is stored; {_CAUSE}", *named)


def check_whole(dataset: h5py.Dataset, named: tuple[str, str]) -> None:
    """Compare the shape of a dataset with the bytes that are stored for it, before all of it is read into memory.

    Parameters
    ----------
    dataset : h5py.Dataset
        It has one dimension at least.
    named : (str, str)
        File and dataset as the user named them, for errors.

    Raises
    ------
    DataError
        If it would take more than 64 MiB, and more than 4096 times what is stored; or if it is virtual, and what it takes its
        values from is not there.
    """
    check_header(dataset, named)
    n_bytes, stored = _n_bytes(dataset.shape, dataset), _stored_bytes(dataset)
    if n_bytes > max(_PLAUSIBLE_BYTES_OF_ALL, _MAX_COMPRESSION_OF_ALL * stored):
        header = f"the header says {dataset.shape} {dataset.dtype}"
        raise DataError(f"{header}: {n_bytes} bytes in memory, of which {stored} are stored; {_CAUSE}", *named)
    check_sources(dataset, named)


def _stored_bytes(dataset: h5py.Dataset) -> int:
    """Return how many bytes are stored for a dataset, at most: in its file, or in all files that it takes its values from."""
    properties, folder = dataset.id.get_create_plist(), os.path.dirname(os.path.abspath(dataset.file.filename))
    if dataset.is_virtual:
        names = {part.file_name for part in dataset.virtual_sources()}
        if any("%" in name for name in names):  # a pattern for as many files as exist
            return _MAX_BYTES_ELSEWHERE
        names = {dataset.file.filename if name == "." else name for name in names}
    elif properties.get_external_count():
        names = {os.fsdecode(name) for name, _, _ in dataset.external}
    else:
        return int(min(dataset.id.get_storage_size(), dataset.file.id.get_filesize()))
    paths = {path for name in names for path in places(name, folder) if os.path.isfile(path)}
    return sum(os.path.getsize(path) for path in paths)


def _n_bytes(sides: tuple[int, ...], dataset: h5py.Dataset) -> int:
    return math.prod(sides) * dataset.dtype.itemsize


def _compare(n_bytes: int, plausible: int, file_bytes: int, header: str, named: tuple[str, str]) -> None:
    if n_bytes > max(plausible, _MAX_COMPRESSION * file_bytes):
        raise DataError(f"{header}: {n_bytes} bytes, in a file of {file_bytes}; {_CAUSE}", *named)
