"""Checks of a dataset's header against the size of its file, before anything is allocated or counted by what it says."""

from __future__ import annotations

import math

import h5py

from fastprep.errors import DataError

# No filter compresses better than this. Data that were never written take less, and are accepted up to the limits below
_MAX_COMPRESSION = 2**16
_PLAUSIBLE_BYTES = 2**40
_PLAUSIBLE_BYTES_AT_ONCE = 2**28
_PLAUSIBLE_CHUNKS = 2**22
_MAX_CHUNKS_PER_STORED_CHUNK = 16
_MAX_CHUNKS = 2**27
_MAX_BYTES_ELSEWHERE = 2**60
_CAUSE = "it is damaged, or was never written"


def check_header(dataset: h5py.Dataset, named: tuple[str, str], n_at_once: int = 1) -> None:
    """Compare the shape of a dataset with the size of its file.

    Parameters
    ----------
    dataset : h5py.Dataset
        It has one dimension at least.
    named : (str, str)
        File and dataset as the user named them, for errors.
    n_at_once : int
        Number of rows along the first axis that will be in memory at the same time.

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
        return
    _compare(n_bytes, _PLAUSIBLE_BYTES, file_bytes, header, named)
    at_once = _n_bytes((n_at_once, *dataset.shape[1:]), dataset)
    _compare(at_once, _PLAUSIBLE_BYTES_AT_ONCE, file_bytes, f"{header}, {n_at_once} of them", named)
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


def _n_bytes(sides: tuple[int, ...], dataset: h5py.Dataset) -> int:
    return math.prod(sides) * dataset.dtype.itemsize


def _compare(n_bytes: int, plausible: int, file_bytes: int, header: str, named: tuple[str, str]) -> None:
    if n_bytes > max(plausible, _MAX_COMPRESSION * file_bytes):
        raise DataError(f"{header}: {n_bytes} bytes, in a file of {file_bytes}; {_CAUSE}", *named)
