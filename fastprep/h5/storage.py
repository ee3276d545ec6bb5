"""Where the bytes of a dataset are, as its header tells; `Unsupported`, with the reason, if HDF5 has to read them."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import h5py

from fastprep.errors import DataError
from fastprep.h5.axes import Axes, Sides
from fastprep.h5.file_bytes import absolute, bytes_of, has_plain_bytes, identity_at
from fastprep.h5.filters import Pipeline, Unsupported, pipeline_of
from fastprep.h5.native import foreign_filters, further_filters
from fastprep.h5.types import is_plain, number_type, stored_number_type
from fastprep.h5.virtual import check_sources

_DONT_FILTER_PARTIAL_CHUNKS = 2  # H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS of H5Dpublic.h
_MAX_CHUNK_BYTES = 2**32 - 1  # the limit of HDF5's file format

_BLOCK_BYTES = 32 << 20  # images that are read together where N is not the first axis
_FEW_IMAGES = 16  # of which fewer are not read at a time, if chunks are smaller


@dataclass(frozen=True)
class Storage:
    """How a dataset is stored, as far as its header tells.

    Attributes
    ----------
    layout : str
        For people: "contiguous", "chunked, 1 image each, filters gzip", ...
    holder : str
        Absolute path of the file that has the bytes.
    identity : tuple of int
        Device, inode, size and modification time of `holder`.
    chunk_shape : (int, int, int, int)
        Sides of a chunk, samples first and the others as they are stored; contiguous data are one chunk.
    pipeline : Pipeline
        The filters of the chunks.
    extent : (int, int) or None
        Offset and length of contiguous data in `holder`, in bytes. None for chunks, whose list takes longer to read.
    """

    layout: str
    holder: str
    identity: tuple[int, ...]
    chunk_shape: Sides
    pipeline: Pipeline = field(default_factory=Pipeline)
    extent: tuple[int, int] | None = None


def find_storage(dataset: h5py.Dataset, named: tuple[str, str], axes: Axes, reference_bytes: int | None = None) -> Storage:
    """Find out how a dataset is stored.

    Parameters
    ----------
    dataset : h5py.Dataset
    named : (str, str)
        File and dataset as the user named them, for errors.
    axes : Axes
        Those of the dataset.
    reference_bytes : int or None
        Size in the file of an element of a dataset of rows of bytes, such as a reference to a row; None for numbers of images.

    Returns
    -------
    Storage

    Raises
    ------
    Unsupported
        If HDF5 has to read the dataset, with the reason.
    DataError
        If the dataset can't be read at all.
    """
    properties = dataset.id.get_create_plist()
    layout = properties.get_layout()
    check_sources(dataset, named)
    if layout == h5py.h5d.VIRTUAL:
        raise Unsupported("virtual dataset")
    if axes.n_axis:
        raise Unsupported(f"its axes {axes.name} do not begin with N")
    holder = dataset.file
    check_access(holder)
    if reference_bytes is None:
        _check_number_type(dataset)
    if properties.get_external_count():
        raise Unsupported("external storage")
    identity = identity_of_open(holder)
    if layout == h5py.h5d.CONTIGUOUS:
        return _contiguous_storage(dataset, identity, named, axes, reference_bytes)
    if layout == h5py.h5d.CHUNKED:
        return _chunked_storage(dataset, properties, identity, named, axes, reference_bytes)
    raise Unsupported("compact layout" if layout == h5py.h5d.COMPACT else "unknown layout")


def storage_by_hdf5(dataset: h5py.Dataset, reason: str, axes: Axes) -> Storage:
    """Describe the storage of a dataset that HDF5 has to read."""
    path = dataset.file.filename  # not the file that the user named, if a link leads elsewhere
    chunk_shape = axes.four_sides(dataset.chunks) if dataset.chunks else (1, *axes.sides[1:])
    if axes.n_axis:
        chunk_shape = (_images_at_once(dataset, axes, chunk_shape[0]), *axes.sides[1:])
    return Storage(f"read by HDF5: {reason}", absolute(path), identity_at(path), chunk_shape)


def _images_at_once(dataset: h5py.Dataset, axes: Axes, n_in_chunk: int) -> int:
    """Return how many images are read together where N is not the first axis: whole chunks, as far as memory allows.

    Without chunks, neighbouring numbers in the file are of different images, so that reading many takes as long as reading one.
    """
    image_bytes = math.prod(axes.sides[1:]) * max(8, dataset.dtype.itemsize)
    most = max(1, _BLOCK_BYTES // image_bytes)
    at_once = n_in_chunk * max(1, min(most, _FEW_IMAGES) // n_in_chunk) if dataset.chunks else most
    return min(at_once, most, axes.sides[0])


def check_access(file: h5py.File) -> None:
    """Check that the bytes of an open file can be read without HDF5.

    Raises
    ------
    Unsupported
        If they can't, because of how the file is made, or how it was opened.
    """
    if not has_plain_bytes(file):
        raise Unsupported(f"file driver {file.driver}")
    if file.mode != "r":
        raise Unsupported("also open for writing in this process")
    if file.swmr_mode:
        raise Unsupported("single-writer/multiple-reader mode")
    if file.userblock_size:
        # whether chunk addresses count from the start of the file or from the end of its user block depends on HDF5's version
        raise Unsupported("user block")


def identity_of_open(file: h5py.File) -> tuple[int, ...]:
    """Return `fastprep.h5.file_bytes.identity_of` for an open file.

    Raises
    ------
    Unsupported
        If its name belongs to another file by now.
    """
    by_handle, by_name = bytes_of(file).identity(), identity_at(file.filename)
    if by_handle[:2] != by_name[:2]:
        raise Unsupported("renamed or replaced while it was opened")
    return by_handle


def partial_chunks_are_raw(properties: h5py.h5p.PropDCID) -> bool:
    """Ask HDF5 whether partial chunks are stored without filters, whatever their masks say (H5Pget_chunk_opts).

    h5py has no function for it, so the question goes to the library that h5py has loaded.

    Raises
    ------
    Unsupported
        If there is no answer.
    """
    options = ctypes.c_uint(0)
    try:
        get_chunk_opts = _get_chunk_opts()
    except (OSError, AttributeError):
        raise Unsupported("this build of h5py hides H5Pget_chunk_opts") from None
    with h5py._objects.phil:  # no two threads may be in HDF5
        status = get_chunk_opts(properties.id, ctypes.byref(options))
    if status < 0:
        raise Unsupported("H5Pget_chunk_opts failed")
    return bool(options.value & _DONT_FILTER_PARTIAL_CHUNKS)


def beyond_end(offset: int, n_bytes: int, file_bytes: int) -> str:
    """Describe data that lie beyond the end of their file."""
    return f"bytes {offset} to {offset + n_bytes} lie beyond the end of the file ({file_bytes} bytes); it may be truncated"


def chunk_grid(shape: Sides, chunk: Sides) -> Sides:
    """Return the number of chunks along each axis."""
    n, height, width, channels = (-(-s // c) for s, c in zip(shape, chunk, strict=True))
    return n, height, width, channels


def _contiguous_storage(
    dataset: h5py.Dataset, identity: tuple[int, ...], named: tuple[str, str], axes: Axes, reference_bytes: int | None
) -> Storage:
    try:
        offset, file_bytes = dataset.id.get_offset(), identity[2]
    except RuntimeError as error:  # h5py takes an offset of 0 for an error
        raise DataError("the header says that its data begin at byte 0; it is damaged", *named) from error
    if offset is None:
        raise Unsupported("never written: all fill value")
    n_bytes = math.prod(dataset.shape) * (reference_bytes or dataset.dtype.itemsize)
    if offset + n_bytes > file_bytes:
        raise DataError(beyond_end(offset, n_bytes, file_bytes), *named, 0)
    holder = absolute(dataset.file.filename)
    return Storage("contiguous", holder, identity, axes.sides, extent=(offset, n_bytes))


def _chunked_storage(
    dataset: h5py.Dataset,
    properties: h5py.h5p.PropDCID,
    identity: tuple[int, ...],
    named: tuple[str, str],
    axes: Axes,
    reference_bytes: int | None,
) -> Storage:
    element_bytes = reference_bytes or dataset.dtype.itemsize
    try:
        pipeline = pipeline_of(properties, element_bytes, further_filters() if reference_bytes is None else ())
    except ValueError as error:
        raise DataError(str(error), *named) from error
    shape, chunk = axes.sides, axes.four_sides(dataset.chunks)
    chunk_bytes = math.prod(chunk) * element_bytes
    if chunk_bytes > _MAX_CHUNK_BYTES:
        raise Unsupported(f"chunks of {chunk_bytes} bytes")
    if not hasattr(dataset.id, "chunk_iter"):
        raise Unsupported("this build of h5py cannot list chunks")
    if pipeline.filters:
        partial_chunks_are_raw(properties)  # raises where that can't be known
    one, article = ("image", "an") if reference_bytes is None else ("row", "a")
    split = "" if chunk[1:] == shape[1:] else f", {math.prod(chunk_grid(shape, chunk)[1:])} to {article} {one}"
    several = f"1 {one}" if chunk[0] == 1 else f"{chunk[0]} {one}s"
    foreign = foreign_filters(pipeline)
    way = f", {' and '.join(foreign)} decoded in Python" if foreign else ""
    layout = f"chunked, {several} each{split}, filters {pipeline.names}{way}"
    return Storage(layout, absolute(dataset.file.filename), identity, chunk, pipeline)


def _check_number_type(dataset: h5py.Dataset) -> None:
    dtype = number_type(dataset)
    if dtype is None or not is_plain(stored_number_type(dataset), dtype):
        raise Unsupported("numbers of odd precision")


@functools.cache
def _get_chunk_opts() -> Callable[..., int]:
    function = ctypes.CDLL(h5py.h5p.__file__).H5Pget_chunk_opts
    function.argtypes = (ctypes.c_int64, ctypes.POINTER(ctypes.c_uint))
    function.restype = ctypes.c_int
    return function
