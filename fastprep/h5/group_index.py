"""Index of images that have a dataset each: every one is a row of chunks, so that readers take them for one dataset."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.errors import DamagedIndexError, DataError
from fastprep.h5.chunk_list import ChunkList, list_chunks
from fastprep.h5.encoded_index import index_encoded, is_encoded
from fastprep.h5.filters import Unsupported
from fastprep.h5.groups import ImageGroup
from fastprep.h5.index import ImageIndex, index_images
from fastprep.h5.retries import raise_machine_fault
from fastprep.h5.row_layouts import check_not_bytes, may_be_pixels
from fastprep.h5.storage import Storage, beyond_end, find_storage
from fastprep.h5.types import describe_dataset


class _Row(NamedTuple):
    """Where the chunks of one image are."""

    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    masks: NDArray[np.uint32]
    is_direct: bool
    is_written: bool


def index_any(
    dataset: h5py.Dataset | ImageGroup,
    named: tuple[str, str],
    axes: str | None = None,
    n_labels: int | None = None,
    shape: tuple[int, int, int] | None = None,
    are_masks: bool = False,
) -> ImageIndex:
    """Describe images or masks, in one dataset or in one each, as pixels or encoded; see `fastprep.h5.index.index_images`."""
    if (axes is None and shape is None) or not may_be_pixels(dataset):
        if is_encoded(dataset):
            return index_encoded(dataset, named, axes, shape, n_labels, are_masks)
        check_not_bytes(dataset, named)
    index = index_images(dataset, named, axes, n_labels, shape)
    if not isinstance(dataset, ImageGroup):
        return index
    index = replace(index, members=dataset.names)
    if index.reason:
        _check_alike(dataset, named[0])
        return index
    try:
        chunks = _list_rows(dataset, named[0], index)
    except Unsupported as error:
        return replace(index.by_hdf5(str(error)), members=dataset.names)
    unwritten = int(np.count_nonzero(~chunks.written))
    return replace(index, chunks=chunks, n_unwritten=unwritten, layout=f"one dataset each, {index.layout}")


def _check_alike(group: ImageGroup, file: str) -> None:
    for number in range(1, len(group)):
        _check_member(group, group.member(number), number, file)


def _check_member(group: ImageGroup, dataset: h5py.Dataset, number: int, file: str) -> None:
    if dataset.id.shape != group.first.id.shape or not dataset.id.get_type().equal(group.first.id.get_type()):
        wanted = f"{describe_dataset(group.first)} in {group.names[0]!r}"
        way_out = "a pattern such as 'X/*.png', or a list of names, leaves others out"
        if dataset.id.rank == group.first.id.rank and dataset.id.shape != group.first.id.shape:
            way_out += "; images of different sizes have to be encoded, such as PNGs in rows of bytes"
        problem = f"images of one loader are alike: it is {describe_dataset(dataset)}, {wanted}; {way_out}"
        raise DataError(problem, file, group.names[number])


def _list_rows(group: ImageGroup, file: str, index: ImageIndex) -> ChunkList:
    """Return the chunks of all images, row by row; `Unsupported` if they are not stored alike."""
    first = group.first
    storage = find_storage(first, (file, group.names[0]), index.axes.of_one_image())
    properties, file_number = first.id.get_create_plist(), h5py.h5o.get_info(first.id).fileno
    rows = []
    for number in range(len(group)):
        dataset = first if number == 0 else group.member(number)
        if number:
            _check_member(group, dataset, number, file)
            if h5py.h5o.get_info(dataset.id).fileno != file_number:
                raise Unsupported("images in several files, by links")
            if not dataset.id.get_create_plist().equal(properties):
                _check_stored_alike(dataset, (file, group.names[number]), storage, index)
        rows.append(_row(dataset, (file, group.names[number]), number, storage, index))
    return ChunkList(
        np.concatenate([row.offsets for row in rows]),
        np.concatenate([row.sizes for row in rows]),
        np.concatenate([row.masks for row in rows]),
        np.array([row.is_direct for row in rows]),
        np.array([row.is_written for row in rows]),
    )


def _check_stored_alike(dataset: h5py.Dataset, named: tuple[str, str], storage: Storage, index: ImageIndex) -> None:
    other = find_storage(dataset, named, index.axes.of_one_image())
    alike = (other.chunk_shape, other.pipeline) == (storage.chunk_shape, storage.pipeline)
    if not alike or (other.extent is None) != (storage.extent is None):
        raise Unsupported("images stored in different ways")


def _row(dataset: h5py.Dataset, named: tuple[str, str], number: int, storage: Storage, index: ImageIndex) -> _Row:
    if storage.extent is None:
        chunks = list_chunks(dataset, named, index.axes.of_one_image())
        return _Row(chunks.offsets, chunks.sizes, chunks.masks, bool(chunks.direct[0]), bool(chunks.written[0]))
    n_bytes = math.prod(dataset.id.shape) * index.stored_dtype.itemsize
    try:
        offset = dataset.id.get_offset()
    except RuntimeError as error:  # h5py takes an offset of 0 for an error
        raise_machine_fault(error, *named)
        raise DataError("the header says that its data begin at byte 0; it is damaged", *named) from error
    if offset is not None and offset + n_bytes > storage.identity[2]:
        raise DamagedIndexError(beyond_end(offset, n_bytes, storage.identity[2]), *named, None, number)
    place = np.array([offset or 0], np.int64)
    is_written = offset is not None
    return _Row(place, np.array([n_bytes], np.int64), np.zeros(1, np.uint32), is_written, is_written)
