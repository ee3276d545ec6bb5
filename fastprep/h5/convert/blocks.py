"""All images of a dataset in ascending order, in blocks of bounded size that decode each chunk as few times as possible."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.errors import DataError
from fastprep.h5.groups import ImageGroup
from fastprep.h5.reader import Reader

_BLOCK_BYTES = 32 << 20
_MOST_BYTES = 256 << 20  # a larger chunk of many images is decoded more than once


@dataclass(frozen=True)
class Part:
    """A part of a block of images, from one read.

    Attributes
    ----------
    rows, columns : slice
        Rows and columns of each image that the part has, with every channel.
    pixels : ndarray of uint8, float32 or float64, shape (n, rows, columns, C)
    """

    rows: slice
    columns: slice
    pixels: NDArray


def block_ranges(n: int, images_per_chunk: int, image_bytes: int) -> Iterator[tuple[int, int]]:
    """Divide 0..n into blocks: as many whole chunks as fit into 32 MiB, or equal parts of a chunk that is larger than 256 MiB.

    Parameters
    ----------
    n : int
        Number of images.
    images_per_chunk, image_bytes : int
        Both 1 and up.

    Yields
    ------
    (int, int)
        First image of a block, and the one after its last. In ascending order, without gaps.
    """
    whole_chunks = max(1, _BLOCK_BYTES // (images_per_chunk * image_bytes)) * images_per_chunk
    pieces = 1 if whole_chunks > images_per_chunk else -(-images_per_chunk * image_bytes // _MOST_BYTES)
    step = -(-whole_chunks // min(pieces, whole_chunks))
    for start in range(0, n, whole_chunks):
        end = min(start + whole_chunks, n)
        for first in range(start, end, step):
            yield first, min(first + step, end)


def read_blocks(reader: Reader, dataset: h5py.Dataset | ImageGroup) -> Iterator[tuple[int, int, Iterator[Part]]]:
    """Read all images of a dataset once.

    Parameters
    ----------
    reader : Reader
    dataset : h5py.Dataset or ImageGroup
        The open images that the reader is for.

    Yields
    ------
    (int, int, iterator of Part)
        First image of a block, the one after its last, and the parts that together cover the block. The parts have to be
        exhausted before the next block.

    Raises
    ------
    DataError
        If the file is damaged or has changed, naming file, dataset, chunk and sample.
    """
    index = reader.index
    n, height, width, channels = index.shape
    is_usual = index.axes.n_axis == 0 and index.axes.order == "HWC" and dataset.ndim > 2
    if isinstance(dataset, ImageGroup) or not index.reason or not is_usual:
        is_contiguous = not isinstance(dataset, ImageGroup) and dataset.chunks is None and not index.reason
        per_chunk = 1 if is_contiguous else index.images_per_chunk
        for first, last in block_ranges(n, per_chunk, index.image_bytes):
            pixels = reader.array(np.arange(first, last))
            yield first, last, iter([Part(slice(0, height), slice(0, width), pixels)])
        return
    per_chunk, chunk_height, chunk_width = (dataset.chunks or (1, height, width))[:3]
    # where chunks split the images, parts bound what HDF5 reads at a time, and only the uint8 images are in memory as a whole
    split = chunk_height < height or chunk_width < width
    image_bytes = height * width * channels if split else index.image_bytes
    for first, last in block_ranges(n, min(per_chunk, n), image_bytes):
        yield first, last, _parts(reader, dataset, first, last, (chunk_height, chunk_width))


def _parts(reader: Reader, dataset: h5py.Dataset, first: int, last: int, chunk: tuple[int, int]) -> Iterator[Part]:
    """Read a block through HDF5, in parts along the edges of its chunks: each is decoded once, though they split the images."""
    _, height, width, channels = reader.index.shape
    pixel_bytes = (last - first) * channels * reader.index.dtype.itemsize
    part_height, part_width = _part_size(height, width, chunk, _BLOCK_BYTES // pixel_bytes)
    for y in range(0, height, part_height):
        for x in range(0, width, part_width):
            rows, columns = slice(y, min(y + part_height, height)), slice(x, min(x + part_width, width))
            try:
                pixels = dataset[first:last, rows, columns].astype(reader.index.dtype, copy=False)
            except (OSError, RuntimeError, ValueError) as error:
                _raise_where(reader, first, last)
                raise DataError(f"HDF5 can't read it: {error}", reader.index.file, reader.index.dataset, sample=first) from error
            yield Part(rows, columns, pixels.reshape(last - first, rows.stop - y, columns.stop - x, channels))


def _part_size(height: int, width: int, chunk: tuple[int, int], most_pixels: int) -> tuple[int, int]:
    """Return (height, width) of the parts: whole chunks, whole rows if these fit, and at most `most_pixels` if a chunk fits."""
    chunk_height, chunk_width = min(chunk[0], height), min(chunk[1], width)
    if most_pixels >= height * width:
        return height, width
    part_height = max(1, most_pixels // width // chunk_height) * chunk_height
    part_width = max(1, most_pixels // part_height // chunk_width) * chunk_width
    return min(part_height, height), min(part_width, width)


def _raise_where(reader: Reader, first: int, last: int) -> None:
    """Read images one by one until one fails: its error names chunk and sample."""
    for sample in range(first, last):
        reader.array(np.array([sample]))
