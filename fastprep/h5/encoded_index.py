"""Index of encoded images, such as JPEG files: rows of bytes.

An attribute tells how many channels all images have, or else some of the images do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.encoded import Header, check_numbers, read_header, read_mask_header
from fastprep.errors import DataError, DecodeError
from fastprep.h5.attributes import channel_order_of, read_attribute
from fastprep.h5.axes import Axes
from fastprep.h5.byte_rows import ByteRows, verified
from fastprep.h5.chunk_list import ChunkList
from fastprep.h5.files import open_file
from fastprep.h5.filters import Pipeline
from fastprep.h5.groups import ImageGroup, Images, get_images, owner_of
from fastprep.h5.index import ImageIndex
from fastprep.h5.metadata import Metadata
from fastprep.h5.row_layouts import holds_rows, index_rows
from fastprep.h5.types import describe_dataset

_N_LOOKED_AT = 64  # images, unless one of the first is in colour


def is_encoded(dataset: h5py.Dataset | ImageGroup) -> bool:
    """Tell whether a dataset, or datasets of one image each, have rows of bytes in one of the layouts that are known."""
    return holds_rows(dataset)


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
    dataset: h5py.Dataset | ImageGroup,
    named: tuple[str, str],
    axes: str | None = None,
    shape: tuple[int, int, int] | None = None,
    n_labels: int | None = None,
    are_masks: bool = False,
) -> ImageIndex:
    """Describe a dataset of encoded images.

    Parameters
    ----------
    dataset : h5py.Dataset or ImageGroup
        One for which `is_encoded` holds, in a file that is open for reading.
    named : (str, str)
        File and dataset as the user named them, for errors.
    axes, shape
        Must be None: an encoded image says them itself.
    n_labels
        Number of labels, if it is known.
    are_masks : bool
        Whether they are masks, of which a `MaskReader` hands on the numbers. They have one channel, and are uint16 if one of 64
        masks from the whole dataset has more than 8 bits.

    Returns
    -------
    ImageIndex
        A complete one. Its height and width are those of the first image whose header can be read. Others may have another size,
        which only their own headers tell, but never other channels: there are three if an image in colour is found, and one if
        64 images from the whole dataset are grey. The attribute `channel_order`, if it is "RGB" or "L", decides instead of
        them. Grey images among those in colour become RGB, and the other way round.

    Raises
    ------
    DataError
        If the dataset has no rows, its references can't be read, or none of the headers that were looked at can.
    """
    for name, value in (("axes", axes), ("shape", shape)):
        if value is not None:
            raise DataError(
                f"the images are encoded, as JPEG files are, and say their shape themselves: leave {name} out", *named
            )
    if 0 in dataset.shape[:1]:
        raise DataError(f"images are rows of bytes, one for each image, found {describe_dataset(dataset)}", *named)
    rows = verified(index_rows(dataset, named, n_labels), dataset)
    reader = ByteRows(rows)
    try:
        said = None if are_masks else _said_channels(dataset, named)
        if are_masks:
            header, stored, n_channels = *_told_by_masks(reader, named), 1
        else:
            header, n_channels = _told_by_headers(reader, named, said)
            stored = np.dtype(np.uint8)
    finally:
        reader.close()
    one_image = (*header.upright, n_channels)
    sides = (rows.n, *one_image)
    return ImageIndex(
        file=named[0],
        dataset=named[1],
        path=rows.path,
        shape=sides,
        stored_dtype=stored,
        dtype=stored if stored.itemsize == 1 else np.dtype(np.float32),  # as pixels of that type are handed on
        reason="",
        layout=f"encoded, the first as {header.kind}; rows of bytes, {rows.layout}",
        holder=rows.holder,
        identity=rows.identity,
        chunk_shape=(1, *one_image),
        pipeline=Pipeline(),
        chunks=ChunkList(),
        axes=Axes("NHWC", sides, sides),
        n_unwritten=rows.places.n_empty,
        is_complete=True,
        members=rows.members,
        rows=rows,
        kind=header.kind,
        channels_are_said=said is not None,
    )


def like_first(index: ImageIndex, first: ImageIndex) -> ImageIndex:
    """Return the index of encoded images that are handed on as those of an earlier file are.

    Parameters
    ----------
    index : ImageIndex
        Of encoded images.
    first : ImageIndex
        Of those of the first file. Its channels become those of all. Its size becomes the one that images must have where all
        have one.
    """
    sides = (index.shape[0], *first.shape[1:])
    return replace(index, shape=sides, chunk_shape=(1, *sides[1:]), axes=Axes("NHWC", sides, sides))


def decoded_like(first: ImageIndex, index: ImageIndex, metadata: Metadata) -> tuple[ImageIndex, Metadata]:
    """Return index and metadata of encoded images that are decoded as those of the first file are.

    Parameters
    ----------
    first : ImageIndex
        Of the encoded images of the first file, or `index` itself.
    index, metadata
        Of encoded images.

    Returns
    -------
    ImageIndex
        See `like_first`.
    Metadata
        With the order of the channels in which the images are decoded.

    Raises
    ------
    DataError
        If an attribute names another order than that of the file's own images.
    """
    order, named = _decoded_order(index), metadata.channel_order
    if named is not None and named.upper() != order:
        way_out = "mend or delete that attribute, and see that the mean and the covariance beside it have the same order"
        problem = f"encoded images are decoded as {order}, the attribute 'channel_order' says {named!r}: {way_out}"
        raise DataError(problem, index.file, index.dataset)
    return like_first(index, first), replace(metadata, channel_order=_decoded_order(first))


def _decoded_order(index: ImageIndex) -> str:
    return "L" if index.shape[3] == 1 else "RGB"


def _said_channels(dataset: h5py.Dataset | ImageGroup, named: tuple[str, str]) -> int | None:
    """Return the number of channels that the attribute `channel_order` asks for; None if images are decoded to no such order."""
    order, _ = channel_order_of(read_attribute(owner_of(dataset), "channel_order", named), 3)
    return None if order is None else {"RGB": 3, "L": 1}.get(order.upper())


def _told_by_headers(rows: ByteRows, named: tuple[str, str], said: int | None) -> tuple[Header, int]:
    """Return the first header that can be read, and the number of channels that all images get: `said`, if that is known."""
    first: Header | None = None
    for header in _readable_headers(rows, named, readable_header, "an image has to tell how many channels there are"):
        first = first or header
        if said is not None or header.shape()[2] == 3:
            return first, said or 3
    assert first is not None
    return first, 1


def _told_by_masks(rows: ByteRows, named: tuple[str, str]) -> tuple[Header, np.dtype]:
    """Return the first header that can be read, and the type of all masks."""
    headers = list(_readable_headers(rows, named, _header_of_mask, "a mask has to tell how large the numbers are"))
    return headers[0], np.dtype(np.uint16 if max(header.bits for header in headers) > 8 else np.uint8)


def _header_of_mask(data: NDArray[np.uint8]) -> Header:
    header = read_mask_header(data)
    check_numbers(data, header)
    return header


def _readable_headers(
    rows: ByteRows, named: tuple[str, str], read: Callable[[NDArray[np.uint8]], Header], need: str
) -> Iterator[Header]:
    """Yield the headers of images that are looked at, those that can be read; raise what is wrong with the first if none can."""
    is_read, problem = False, None
    for sample in _looked_at(len(rows)):
        try:
            header = read(rows.read([sample])[0])
        except DecodeError as error:
            name = rows.index.name_of(sample)
            problem = problem or DataError(_none_readable(error, rows, need), named[0], name, None, sample)
        except DataError as error:
            problem = problem or error
        else:
            is_read = True
            yield header
    if not is_read:
        assert problem is not None  # there is a row
        raise problem


def _looked_at(n: int) -> Iterator[int]:
    """Yield the numbers of images that are looked at: the first one, and others from the whole dataset."""
    yield from np.unique(np.linspace(0, n - 1, min(n, _N_LOOKED_AT)).astype(np.int64)).tolist()


def _none_readable(error: DecodeError, rows: ByteRows, need: str) -> str:
    n_others = min(len(rows), _N_LOOKED_AT) - 1
    others = f"; {n_others} others that were looked at can't be decoded either" if n_others else ""
    return f"{error}{others}; {rows.index.places.advice or need}"


def readable_header(data: NDArray[np.uint8]) -> Header:
    """Return the header of an image that can be handed on as uint8.

    Raises
    ------
    DecodeError
        If it can't be read, or the image has more than 8 bits a channel.
    """
    header = read_header(data)
    if header.bits > 8:
        raise DecodeError(
            f"encoded images have 8 bits a channel, this {header.kind} has {header.bits}: store pixels of uint16 instead"
        )
    return header
