"""The new dataset of images, pixels or encoded: how it is created, what writes it, and what reads it back."""

from __future__ import annotations

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.h5.convert.encoded_rows import EncodedRows, verify_rows
from fastprep.h5.convert.images import NewImages, Uint8Images, verify_images
from fastprep.h5.convert.options import Options, Rewritten
from fastprep.h5.index import ImageIndex
from fastprep.h5.write import new_images
from fastprep.h5.write_encoded import new_rows


def new_shape(index: ImageIndex, n: int, options: Options) -> tuple[int, int, int, int]:
    """Return the shape of n new images of a source, with the size of the first one, if each may have its own."""
    height, width = index.shape[1:3] if options.resize is None else options.resize.size
    return n, height, width, index.shape[3]


def create(
    file: h5py.File, name: str | None, shape: tuple[int, int, int, int], options: Options, track_order: bool = False
) -> h5py.Dataset:
    """Create the dataset, without values; see `fastprep.h5.write.new_images`."""
    if options.encoding is not None:
        return new_rows(file, name, shape[0], track_order)
    return new_images(file, name, shape, options.gzip_level, track_order)


def writer_of(
    dataset: h5py.Dataset, shape: tuple[int, int, int, int], options: Options, order: list[int] | None = None
) -> NewImages:
    """Return what writes images into the dataset, their channels in `order`."""
    return Uint8Images(dataset, shape, options) if options.encoding is None else EncodedRows(dataset, shape, options, order)


def facts_of(
    writer: NewImages,
    index: ImageIndex,
    mean: NDArray[np.float64] | None,
    notes: tuple[str, ...],
    images: str,
    labels: str | None,
) -> Rewritten:
    """Return what was done, when all images are written; see `Rewritten`."""
    pixel_bytes, sizes = writer.n_pixels * writer.shape[3], (writer.had_sizes, writer.has_sizes)
    return Rewritten(index, writer.shape, mean, notes, images, labels, pixel_bytes, *sizes, writer.n_kept, writer.loss)


def verify(
    temporary: str, target: str, images: str, checksums: NDArray[np.uint32], shape: tuple[int, int, int, int], options: Options
) -> None:
    """Read every image back; see `verify_images` and `verify_rows`."""
    if options.encoding is None:
        verify_images(temporary, target, images, checksums, options.progress)
    else:
        verify_rows(temporary, target, images, checksums, shape[3], options.progress)
