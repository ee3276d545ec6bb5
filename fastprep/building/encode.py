"""Encoded images for a data set: files kept as they are, each decoded once as a loader will decode it, or JPEGs made anew."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

import numpy as np

from fastprep.building.decode import DecodedImage, UnreadableError, from_file
from fastprep.building.decode_cache import digest_of, sums_of
from fastprep.building.memory import Memory
from fastprep.encoded import Header, decode, read_header
from fastprep.encoded.encode import encode
from fastprep.encoded.tiff_header import tile_sides
from fastprep.errors import InputError

Mode = Literal["RGB", "L"]

_PILLOW = {"WebP": 26, "JPEG 2000": 24}  # bytes a pixel that decoding by Pillow takes at most; 18 for other kinds


@dataclass(frozen=True)
class EncodedImage:
    """An encoded image, and what is known of its pixels as a loader decodes them.

    Attributes
    ----------
    data : bytes
        The whole file.
    width, height : int
        Size of the upright source in pixels.
    note : str
        See `fastprep.building.decode.DecodedImage`.
    n_pixels : int
        Pixels of the encoded image.
    sums : tuple of list of int
        From `fastprep.building.decode_cache.sums_of`.
    digest : str
        BLAKE2b of the pixels and their number in each direction.
    """

    data: bytes
    width: int
    height: int
    note: str
    n_pixels: int
    sums: tuple[list[int], list[int], list[int]]
    digest: str


@dataclass(frozen=True)
class EncodedMemory:
    """Bounds for the bytes of files and for pixels; a thread that waits for pixels holds a file, so they are not one bound.

    Attributes
    ----------
    files, pixels : Memory
    """

    files: Memory
    pixels: Memory

    @classmethod
    def of(cls, n_bytes: int) -> EncodedMemory:
        """Share memory: a quarter is for the bytes of files."""
        return cls(Memory(n_bytes // 4), Memory(n_bytes - n_bytes // 4))


def decoder() -> str:
    """Return the names and versions of what decodes images here and in a loader.

    Raises
    ------
    InputError
        If simplejpeg is not installed.
    """
    try:
        return f"simplejpeg {metadata.version('simplejpeg')}"
    except metadata.PackageNotFoundError:
        problem = "--encoded decodes JPEGs as a loader does, with simplejpeg, which is not installed"
        raise InputError(f"{problem}: pip install 'fastprep[jpeg]'") from None


def read_encoded(path: str | os.PathLike[str], mode: Mode, memory: EncodedMemory) -> EncodedImage:
    """Read an image file, and decode it as a loader will.

    Parameters
    ----------
    path : str or path
    mode : {"RGB", "L"}
        Channels of the pixels.
    memory : EncodedMemory
        Bounds that threads share.

    Returns
    -------
    EncodedImage
        With the bytes of the file, unchanged.

    Raises
    ------
    OutOfReachError, UnreadableError
        As `fastprep.building.decode.read_image`; an UnreadableError also if the image has more than 8 bits a channel, or is of a
        kind that `fastprep.encoded.decode` does not take.
    """

    def read(file: io.BufferedReader, n_bytes: int) -> EncodedImage:
        memory.files.check_file(n_bytes)
        with memory.files.taken(n_bytes):
            data = file.read(n_bytes)
            header = read_header(data)
            if header.bits > 8:
                raise UnreadableError(
                    f"the {header.kind} has {header.bits} bits a channel, and encoded images have 8: convert it to 8 bits, "
                    "or give --size, which divides by 256"
                )
            with memory.pixels.taken(bytes_to_decode(data, header)):
                return _facts(data, mode, *header.upright[::-1])

    return from_file(path, read)


def encode_again(image: DecodedImage, quality: int) -> EncodedImage:
    """Return an image as a JPEG, with what is known of the pixels that the JPEG is decoded to.

    Parameters
    ----------
    image : DecodedImage
    quality : int
        1..100.
    """
    mode: Mode = "L" if image.pixels.shape[2] == 1 else "RGB"
    return _facts(encode(image.pixels, "jpeg", quality), mode, image.width, image.height, image.note)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Read an image file as it is; errors are those of `read_encoded`."""
    return from_file(path, lambda file, n_bytes: file.read(n_bytes))


def bytes_digest(data: bytes) -> str:
    """Return the BLAKE2b of the bytes of a file."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def bytes_to_decode(data: bytes, header: Header) -> int:
    """Return an upper bound of the memory that decoding takes besides the bytes themselves; docs/notes/building.md measures it.

    Parameters
    ----------
    data : bytes
        The whole file.
    header : Header
        Its header.
    """
    height, width = header.height, header.width
    if header.kind == "JPEG":
        each = 16 if header.channels == 4 else 9
        # of several scans libjpeg keeps all coefficients, up to four of 16 bits; the marker may also be that of a thumbnail
        is_whole_at_once = data.count(b"\xff\xda") > 1
        return height * width * (each + 8 * is_whole_at_once)
    if header.kind == "TIFF":
        tile_height, tile_width = tile_sides(memoryview(data))
        height, width = max(height, tile_height), max(width, tile_width)
    return height * width * _PILLOW.get(header.kind, 18) + 3 * len(data)


def _facts(data: bytes, mode: Mode, width: int, height: int, note: str = "") -> EncodedImage:
    pixels = np.asarray(decode(data, mode), np.uint8)
    digest = f"{pixels.shape[0]}x{pixels.shape[1]} {digest_of(pixels)}"
    return EncodedImage(data, width, height, note, pixels.shape[0] * pixels.shape[1], sums_of(pixels), digest)
