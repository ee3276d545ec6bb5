"""Names of files in a dataset, read a block at a time: what the file claims is checked before memory is taken for it."""

from __future__ import annotations

import contextlib
import os

import h5py
import numpy as np
from h5py import h5d, h5s, h5t
from numpy.typing import NDArray

from fastprep.errors import DataError
from fastprep.h5.filters import SLACK_BYTES, DecodeError, Pipeline, Unsupported, pipeline_of

MOST_TEXTS = 2**24
MOST_BYTES = 2**28
"""Limits of a list of texts: their number, and the bytes of all of them."""

_BLOCK_BYTES = 2**24
_LONGEST = 2**20  # bytes of one text
_BLOCK_ROWS = 4096
_WAY_OUT = "nothing but this list needs the dataset, so it may be deleted or renamed"


def read_texts(dataset: h5py.Dataset, named: tuple[str, str], n_rows: int) -> list[str]:
    """Read the first texts of a dataset.

    Parameters
    ----------
    dataset : h5py.Dataset
        Strings of fixed or variable length, shape (N,).
    named : (str, str)
        File and dataset as the user named them, for errors.
    n_rows : int
        Number of texts to read, 1..N.

    Returns
    -------
    list of str

    Raises
    ------
    DataError
        If there are more than `MOST_TEXTS`, one is longer than 1 MiB, or all together are longer than `MOST_BYTES`.
    """
    if n_rows > MOST_TEXTS:
        raise _too_much(f"{n_rows} texts, and no more than {MOST_TEXTS} are read", named)
    file_type = dataset.id.get_type()
    if file_type.is_variable_str():
        return _read_variable(dataset, named, n_rows)
    if file_type.get_size() > _LONGEST:
        raise _too_much(f"texts of {file_type.get_size()} bytes, and none of more than {_LONGEST} is read", named)
    if dataset.chunks and np.prod(dataset.chunks, dtype=object) * file_type.get_size() > MOST_BYTES:
        raise _too_much(f"chunks of {dataset.chunks} texts, which take more than {MOST_BYTES} bytes", named)
    rows_at_once = max(1, _BLOCK_BYTES // file_type.get_size())
    texts: list[str] = []
    n_bytes = 0
    for first in range(0, n_rows, rows_at_once):
        block = dataset[first : min(first + rows_at_once, n_rows)]
        texts += map(text_of, block)  # of an array of bytes, whose items are as long as they are, and not as the longest is
        n_bytes += sum(map(len, texts[first:]))
        _check_bytes(n_bytes, named)
    return texts


def text_of(value: object) -> str:
    """Return a string of h5py or numpy as text that any terminal and file can take: bytes that are not UTF-8 are replaced."""
    raw = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")  # h5py keeps such bytes
    return raw.decode("utf-8", "replace")


def _read_variable(dataset: h5py.Dataset, named: tuple[str, str], n_rows: int) -> list[str]:
    """Read texts of variable length. The file has a length and an address for each, many of which may lead to the same bytes."""
    lengths = _claimed_lengths(dataset, n_rows)
    if lengths is not None and len(lengths):
        if lengths.max() > _LONGEST:
            raise _too_much(f"a text of {lengths.max()} bytes, and none of more than {_LONGEST} is read", named)
        _check_bytes(int(lengths.sum()), named)
    # where the lengths are not known, no block is larger than its rows times the file; one text can't be longer than the file
    file_bytes = dataset.file.id.get_filesize()
    rows_at_once = _BLOCK_ROWS if lengths is not None else min(_BLOCK_ROWS, max(1, MOST_BYTES // file_bytes))
    memory_type, file_space = h5t.py_create(dataset.dtype), dataset.id.get_space()
    texts: list[str] = []
    n_bytes = 0
    for first in range(0, n_rows, rows_at_once):
        block = np.empty(min(rows_at_once, n_rows - first), object)
        file_space.select_hyperslab((first,), block.shape)
        dataset.id.read(h5s.create_simple(block.shape), file_space, block, memory_type)
        texts += map(text_of, block)
        n_bytes += sum(map(len, texts[first:]))
        _check_bytes(n_bytes, named)
    return texts


def _claimed_lengths(dataset: h5py.Dataset, n_rows: int) -> NDArray[np.uint32] | None:
    """Read the length of each text from the descriptors that the file has in its place; None where that can't be done.

    A descriptor is the length (4 bytes), the address of a heap (as long as the file's addresses are) and the number of an
    object in it (4 bytes); HDF5 File Format Specification, IV.A.2.d and III.E.
    """
    file, properties = dataset.file, dataset.id.get_create_plist()
    if file.driver != "sec2" or file.userblock_size or properties.get_external_count():
        return None
    address_bytes, _ = file.id.get_create_plist().get_sizes()
    width, descriptor = 8 + address_bytes, file.id.get_vfd_handle()
    if properties.get_layout() == h5d.CONTIGUOUS:
        offset = dataset.id.get_offset()
        return np.zeros(0, np.uint32) if offset is None else _lengths_in(_pread(descriptor, n_rows * width, offset), width)
    if properties.get_layout() != h5d.CHUNKED or not hasattr(dataset.id, "chunk_iter"):
        return None
    return _lengths_in_chunks(dataset, descriptor, width, n_rows)


def _lengths_in_chunks(dataset: h5py.Dataset, descriptor: int, width: int, n_rows: int) -> NDArray[np.uint32] | None:
    (per_chunk,), file_bytes = dataset.chunks, dataset.file.id.get_filesize()
    chunk_bytes = per_chunk * width
    pipeline = _pipeline(dataset, width)
    if pipeline is None or chunk_bytes > MOST_BYTES:
        return None
    found: list[h5d.StoreInfo] = []
    dataset.id.chunk_iter(found.append)
    lengths = [np.zeros(0, np.uint32)]
    for info in found:
        if info.chunk_offset[0] >= n_rows or info.size > file_bytes:
            continue
        raw = _pread(descriptor, info.size, info.byte_offset)
        if pipeline.filters:
            out, spare = (np.empty(chunk_bytes + SLACK_BYTES, np.uint8) for _ in range(2))
            try:
                raw = pipeline.decode(raw, info.filter_mask, chunk_bytes, out, spare)
            except DecodeError:
                return None
        lengths.append(_lengths_in(raw, width)[: n_rows - info.chunk_offset[0]].copy())
    return np.concatenate(lengths)


def _pipeline(dataset: h5py.Dataset, width: int) -> Pipeline | None:
    for element_bytes in (width, dataset.id.get_type().get_size()):  # shuffle has one or the other, the size in memory
        with contextlib.suppress(Unsupported, ValueError):
            return pipeline_of(dataset.id.get_create_plist(), element_bytes)
    return None


def _lengths_in(raw: NDArray[np.uint8], width: int) -> NDArray[np.uint32]:
    rows = raw[: len(raw) // width * width].reshape(-1, width)
    return np.ascontiguousarray(rows[:, :4]).view("<u4").reshape(-1)


def _pread(descriptor: int, n_bytes: int, offset: int) -> NDArray[np.uint8]:
    return np.frombuffer(os.pread(descriptor, n_bytes, offset), np.uint8)


def _check_bytes(n_bytes: int, named: tuple[str, str]) -> None:
    if n_bytes > MOST_BYTES:
        raise _too_much(f"texts of more than {MOST_BYTES} bytes together, the most that is read", named)


def _too_much(problem: str, named: tuple[str, str]) -> DataError:
    return DataError(f"it claims {problem}; {_WAY_OUT}", *named)
