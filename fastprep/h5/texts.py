"""Texts in a dataset, such as names of files, read in blocks: what the file claims is checked before memory is taken for it."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5s, h5t
from numpy.typing import NDArray

from fastprep.errors import DataError
from fastprep.h5.file_bytes import FileBytes, bytes_of, has_plain_bytes
from fastprep.h5.filters import SLACK_BYTES, DecodeError, Pipeline, Unsupported, pipeline_of
from fastprep.h5.virtual import check_sources

MOST_TEXTS = 2**24
MOST_BYTES = 2**28
"""Limits of a list of texts: their number, and the bytes of all of them."""

_BLOCK_BYTES = 2**24
_LONGEST = 2**20  # bytes of one text
_BLOCK_ROWS = 4096
_WAY_OUT = "nothing but this list needs the dataset, so it may be deleted or renamed"


def read_texts(
    dataset: h5py.Dataset, named: tuple[str, str], n_rows: int, field: str | None = None, way_out: str = _WAY_OUT
) -> list[str]:
    """Read the first texts of a dataset.

    Parameters
    ----------
    dataset : h5py.Dataset
        Strings of fixed or variable length, shape (N,), or with further axes of length 1; or single characters (N, length), as
        netCDF has them.
    named : (str, str)
        File and dataset as the user named them, for errors.
    n_rows : int
        Number of texts to read, 1..N.
    field : str or None
        Field of a dataset of records; None for a dataset of strings.
    way_out : str
        What to do about too many texts, for the error.

    Returns
    -------
    list of str

    Raises
    ------
    DataError
        If there are more than `MOST_TEXTS`, one is longer than 1 MiB, or all together are longer than `MOST_BYTES`; or if a
        source of a virtual dataset is not there.
    """
    check_sources(dataset, named)
    try:
        if n_rows > MOST_TEXTS:
            raise _TooMuch(f"{n_rows} texts, and no more than {MOST_TEXTS} are read")
        if field is None and dataset.ndim == 1 and dataset.id.get_type().is_variable_str():
            return _read_variable(dataset, n_rows)
        return _read_rows(dataset, n_rows, field)
    except _TooMuch as error:
        raise DataError(f"it claims {error}; {way_out}", *named) from None


class _TooMuch(Exception):
    """A list of texts that is larger than its limits."""


def _read_rows(dataset: h5py.Dataset, n_rows: int, field: str | None) -> list[str]:
    """Read texts in blocks of rows, none of which can take more than the limit."""
    kind = dataset.dtype if field is None else dataset.dtype[field]
    n_bytes_of_text = dataset.id.get_type().get_size() if field is None else kind.itemsize
    axis = dataset.shape.index(n_rows) if n_rows in dataset.shape else 0
    n_bytes_of_row = n_bytes_of_text * math.prod(dataset.shape[:axis] + dataset.shape[axis + 1 :])
    if n_bytes_of_row > _LONGEST:
        raise _TooMuch(f"texts of {n_bytes_of_row} bytes, and none of more than {_LONGEST} is read")
    if dataset.chunks and np.prod(dataset.chunks, dtype=object) * dataset.id.get_type().get_size() > MOST_BYTES:
        raise _TooMuch(f"chunks of {dataset.chunks} texts, which take more than {MOST_BYTES} bytes")
    column: Any = dataset if field is None else dataset.fields(field)
    rows_at_once = max(1, _BLOCK_BYTES // n_bytes_of_row)
    if h5py.check_string_dtype(kind).length is None:  # one text can't be longer than the file
        rows_at_once = min(_BLOCK_ROWS, max(1, MOST_BYTES // dataset.file.id.get_filesize()))
    texts: list[str] = []
    n_bytes = 0
    for first in range(0, n_rows, rows_at_once):
        stop = min(first + rows_at_once, n_rows)
        block = column[(*(slice(None) for _ in range(axis)), slice(first, stop))]
        texts += map(text_of, _one_each(block, stop - first))  # items are as long as they are, not as the longest is
        n_bytes += sum(map(len, texts[first:]))
        _check_bytes(n_bytes)
    return texts


def _one_each(block: NDArray, n_rows: int) -> NDArray:
    """Return one text for each row: where there are several characters, joined."""
    if block.size == n_rows:
        return block.reshape(n_rows)
    return np.ascontiguousarray(block).reshape(n_rows, -1).view(f"S{block.size // n_rows}")[:, 0]


def text_of(value: object) -> str:
    """Return a string of h5py or numpy as text that any terminal and file can take: bytes that are not UTF-8 are replaced."""
    raw = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")  # h5py keeps such bytes
    return raw.decode("utf-8", "replace")


def _read_variable(dataset: h5py.Dataset, n_rows: int) -> list[str]:
    """Read texts of variable length. The file has a length and an address for each, many of which may lead to the same bytes."""
    lengths = _claimed_lengths(dataset, n_rows)
    if lengths is not None and len(lengths):
        if lengths.max() > _LONGEST:
            raise _TooMuch(f"a text of {lengths.max()} bytes, and none of more than {_LONGEST} is read")
        _check_bytes(int(lengths.sum()))
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
        _check_bytes(n_bytes)
    return texts


def _claimed_lengths(dataset: h5py.Dataset, n_rows: int) -> NDArray[np.uint32] | None:
    """Read the length of each text from the descriptors that the file has in its place; None where that can't be done.

    A descriptor is the length (4 bytes), the address of a heap (as long as the file's addresses are) and the number of an
    object in it (4 bytes); HDF5 File Format Specification, IV.A.2.d and III.E.
    """
    file, properties = dataset.file, dataset.id.get_create_plist()
    if not has_plain_bytes(file) or file.userblock_size or properties.get_external_count():
        return None
    address_bytes, _ = file.id.get_create_plist().get_sizes()
    width, stored = 8 + address_bytes, bytes_of(file)
    if properties.get_layout() == h5d.CONTIGUOUS:
        offset = dataset.id.get_offset()
        return np.zeros(0, np.uint32) if offset is None else _lengths_in(_array(stored.read(n_rows * width, offset)), width)
    if properties.get_layout() != h5d.CHUNKED or not hasattr(dataset.id, "chunk_iter"):
        return None
    return _lengths_in_chunks(dataset, stored, width, n_rows)


def _lengths_in_chunks(dataset: h5py.Dataset, stored: FileBytes, width: int, n_rows: int) -> NDArray[np.uint32] | None:
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
        raw = _array(stored.read(info.size, info.byte_offset))
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


def _array(stored: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(stored, np.uint8)


def _check_bytes(n_bytes: int) -> None:
    if n_bytes > MOST_BYTES:
        raise _TooMuch(f"texts of more than {MOST_BYTES} bytes together, the most that is read")
