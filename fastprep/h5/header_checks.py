"""What a damaged or hostile header claims: refused before anybody allocates by it or counts up to it."""

from __future__ import annotations

import math

import h5py

from fastprep.errors import DataError

# Nothing compresses better than this; only what was never written takes less, and that is believed up to the limits below
_MOST_COMPRESSION = 2**16
_BELIEVED_BYTES = 2**40
_BELIEVED_BYTES_AT_ONCE = 2**28
_BELIEVED_CHUNKS = 2**22
_CHUNKS_FOR_ONE_THAT_IS_THERE = 16
_MOST_CHUNKS = 2**27
_MOST_BYTES_ELSEWHERE = 2**60
_SO = "it is damaged, or was never written"


def check_claims(dataset: h5py.Dataset, named: tuple[str, str], n_at_once: int = 1) -> None:
    """Compare the shape of a dataset with the size of its file.

    Parameters
    ----------
    dataset : h5py.Dataset
        Of one dimension at least.
    named : (str, str)
        What the user calls its file and itself, for errors.
    n_at_once : int
        Rows along the first axis that will be in memory at the same time.

    Raises
    ------
    DataError
        If it can't be true.
    """
    properties, file_bytes = dataset.id.get_create_plist(), dataset.file.id.get_filesize()
    claim = f"the header says {dataset.shape} {dataset.dtype}"
    n_bytes = _n_bytes(dataset.shape, dataset)
    if properties.get_layout() == h5py.h5d.VIRTUAL or properties.get_external_count():  # the bytes are in other files
        if n_bytes > _MOST_BYTES_ELSEWHERE:
            raise DataError(f"{claim}: {n_bytes} bytes, which no files have; it is damaged", *named)
        return
    _compare(n_bytes, _BELIEVED_BYTES, file_bytes, claim, named)
    at_once = _n_bytes((n_at_once, *dataset.shape[1:]), dataset)
    _compare(at_once, _BELIEVED_BYTES_AT_ONCE, file_bytes, f"{claim}, {n_at_once} of them", named)
    if dataset.chunks is None:
        return
    chunk_bytes = _n_bytes(dataset.chunks, dataset)
    claim = f"{claim} in chunks of {dataset.chunks}"
    _compare(chunk_bytes, _BELIEVED_BYTES_AT_ONCE, file_bytes, f"{claim}, one of them", named)
    n_chunks = math.prod(-(-s // c) for s, c in zip(dataset.shape, dataset.chunks, strict=True))
    if n_chunks <= _BELIEVED_CHUNKS:
        return
    if n_chunks > _MOST_CHUNKS:  # to go through an index of so many takes minutes, and a hole in the file may be as large
        raise DataError(f"{claim}: {n_chunks} of them, and no more than {_MOST_CHUNKS} can be read", *named)
    # one kind of index is no list: it says of as many chunks as the shape has that they are there
    possible = file_bytes // (1 if properties.get_nfilters() else chunk_bytes)
    if n_chunks > _CHUNKS_FOR_ONE_THAT_IS_THERE * min(possible, dataset.id.get_num_chunks()):
        raise DataError(f"{claim}: {n_chunks} of them, and hardly one is there; {_SO}", *named)


def _n_bytes(sides: tuple[int, ...], dataset: h5py.Dataset) -> int:
    return math.prod(sides) * dataset.dtype.itemsize


def _compare(n_bytes: int, believed: int, file_bytes: int, claim: str, named: tuple[str, str]) -> None:
    if n_bytes > max(believed, _MOST_COMPRESSION * file_bytes):
        raise DataError(f"{claim}: {n_bytes} bytes, in a file of {file_bytes}; {_SO}", *named)
