"""Index of encoded images, such as JPEG files: rows of bytes, the first of which tells how many channels all images have."""

from __future__ import annotations

import h5py
import numpy as np

from fastprep.encoded import Header, read_header
from fastprep.errors import DataError, DecodeError
from fastprep.h5.axes import Axes
from fastprep.h5.byte_rows import ByteRows, verified
from fastprep.h5.chunk_list import ChunkList
from fastprep.h5.files import open_file
from fastprep.h5.filters import Pipeline
from fastprep.h5.groups import ImageGroup, Images, get_images
from fastprep.h5.index import ImageIndex
from fastprep.h5.row_index import holds_bytes, index_rows
from fastprep.h5.types import describe_dataset


def is_encoded(dataset: h5py.Dataset | ImageGroup) -> bool:
    """Tell whether a dataset has rows of bytes, which can't be pixels: of variable length, and of a type of one byte."""
    return not isinstance(dataset, ImageGroup) and holds_bytes(dataset.id.get_type())


def has_encoded_images(path: str, images: Images) -> bool:
    """Tell whether the images of a file are encoded.

    Raises
    ------
    OSError, DataError
        If the file can't be opened, or has no such images.
    """
    with open_file(path) as file:
        return is_encoded(get_images(file, images))


def index_encoded(
    dataset: h5py.Dataset, named: tuple[str, str], axes: str | None = None, shape: tuple[int, int, int] | None = None
) -> ImageIndex:
    """Describe a dataset of encoded images.

    Parameters
    ----------
    dataset : h5py.Dataset
        One for which `is_encoded` holds, in a file that is open for reading.
    named : (str, str)
        File and dataset as the user named them, for errors.
    axes, shape
        Must be None: an encoded image says them itself.

    Returns
    -------
    ImageIndex
        A complete one. Its height, width and channels are those of the first image. Others may have another size, which only
        their own headers tell, but never other channels: grey images among those in colour become RGB, and the other way round.

    Raises
    ------
    DataError
        If the dataset has no rows, its references can't be read, the first image's header can't, or images have more than 8 bits
        a channel.
    """
    for name, value in (("axes", axes), ("shape", shape)):
        if value is not None:
            raise DataError(
                f"the images are encoded, as JPEG files are, and say their shape themselves: leave {name} out", *named
            )
    if 0 in dataset.shape:
        raise DataError(f"images are rows of bytes, one for each image, found {describe_dataset(dataset)}", *named)
    rows = verified(index_rows(dataset, named), dataset)
    reader = ByteRows(rows)
    try:
        header = _first_header(reader, named)
    finally:
        reader.close()
    sides = (rows.n, *header.shape())
    one_image = (1, *header.shape())
    return ImageIndex(
        file=named[0],
        dataset=named[1],
        path=rows.path,
        shape=sides,
        stored_dtype=np.dtype(np.uint8),
        dtype=np.dtype(np.uint8),
        reason="",
        layout=f"encoded, the first as {header.kind}; rows of bytes, {rows.layout}",
        holder=rows.holder,
        identity=rows.identity,
        chunk_shape=one_image,
        pipeline=Pipeline(),
        chunks=ChunkList(),
        axes=Axes("NHWC", sides, sides),
        n_unwritten=int(np.count_nonzero(rows.references["length"] == 0)),
        is_complete=True,
        rows=rows,
    )


def _first_header(rows: ByteRows, named: tuple[str, str]) -> Header:
    try:
        header = read_header(rows.read([0])[0])
    except DecodeError as error:
        raise DataError(f"{error}; the first image has to tell how many channels there are", *named, None, 0) from error
    if header.bits > 8:
        raise DataError(too_deep(header), *named, None, 0)
    return header


def too_deep(header: Header) -> str:
    """Say that an image has more bits a channel than are read."""
    return f"encoded images have 8 bits a channel, this {header.kind} has {header.bits}: store pixels of uint16 instead"
