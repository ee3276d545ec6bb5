"""Check a dataset under h5py, and record where every image's bytes lie.

A dataset is read directly only where it is proven to be plain; anything else is left to HDF5, with the reason on record. What has
to be known of every file at once is in its header (`index_images`); its list of chunks can wait (`with_chunks`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.errors import DataError
from fastprep.h5.files import identity_of
from fastprep.h5.filters import Pipeline, Unsupported
from fastprep.h5.header_checks import check_claims
from fastprep.h5.storage import four_sides, list_chunks, place

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
    """Where the images of one dataset lie.

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
        For people: "contiguous", "chunked, 1 image each, gzip", ...
    holder : str
        Absolute path of the file that has the bytes (not `path` where a link leads elsewhere).
    identity : tuple of int
        Device, inode, size and modification time of `holder` when it was indexed.
    chunk_shape : (int, int, int, int)
        Samples, height, width and channels of a chunk; contiguous data are one chunk.
    offsets, sizes : ndarray of int64, shape (rows * tiles,)
        Place and stored length of each chunk in `holder`, bytes. A *row* is the chunks that hold the same samples; where chunks
        split images a row has several *tiles*.
    masks : ndarray of uint32, shape (rows * tiles,)
        Filters skipped by each chunk.
    direct : ndarray of bool, shape (rows,)
        False for the odd row that is left to HDF5, because a chunk of it was never written.
    pipeline : Pipeline
    images_decoded_at_once : int
        How many images have to be read to get at one of them. The order of samples depends on it, so it is what the header
        says, whatever is found out about the chunks later.
    is_complete : bool
        Whether offsets, sizes, masks and direct are known and proven, or not needed.
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
    images_decoded_at_once: int = 1
    is_complete: bool = False

    @property
    def image_bytes(self) -> int:
        """Bytes of one image in `dtype`."""
        return int(np.prod(self.shape[1:])) * self.dtype.itemsize

    @property
    def stored_image_bytes(self) -> int:
        """Bytes of one image in the file, without filters."""
        return int(np.prod(self.shape[1:])) * self.stored_dtype.itemsize

    @property
    def chunk_bytes(self) -> int:
        """Bytes of one chunk without filters."""
        return int(np.prod(self.chunk_shape)) * self.stored_dtype.itemsize

    @property
    def images_per_chunk(self) -> int:
        """Image i lies in row i // images_per_chunk."""
        return self.chunk_shape[0]

    @property
    def is_split(self) -> bool:
        """Whether chunks and images differ in height, width or channels."""
        return self.chunk_shape[1:] != self.shape[1:]

    @property
    def is_plain(self) -> bool:
        """Whether the images lie in the file as the kernels take them."""
        alone = not self.reason and not self.pipeline.filters and not self.is_split
        return alone and self.stored_dtype == self.dtype and self.stored_dtype.isnative

    def by_hdf5(self, reason: str) -> ImageIndex:
        """Return the same for a dataset that HDF5 has to read after all."""
        return replace(self, reason=reason, layout=f"read by HDF5: {reason}", is_complete=True)


def index_images(dataset: h5py.Dataset, named: tuple[str, str]) -> ImageIndex:
    """Describe a dataset of images by its header.

    Parameters
    ----------
    dataset : h5py.Dataset
        Of shape (N, H, W, C), or (N, H, W) for one channel; of a file that is open for reading.
    named : (str, str)
        What the user calls its file and itself.

    Returns
    -------
    ImageIndex

    Raises
    ------
    DataError
        If the dataset does not hold images, or can't be as large.
    """
    shape = dataset.shape
    if shape is None or len(shape) not in (3, 4) or 0 in shape:
        raise DataError(f"images have the shape (N, height, width, channels) or (N, height, width), found {shape}", *named)
    stored = dataset.dtype
    plain_name = stored.newbyteorder("=").name
    if plain_name not in (*_KERNEL_DTYPES, *_WIDENED) or h5py.check_enum_dtype(stored):
        known = ", ".join((*_KERNEL_DTYPES, *_WIDENED))
        raise DataError(f"images have one of the types {known}, found {stored}", *named)
    check_claims(dataset, named)
    n, height, width, channels = four_sides(shape)
    known_facts = {
        "file": named[0],
        "dataset": named[1],
        "path": os.path.abspath(named[0]),
        "shape": (n, height, width, channels),
        "stored_dtype": stored,
        "dtype": np.dtype(_WIDENED.get(plain_name, plain_name)),
    }
    try:
        index = ImageIndex(**known_facts, reason="", **place(dataset, named))
    except Unsupported as reason:
        index = ImageIndex(
            **known_facts,
            reason=str(reason),
            layout=f"read by HDF5: {reason}",
            holder=os.path.abspath(dataset.file.filename),  # another file, behind a link
            identity=identity_of(os.stat(dataset.file.filename)),
            chunk_shape=four_sides(dataset.chunks) if dataset.chunks else (1, height, width, channels),
            is_complete=True,
        )
    alone = not index.reason and not index.pipeline.filters and not index.is_split
    return index if alone else replace(index, images_decoded_at_once=index.images_per_chunk)


def with_chunks(index: ImageIndex, dataset: h5py.Dataset) -> ImageIndex:
    """Return an index with the places of the chunks.

    Parameters
    ----------
    index : ImageIndex
        From `index_images`.
    dataset : h5py.Dataset
        The same one.

    Returns
    -------
    ImageIndex
        Complete, but not yet proven.

    Raises
    ------
    DamagedIndexError
        If the list of chunks can't be true.
    """
    if index.is_complete or len(index.offsets):
        return index
    try:
        return replace(index, **list_chunks(dataset, (index.file, index.dataset)))
    except Unsupported as reason:
        return index.by_hdf5(str(reason))
