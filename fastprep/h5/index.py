"""Check a dataset of images, and record where the bytes of each image are.

A dataset is read directly only if its storage is known to be plain. Anything else is left to HDF5, and the reason is recorded.
What must be known about all files at the start is in their headers (`index_images`). Lists of chunks can wait (`with_chunks`).
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from functools import cached_property

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.errors import DataError
from fastprep.h5.axes import Axes, Sides, find_axes
from fastprep.h5.chunk_list import ChunkList, list_chunks
from fastprep.h5.convert_line import way_to_read_directly
from fastprep.h5.file_bytes import absolute
from fastprep.h5.filters import Pipeline, Unsupported
from fastprep.h5.groups import ImageGroup
from fastprep.h5.header_checks import check_header
from fastprep.h5.row_index import RowIndex
from fastprep.h5.storage import chunk_grid, find_storage, storage_by_hdf5
from fastprep.h5.types import describe_type, number_type
from fastprep.h5.unwritten import n_unwritten, rows_of

_log = logging.getLogger(__name__)

_KERNEL_DTYPES = ("uint8", "uint16", "int16", "float32", "float64")
# Types that the kernels do not take, and for each of them the type that holds all of its values exactly
_WIDENED = {
    "int8": "float32",
    "float16": "float32",
    "int32": "float64",
    "uint32": "float64",
    "int64": "float64",  # up to 2**53, which is checked; see `fastprep.h5.types.widened`
    "uint64": "float64",
}


@dataclass(frozen=True)
class ImageIndex:
    """The images of one dataset: what they are, and where their bytes are.

    Attributes
    ----------
    file, dataset : str
        As the user named them.
    path : str
        Absolute path of the file.
    shape : (int, int, int, int)
        Samples, height, width, channels; a dataset of rank 3 has one channel.
    stored_dtype : dtype
        Type in the file.
    dtype : dtype
        Type in which readers hand the images on: uint8, uint16, int16, float32 or float64, in native byte order; of masks, any
        type. It holds every stored value exactly, or reading is an error.
    reason : str
        Why HDF5 has to read this dataset; empty if it is read directly.
    layout : str
        For people: "contiguous", "chunked, 1 image each, filters gzip", ...
    holder : str
        Absolute path of the file that has the bytes; not `path` where a link leads elsewhere.
    identity : tuple of int
        Device, inode, size and modification time of `holder` when it was indexed.
    chunk_shape : (int, int, int, int)
        Sides of a chunk in the order of `axes.sides`; contiguous data are one chunk.
    pipeline : Pipeline
        The filters of the chunks.
    chunks : ChunkList
        Where each chunk is in `holder`; empty until the chunks have been listed.
    images_decoded_at_once : int
        Number of images that have to be decoded to get one of them. The order of samples depends on it, so it follows from the
        header alone, whatever is found out about the chunks later.
    n_unwritten : int
        Number of images that nobody has written, as far as that is known; for images that are read directly, once the chunks
        have been listed.
    axes : Axes
        Order of the dataset's axes. Readers hand images on as they are stored, in the order `axes.order`.
    is_complete : bool
        Whether the chunks have been listed and verified, or are not needed.
    members : tuple of str
        Names of the datasets of images that have one each; empty for images in one dataset.
    rows : RowIndex or None
        Where the bytes of encoded images are; None for pixels. Height and width are those of the first image then.
    kind : str
        Kind of the first encoded image, such as "JPEG"; empty for pixels.
    channels_are_said : bool
        Whether an attribute says how many channels encoded images are decoded to.
    """

    file: str
    dataset: str
    path: str
    shape: Sides
    stored_dtype: np.dtype
    dtype: np.dtype
    reason: str
    layout: str
    holder: str
    identity: tuple[int, ...]
    chunk_shape: Sides
    pipeline: Pipeline
    chunks: ChunkList
    axes: Axes
    images_decoded_at_once: int = 1
    n_unwritten: int = 0
    is_complete: bool = False
    members: tuple[str, ...] = ()
    rows: RowIndex | None = None
    kind: str = ""
    channels_are_said: bool = False

    @cached_property
    def image_bytes(self) -> int:
        """Size of one image in `dtype`, in bytes."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @cached_property
    def stored_image_bytes(self) -> int:
        """Size of one image in the file before filters, in bytes."""
        return math.prod(self.shape[1:]) * self.stored_dtype.itemsize

    @property
    def chunk_bytes(self) -> int:
        """Size of one chunk before filters, in bytes."""
        return math.prod(self.chunk_shape) * self.stored_dtype.itemsize

    @property
    def images_per_chunk(self) -> int:
        """Number of images in a chunk: image i is in row i // images_per_chunk of the chunks."""
        return self.chunk_shape[0]

    @property
    def is_split(self) -> bool:
        """Whether chunks and images differ in another side than the number of samples."""
        return self.chunk_shape[1:] != self.axes.sides[1:]

    @cached_property
    def is_plain(self) -> bool:
        """Whether the images are stored exactly as the kernels take them."""
        return self.is_addressable and self.stored_dtype == self.dtype

    @cached_property
    def native_dtype(self) -> np.dtype:
        """Type of the stored numbers in the byte order of this machine."""
        return self.stored_dtype.newbyteorder("=")

    @cached_property
    def has_only_direct(self) -> bool:
        """Whether HDF5 has to read no image of the dataset; only of a complete index."""
        return not self.reason and bool(self.chunks.direct.all())

    @cached_property
    def is_addressable(self) -> bool:
        """Whether each image is a range of bytes in the file, so that it can be read alone."""
        return not self.reason and not self.pipeline.filters and not self.is_split and self.rows is None

    def offsets(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where images begin in `holder`, if they are addressable."""
        offsets = self.chunks.offsets
        if len(offsets) == 1:
            return offsets[0] + samples * self.stored_image_bytes
        row, within = np.divmod(samples, self.images_per_chunk)
        return offsets[row] + within * self.stored_image_bytes

    def extents(self, samples: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return offsets and sizes of the bytes in `holder` that have some of the images; those that HDF5 reads have none."""
        if self.reason or self.rows is not None or not len(self.chunks.offsets):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        if self.is_addressable:
            return self.offsets(samples), np.full(len(samples), self.stored_image_bytes)
        row = samples // self.images_per_chunk
        n_tiles = math.prod(chunk_grid(self.axes.sides, self.chunk_shape)[1:])
        numbers = (np.unique(row)[:, None] * n_tiles + np.arange(n_tiles)).reshape(-1)
        return self.chunks.offsets[numbers], self.chunks.sizes[numbers]

    def samples_of_block(self, number: int) -> NDArray[np.int64]:
        """Return the samples that are decoded together, of which the last block may have fewer."""
        first = number * self.images_decoded_at_once
        return np.arange(first, min(first + self.images_decoded_at_once, self.shape[0]))

    def name_of(self, sample: int) -> str:
        """Name of the dataset that has an image."""
        return self.members[sample] if self.members else self.dataset

    def unwidened(self) -> ImageIndex:
        """Return the index of images that are handed on in the type that they are stored in, which only masks need."""
        return replace(self, dtype=self.native_dtype)

    def by_hdf5(self, reason: str) -> ImageIndex:
        """Return the index of a dataset that HDF5 has to read after all, for the given reason."""
        return replace(self, reason=reason, layout=f"read by HDF5: {reason}", is_complete=True)


def index_images(
    dataset: h5py.Dataset | ImageGroup,
    named: tuple[str, str],
    axes: str | None = None,
    n_labels: int | None = None,
    shape: tuple[int, int, int] | None = None,
) -> ImageIndex:
    """Describe a dataset of images, as far as its header tells.

    Parameters
    ----------
    dataset : h5py.Dataset
        In a file that is open for reading; or an `ImageGroup`, of which the first image is described.
    named : (str, str)
        File and dataset as the user named them.
    axes : str or None
        Axes that the user has named; None if they are to be judged by what the file says, and by the shape.
    n_labels : int or None
        Number of labels in the file, which helps to judge the shape.
    shape : (int, int, int) or None
        Height, width and channels of an image, for a dataset of flat rows.

    Returns
    -------
    ImageIndex

    Raises
    ------
    DataError
        If the dataset does not hold images, probably has other axes, or can't be as large as its header says.
    """
    if not dataset.shape or 0 in dataset.shape:
        raise DataError(
            f"images have the shape (N, height, width, channels) or (N, height, width), found {dataset.shape}", *named
        )
    stored = _checked_type(dataset, named)
    plain_name = stored.newbyteorder("=").name
    one = dataset.first if isinstance(dataset, ImageGroup) else dataset
    check_header(one, named)
    found = find_axes(dataset, named, axes, n_labels, shape)
    axes_of_one = found if one is dataset else found.of_one_image()
    reason = ""
    try:
        storage = find_storage(one, named, axes_of_one)
    except Unsupported as error:
        reason = str(error)
        storage = storage_by_hdf5(one, reason, axes_of_one)
    index = ImageIndex(
        file=named[0],
        dataset=named[1],
        path=absolute(named[0]),
        shape=found.shape,
        stored_dtype=stored,
        dtype=np.dtype(_WIDENED.get(plain_name, plain_name)),
        reason=reason,
        layout=storage.layout,
        holder=storage.holder,
        identity=storage.identity,
        chunk_shape=storage.chunk_shape,
        pipeline=storage.pipeline,
        chunks=ChunkList.of_one(*storage.extent) if storage.extent is not None and one is dataset else ChunkList(),
        axes=found,
        n_unwritten=n_unwritten(dataset, found.n_axis) if reason and one is dataset else 0,
        is_complete=reason != "",
    )
    return index if index.is_addressable else replace(index, images_decoded_at_once=index.images_per_chunk)


def _checked_type(dataset: h5py.Dataset, named: tuple[str, str]) -> np.dtype:
    """Return the type of the numbers in a dataset of images, if kernels take it as it is or widened."""
    stored = number_type(dataset)
    if stored is None or stored.newbyteorder("=").name not in (*_KERNEL_DTYPES, *_WIDENED):
        known = ", ".join((*_KERNEL_DTYPES, *_WIDENED))
        problem = f"images have one of the types {known} or bool, found {describe_type(dataset)}; store them anew as one of these"
        raise DataError(problem, *named)
    return stored


def with_chunks(index: ImageIndex, dataset: h5py.Dataset) -> ImageIndex:
    """Return an index with the list of chunks.

    Parameters
    ----------
    index : ImageIndex
        From `index_images`.
    dataset : h5py.Dataset
        The dataset that was indexed.

    Returns
    -------
    ImageIndex
        With all chunks, which have not been verified yet.

    Raises
    ------
    DamagedIndexError
        If the list of chunks can't be true.
    """
    if index.is_complete or len(index.chunks):
        return index
    try:
        chunks = list_chunks(dataset, (index.file, index.dataset), index.axes)
        return replace(index, chunks=chunks, n_unwritten=rows_of(~chunks.written, index.images_per_chunk, index.shape[0]))
    except Unsupported as reason:
        return index.by_hdf5(str(reason))


def warn_of_hdf5(index: ImageIndex, more: int = 0) -> None:
    """Log that HDF5 has to read a dataset, why, and the command that writes a file which is read directly.

    Parameters
    ----------
    index : ImageIndex
    more : int
        Number of other files with the same reason.
    """
    files = f"{index.file} and {more} more" if more else index.file
    message = "%s: HDF5 has to read %r, which is slower and does not run in parallel: %s%s"
    way_out = way_to_read_directly(index)
    _log.warning(message, files, index.dataset, index.reason, f"; {way_out}" if way_out else "")
