"""Open a file once under h5py, check it, and record where every picture's bytes lie.

A dataset is read directly only where it is proven to be plain; anything else is left to HDF5, with the reason on record.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.h5.errors import DataError
from fastprep.h5.filters import Pipeline, Unsupported, pipeline_of

_NEVER = np.iinfo(np.uint64).max
_DONT_FILTER_PARTIAL_CHUNKS = 2  # H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS of H5Dpublic.h
_MAX_CHUNK_BYTES = 2**32 - 1  # of HDF5's file format, too

_KERNEL_DTYPES = ("uint8", "float32", "float64")
# Types the kernels do not take, and the one that holds each of their values exactly
_WIDENED = {
    "int8": "float32",
    "int16": "float32",
    "uint16": "float32",
    "float16": "float32",
    "int32": "float64",
    "uint32": "float64",
}


@dataclass(frozen=True)
class ImageIndex:
    """Where the pictures of one dataset lie.

    Attributes
    ----------
    file, dataset : str
        As the user named them.
    path : str
        The file's absolute path.
    shape : (int, int, int, int)
        Samples, height, width, channels; a dataset of rank 3 has one channel.
    stored_dtype : dtype
        As in the file.
    dtype : dtype
        As readers hand it on: uint8, float32 or float64, native byte order; every stored value fits exactly.
    reason : str
        Why HDF5 has to read this dataset; empty if it is read directly.
    layout : str
        For people: "contiguous", "chunked, 1 picture each, gzip", ...
    holder : str
        Absolute path of the file that has the bytes (not `path` where a link leads elsewhere).
    identity : tuple of int
        Device, inode, size and modification time of `holder` when it was indexed.
    chunk_shape : (int, int, int, int)
        Samples, height, width and channels of a chunk; contiguous data are one chunk.
    offsets, sizes : ndarray of int64, shape (rows * tiles,)
        Place and stored length of each chunk in `holder`, bytes. A *row* is the chunks that hold the same samples; where chunks
        split pictures a row has several *tiles*.
    masks : ndarray of uint32, shape (rows * tiles,)
        Filters skipped by each chunk.
    direct : ndarray of bool, shape (rows,)
        False for the odd row that is left to HDF5, because a chunk of it was never written.
    pipeline : Pipeline
    """

    file: str
    dataset: str
    path: str
    shape: tuple[int, int, int, int]
    stored_dtype: np.dtype
    dtype: np.dtype
    reason: str
    layout: str
    holder: str
    identity: tuple[int, ...]
    chunk_shape: tuple[int, int, int, int] = (1, 0, 0, 0)
    offsets: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    sizes: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    masks: NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))
    direct: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, bool))
    pipeline: Pipeline = field(default_factory=Pipeline)

    @property
    def image_bytes(self) -> int:
        """Bytes of one picture in `dtype`."""
        return int(np.prod(self.shape[1:])) * self.dtype.itemsize

    @property
    def stored_image_bytes(self) -> int:
        """Bytes of one picture in the file, without filters."""
        return int(np.prod(self.shape[1:])) * self.stored_dtype.itemsize

    @property
    def chunk_bytes(self) -> int:
        """Bytes of one chunk without filters."""
        return int(np.prod(self.chunk_shape)) * self.stored_dtype.itemsize

    @property
    def images_per_chunk(self) -> int:
        """Picture i lies in row i // images_per_chunk."""
        return self.chunk_shape[0]

    @property
    def is_split(self) -> bool:
        """Whether chunks and pictures differ in height, width or channels."""
        return self.chunk_shape[1:] != self.shape[1:]

    @property
    def images_decoded_at_once(self) -> int:
        """How many pictures have to be read to get at one of them."""
        alone = not self.reason and not self.pipeline.filters and not self.is_split
        return 1 if alone else self.images_per_chunk

    @property
    def is_plain(self) -> bool:
        """Whether the pictures lie in the file as the kernels take them."""
        alone = not self.reason and not self.pipeline.filters and not self.is_split
        return alone and self.stored_dtype == self.dtype and self.stored_dtype.isnative


@contextlib.contextmanager
def open_file(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading, with errors a person can act on.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file, or it may not be read.
    DataError
        If it is not an HDF5 file, or a damaged one.
    """
    path = os.fspath(path)
    os.close(os.open(path, os.O_RDONLY))  # the system's own error, which names the path
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path!r} is a folder, not an HDF5 file")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataError(_opening_problem(path, error), path) from error
    with file:
        yield file


def get_dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """Return a dataset of an open file.

    Raises
    ------
    DataError
        If there is none of that name, telling what there is.
    """
    try:
        dataset = file.get(name)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise DataError(f"can't be opened: {error}", file.filename, name) from error
    if isinstance(dataset, h5py.Dataset):
        return dataset
    found: list[str] = []
    file.visititems(
        lambda key, item: found.append(f"{key!r} {item.shape} {item.dtype}") if isinstance(item, h5py.Dataset) else None
    )
    there = "; it has " + ", ".join(found[:8]) + (", ..." if len(found) > 8 else "") if found else "; it has no dataset at all"
    raise DataError(f"there is no dataset {name!r}{there}", file.filename)


def index_images(file: h5py.File, name: str) -> ImageIndex:
    """Describe a dataset of pictures.

    Parameters
    ----------
    file : h5py.File
        Open for reading.
    name : str
        Dataset of shape (N, H, W, C), or (N, H, W) for one channel.

    Returns
    -------
    ImageIndex

    Raises
    ------
    DataError
        If the dataset does not hold pictures, or its chunks cannot lie where the file says they do.
    """
    dataset = get_dataset(file, name)
    shape = dataset.shape
    if shape is None or len(shape) not in (3, 4) or 0 in shape:
        raise DataError(
            f"pictures have the shape (N, height, width, channels) or (N, height, width), found {shape}", file.filename, name
        )
    stored = dataset.dtype
    plain_name = stored.newbyteorder("=").name
    if plain_name not in (*_KERNEL_DTYPES, *_WIDENED) or h5py.check_enum_dtype(stored):
        known = ", ".join((*_KERNEL_DTYPES, *_WIDENED))
        raise DataError(f"pictures have one of the types {known}, found {stored}", file.filename, name)
    n, height, width, channels = _four(shape)
    known_facts = {
        "file": file.filename,
        "dataset": name,
        "path": os.path.abspath(file.filename),
        "shape": (n, height, width, channels),
        "stored_dtype": stored,
        "dtype": np.dtype(_WIDENED.get(plain_name, plain_name)),
    }
    try:
        return ImageIndex(**known_facts, reason="", **_place(dataset, (file.filename, name)))
    except Unsupported as reason:
        return ImageIndex(
            **known_facts,
            reason=str(reason),
            layout=f"read by HDF5: {reason}",
            holder=known_facts["path"],
            identity=identity_of(os.stat(file.filename)),
            chunk_shape=_four(dataset.chunks) if dataset.chunks else (1, height, width, channels),
        )


def _place(dataset: h5py.Dataset, named: tuple[str, str]) -> dict:
    """Find the bytes of a dataset; raise Unsupported with the reason if HDF5 has to read it.

    `named` is what the user calls its file and itself, for errors.
    """
    holder = dataset.file
    _check_driver(holder)
    _check_number_type(dataset)
    properties = dataset.id.get_create_plist()
    if properties.get_external_count():
        raise Unsupported("external storage")
    identity = _identity(holder)
    size = identity[2]
    place = {"holder": os.path.abspath(holder.filename), "identity": identity}
    layout = properties.get_layout()
    if layout == h5py.h5d.CONTIGUOUS:
        return place | _place_contiguous(dataset, size, named)
    if layout == h5py.h5d.CHUNKED:
        return place | _place_chunked(dataset, properties, size, named)
    raise Unsupported({h5py.h5d.COMPACT: "compact layout", h5py.h5d.VIRTUAL: "virtual dataset"}.get(layout, "unknown layout"))


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


def identity_of(status: os.stat_result) -> tuple[int, ...]:
    """Return what has to stay the same for an index to stay true."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _place_contiguous(dataset: h5py.Dataset, file_size: int, named: tuple[str, str]) -> dict:
    offset = dataset.id.get_offset()
    if offset is None:
        raise Unsupported("never written: all fill value")
    n_bytes = int(np.prod(dataset.shape, dtype=object)) * dataset.dtype.itemsize
    if offset + n_bytes > file_size:
        raise _beyond_end(named, 0, offset, n_bytes, file_size)
    return {
        "layout": "contiguous",
        "chunk_shape": _four(dataset.shape),
        "offsets": np.array([offset], np.int64),
        "sizes": np.array([n_bytes], np.int64),
        "masks": np.zeros(1, np.uint32),
        "direct": np.ones(1, bool),
    }


def _place_chunked(dataset: h5py.Dataset, properties: h5py.h5p.PropDCID, file_size: int, named: tuple[str, str]) -> dict:
    pipeline = pipeline_of(properties, dataset.dtype.itemsize)
    shape, chunk = _four(dataset.shape), _four(dataset.chunks)
    grid = tuple(-(-s // c) for s, c in zip(shape, chunk, strict=True))
    offsets, sizes, masks = _list_chunks(dataset, chunk, grid, named)
    written = offsets != _NEVER
    limit = np.uint64(file_size)
    beyond = written & ((sizes > limit) | (offsets > limit - np.minimum(sizes, limit)))
    if beyond.any():
        k = int(np.argmax(beyond))
        raise _beyond_end(named, k // int(np.prod(grid[1:])), int(offsets[k]), int(sizes[k]), file_size)
    chunk_bytes = int(np.prod(chunk, dtype=object)) * dataset.dtype.itemsize
    if chunk_bytes > _MAX_CHUNK_BYTES:
        raise Unsupported(f"chunks of {chunk_bytes} bytes")
    if pipeline.filters and _partial_chunks_are_raw(properties):
        masks[_partial(shape, chunk, grid)] = np.iinfo(np.uint32).max
    direct = written.copy()
    if not pipeline.filters:
        direct &= (sizes == chunk_bytes) & (masks == 0)
    split = "" if chunk[1:] == shape[1:] else f", {np.prod(grid[1:])} to a picture"
    pictures = "1 picture" if chunk[0] == 1 else f"{chunk[0]} pictures"
    return {
        "layout": f"chunked, {pictures} each{split}, filters {pipeline.names}",
        "chunk_shape": chunk,
        "offsets": np.where(written, offsets, 0).astype(np.int64),
        "sizes": np.where(written, sizes, 0).astype(np.int64),
        "masks": masks,
        "direct": direct.reshape(grid[0], -1).all(axis=1),
        "pipeline": pipeline,
    }


def _list_chunks(
    dataset: h5py.Dataset, chunk: tuple[int, ...], grid: tuple[int, ...], named: tuple[str, str]
) -> tuple[NDArray, NDArray, NDArray]:
    """Return offsets, sizes and masks of all chunks; the offset is _NEVER where there is none."""
    n_chunks = int(np.prod(grid, dtype=object))
    offsets = np.full(n_chunks, _NEVER, np.uint64)
    sizes = np.zeros(n_chunks, np.uint64)
    masks = np.zeros(n_chunks, np.uint32)
    strides = [int(np.prod(grid[axis + 1 :])) for axis in range(dataset.ndim)]

    def note(info: h5py.h5d.StoreInfo) -> None:
        k = 0
        for start, side, stride in zip(info.chunk_offset, chunk, strides, strict=False):
            k += start // side * stride
        offsets[k], sizes[k], masks[k] = info.byte_offset, info.size, info.filter_mask

    def note_whole(info: h5py.h5d.StoreInfo) -> None:
        k = info.chunk_offset[0] // chunk[0]
        offsets[k], sizes[k], masks[k] = info.byte_offset, info.size, info.filter_mask

    try:
        dataset.id.chunk_iter(note_whole if n_chunks == grid[0] else note)
    except AttributeError:
        raise Unsupported("this build of h5py cannot list chunks") from None
    except (OSError, RuntimeError, IndexError, ValueError, OverflowError) as error:
        raise DataError(f"the chunk index is damaged: {error}", *named) from error
    return offsets, sizes, masks


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
        get_chunk_opts = ctypes.CDLL(h5py.h5p.__file__).H5Pget_chunk_opts
    except (OSError, AttributeError):
        raise Unsupported("this build of h5py hides H5Pget_chunk_opts") from None
    get_chunk_opts.argtypes = (ctypes.c_int64, ctypes.POINTER(ctypes.c_uint))
    get_chunk_opts.restype = ctypes.c_int
    if get_chunk_opts(properties.id, ctypes.byref(options)) < 0:
        raise Unsupported("H5Pget_chunk_opts failed")
    return bool(options.value & _DONT_FILTER_PARTIAL_CHUNKS)


def _four(sides: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return (samples, height, width, channels), with one channel for rank 3."""
    n, height, width, channels = (*sides, 1) if len(sides) == 3 else sides
    return n, height, width, channels


def _beyond_end(named: tuple[str, str], row: int, offset: int, n_bytes: int, file_size: int) -> DataError:
    problem = f"bytes {offset} to {offset + n_bytes} lie beyond the end of the file ({file_size} bytes); it may be truncated"
    return DataError(problem, *named, row)


def _opening_problem(path: str, error: OSError) -> str:
    try:
        looks_right = h5py.is_hdf5(path)
    except OSError:
        looks_right = False
    return f"HDF5 can't open it: {error}" if looks_right else "not an HDF5 file"
