"""Find where the bytes of a dataset lie, if it is proven to be plain; raise `Unsupported` with the reason if it is not.

`place` takes what the header says, `list_chunks` what takes longer: to go through the list of chunks.
"""

from __future__ import annotations

import ctypes
import functools
import math
import os
from collections.abc import Callable

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.errors import DamagedIndexError, DataError
from fastprep.h5.files import identity_of
from fastprep.h5.filters import Unsupported, pipeline_of

_NEVER = np.iinfo(np.uint64).max
_DONT_FILTER_PARTIAL_CHUNKS = 2  # H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS of H5Dpublic.h
_SUPERBLOCK_BYTES = 48  # no chunk can begin before that: the shortest superblock, of versions 2 and 3
_MAX_CHUNK_BYTES = 2**32 - 1  # of HDF5's file format, too


def place(dataset: h5py.Dataset, named: tuple[str, str]) -> dict:
    """Find the bytes of a dataset.

    Parameters
    ----------
    dataset : h5py.Dataset
    named : (str, str)
        What the user calls its file and itself, for errors.

    Returns
    -------
    dict
        The facts of `ImageIndex` about layout and place; but for those of `list_chunks`, if there are chunks.

    Raises
    ------
    Unsupported
        With the reason, if HDF5 has to read it.
    DataError
        If it can't be read by anybody.
    """
    properties = dataset.id.get_create_plist()
    layout = properties.get_layout()
    if layout == h5py.h5d.VIRTUAL:
        _check_virtual(dataset, named)
        raise Unsupported("virtual dataset")
    holder = dataset.file
    _check_driver(holder)
    _check_number_type(dataset)
    if properties.get_external_count():
        raise Unsupported("external storage")
    identity = _identity(holder)
    size = identity[2]
    if layout == h5py.h5d.CONTIGUOUS:
        facts = _place_contiguous(dataset, size, named)
    elif layout == h5py.h5d.CHUNKED:
        facts = _place_chunked(dataset, properties, named)
    else:
        raise Unsupported("compact layout" if layout == h5py.h5d.COMPACT else "unknown layout")
    return {**facts, "holder": os.path.abspath(holder.filename), "identity": identity}


def list_chunks(dataset: h5py.Dataset, named: tuple[str, str]) -> dict:
    """Find the chunks of a dataset that `place` did not refuse.

    Parameters
    ----------
    dataset : h5py.Dataset
    named : (str, str)
        What the user calls its file and itself, for errors.

    Returns
    -------
    dict
        Offsets, sizes, masks, direct: facts of `ImageIndex`.

    Raises
    ------
    Unsupported
        With the reason, if HDF5 has to read it after all: somebody may have opened it otherwise since.
    DamagedIndexError
        If the list can't be true.
    """
    _check_driver(dataset.file)
    size = _identity(dataset.file)[2]
    properties = dataset.id.get_create_plist()
    shape, chunk = four_sides(dataset.shape), four_sides(dataset.chunks)
    grid = _grid(shape, chunk)
    n_tiles = math.prod(grid[1:])
    offsets, sizes, masks = _list(dataset, chunk, grid, named)
    written = offsets != _NEVER
    limit = np.uint64(size)
    beyond = written & ((sizes > limit) | (offsets > limit - np.minimum(sizes, limit)))
    if beyond.any():
        k = int(np.argmax(beyond))
        problem = _beyond_end(int(offsets[k]), int(sizes[k]), size)
        raise DamagedIndexError(problem, *named, k // n_tiles, k // n_tiles * chunk[0])
    has_filters = properties.get_nfilters() > 0
    chunk_bytes = math.prod(chunk) * dataset.dtype.itemsize
    if has_filters and _partial_chunks_are_raw(properties):
        masks[_partial(shape, chunk, grid)] = np.iinfo(np.uint32).max
    direct = written.copy()
    impossible = written & (offsets < _SUPERBLOCK_BYTES)
    if not has_filters:
        impossible |= written & (sizes != chunk_bytes)
        direct &= masks == 0
    if impossible.any():
        k = int(np.argmax(impossible))
        problem = f"the chunk index is damaged: a chunk of {chunk_bytes} bytes is said to be {sizes[k]} bytes at {offsets[k]}"
        raise DamagedIndexError(problem, *named, k // n_tiles, k // n_tiles * chunk[0])
    return {
        "offsets": np.where(written, offsets, 0).astype(np.int64),
        "sizes": np.where(written, sizes, 0).astype(np.int64),
        "masks": masks,
        "direct": direct.reshape(grid[0], -1).all(axis=1),
    }


def _check_driver(file: h5py.File) -> None:
    if file.driver != "sec2":
        raise Unsupported(f"file driver {file.driver}")
    if file.mode != "r":
        raise Unsupported("also open for writing in this process")
    if file.swmr_mode:
        raise Unsupported("single-writer/multiple-reader mode")
    if file.userblock_size:
        # whether chunk addresses count from the file's start or from the end of its user block depends on the HDF5 version
        raise Unsupported("user block")


def _check_number_type(dataset: h5py.Dataset) -> None:
    dtype, file_type = dataset.dtype, dataset.id.get_type()
    one_byte = dtype.itemsize == 1 and file_type.get_precision() == 8 and file_type.get_offset() == 0
    if not one_byte and not file_type.equal(h5py.h5t.py_create(dtype)):
        raise Unsupported("numbers of odd precision")


def _identity(file: h5py.File) -> tuple[int, ...]:
    by_handle, by_name = os.fstat(file.id.get_vfd_handle()), os.stat(file.filename)
    if (by_handle.st_dev, by_handle.st_ino) != (by_name.st_dev, by_name.st_ino):
        raise Unsupported("renamed or replaced while it was opened")
    return identity_of(by_handle)


def _place_contiguous(dataset: h5py.Dataset, file_size: int, named: tuple[str, str]) -> dict:
    offset = dataset.id.get_offset()
    if offset is None:
        raise Unsupported("never written: all fill value")
    n_bytes = math.prod(dataset.shape) * dataset.dtype.itemsize
    if offset + n_bytes > file_size:
        raise DataError(_beyond_end(offset, n_bytes, file_size), *named, 0)
    return {
        "layout": "contiguous",
        "chunk_shape": four_sides(dataset.shape),
        "offsets": np.array([offset], np.int64),
        "sizes": np.array([n_bytes], np.int64),
        "masks": np.zeros(1, np.uint32),
        "direct": np.ones(1, bool),
    }


def _place_chunked(dataset: h5py.Dataset, properties: h5py.h5p.PropDCID, named: tuple[str, str]) -> dict:
    try:
        pipeline = pipeline_of(properties, dataset.dtype.itemsize)
    except ValueError as error:
        raise DataError(str(error), *named) from error
    shape, chunk = four_sides(dataset.shape), four_sides(dataset.chunks)
    chunk_bytes = math.prod(chunk) * dataset.dtype.itemsize
    if chunk_bytes > _MAX_CHUNK_BYTES:
        raise Unsupported(f"chunks of {chunk_bytes} bytes")
    if not hasattr(dataset.id, "chunk_iter"):
        raise Unsupported("this build of h5py cannot list chunks")
    if pipeline.filters:
        _partial_chunks_are_raw(properties)  # refuses where that can't be known
    split = "" if chunk[1:] == shape[1:] else f", {math.prod(_grid(shape, chunk)[1:])} to an image"
    images = "1 image" if chunk[0] == 1 else f"{chunk[0]} images"
    return {
        "layout": f"chunked, {images} each{split}, filters {pipeline.names}",
        "chunk_shape": chunk,
        "pipeline": pipeline,
    }


def _list(
    dataset: h5py.Dataset, chunk: tuple[int, ...], grid: tuple[int, ...], named: tuple[str, str]
) -> tuple[NDArray, NDArray, NDArray]:
    """Return offsets, sizes and masks of all chunks; the offset is _NEVER where there is none."""
    n_chunks = math.prod(grid)
    offsets = np.full(n_chunks, _NEVER, np.uint64)
    sizes = np.zeros(n_chunks, np.uint64)
    masks = np.zeros(n_chunks, np.uint32)
    strides = [math.prod(grid[axis + 1 :]) for axis in range(dataset.ndim)]

    def note(info: h5py.h5d.StoreInfo) -> None:
        k = 0
        for start, side, stride in zip(info.chunk_offset, chunk, strides, strict=False):
            if start % side or start // side * stride >= n_chunks:
                raise ValueError(f"a chunk begins at {info.chunk_offset}")
            k += start // side * stride
        keep(k, info)

    def note_whole(info: h5py.h5d.StoreInfo) -> None:
        k, beside = divmod(info.chunk_offset[0], chunk[0])
        if beside or any(info.chunk_offset[1:]):
            raise ValueError(f"a chunk begins at {info.chunk_offset}")
        keep(k, info)

    def keep(k: int, info: h5py.h5d.StoreInfo) -> None:
        if offsets[k] != _NEVER:
            raise ValueError(f"two chunks begin at {info.chunk_offset}")
        offsets[k], sizes[k], masks[k] = info.byte_offset, info.size, info.filter_mask

    try:
        dataset.id.chunk_iter(note_whole if n_chunks == grid[0] else note)
    except (OSError, RuntimeError, IndexError, ValueError, OverflowError) as error:
        raise DamagedIndexError(f"the chunk index is damaged: {error}", *named) from error
    return offsets, sizes, masks


def _grid(shape: tuple[int, ...], chunk: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(-(-s // c) for s, c in zip(shape, chunk, strict=True))


def _partial(shape: tuple[int, ...], chunk: tuple[int, ...], grid: tuple[int, ...]) -> NDArray[np.bool_]:
    """Tell which chunks reach beyond the dataset."""
    partial = np.zeros(grid, bool)
    for axis in range(len(shape)):
        if shape[axis] % chunk[axis]:
            partial[(slice(None),) * axis + (-1,)] = True
    return partial.reshape(-1)


def _partial_chunks_are_raw(properties: h5py.h5p.PropDCID) -> bool:
    """Ask HDF5 whether partial chunks are stored without filters, whatever their masks say (H5Pget_chunk_opts).

    h5py does not pass that on, so the question goes to the library that h5py has loaded.
    """
    options = ctypes.c_uint(0)
    try:
        get_chunk_opts = _get_chunk_opts()
    except (OSError, AttributeError):
        raise Unsupported("this build of h5py hides H5Pget_chunk_opts") from None
    if get_chunk_opts(properties.id, ctypes.byref(options)) < 0:
        raise Unsupported("H5Pget_chunk_opts failed")
    return bool(options.value & _DONT_FILTER_PARTIAL_CHUNKS)


@functools.cache
def _get_chunk_opts() -> Callable[..., int]:
    function = ctypes.CDLL(h5py.h5p.__file__).H5Pget_chunk_opts
    function.argtypes = (ctypes.c_int64, ctypes.POINTER(ctypes.c_uint))
    function.restype = ctypes.c_int
    return function


def _beyond_end(offset: int, n_bytes: int, file_size: int) -> str:
    return f"bytes {offset} to {offset + n_bytes} lie beyond the end of the file ({file_size} bytes); it may be truncated"


def _check_virtual(dataset: h5py.Dataset, named: tuple[str, str]) -> None:
    """Refuse a virtual dataset with a file missing: HDF5 reads fill values in its place, which would be taken for images."""
    folder = os.path.dirname(os.path.abspath(dataset.file.filename))
    places = [folder, os.environ.get("HDF5_VDS_PREFIX", "").replace("${ORIGIN}", folder), "."]
    for part in dataset.virtual_sources():
        name = part.file_name
        if name == "." or "%" in name:  # this file; a pattern for as many files as there are
            continue
        if not any(os.path.exists(os.path.join(place, n)) for place in places for n in (name, os.path.basename(name))):
            raise DataError(f"it is virtual, and its file {name!r} is not there", *named)


def four_sides(sides: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return (samples, height, width, channels), with one channel for rank 3."""
    n, height, width, channels = (*sides, 1) if len(sides) == 3 else sides
    return n, height, width, channels
