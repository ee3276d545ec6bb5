"""Pixels of images of at most 8 bits a channel that are not JPEGs, decoded by Pillow."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fastprep.encoded.flattening import flat
from fastprep.encoded.header import Header, Mode
from fastprep.encoded.png_header import check_chunks
from fastprep.errors import DecodeError

_FORMATS = {"PNG": "PNG", "WebP": "WEBP", "TIFF": "TIFF", "GIF": "GIF", "BMP": "BMP", "JPEG 2000": "JPEG2000"}


def decode_eight_bits(data: memoryview, header: Header, mode: Mode | None) -> NDArray[np.uint8]:
    """Decode an image with Pillow, which lets other threads run meanwhile.

    Parameters
    ----------
    data : memoryview of uint8
    header : Header
        Of this image.
    mode : {"RGB", "L"} or None
        See `decode`.

    Returns
    -------
    ndarray of uint8, shape (height, width, C)
        As it is stored, not turned; a TIFF is upright, because Pillow turns it.

    Raises
    ------
    DecodeError
        If Pillow finds damage, or another size or kind of pixels than the header says.
    """
    return opened_by_pillow(data, header, lambda image: np.asarray(flat(image, "RGB" if header.shape(mode)[2] == 3 else "L")))


def opened_by_pillow(data: memoryview, header: Header, take: Callable[[Image.Image], NDArray]) -> NDArray[np.uint8]:
    """Return what is taken of an image that Pillow has decoded, with an axis of channels; see `decode_eight_bits`.

    Parameters
    ----------
    data, header
        As in `decode_eight_bits`.
    take : callable
        Returns pixels of shape (height, width) or (height, width, C).

    Raises
    ------
    DecodeError
        As in `decode_eight_bits`, or what `take` raises.
    """
    if header.kind == "PNG":
        check_chunks(data)  # which Pillow does for few of them
    try:
        with Image.open(io.BytesIO(data), formats=(_FORMATS[header.kind],)) as image:
            stored = header.upright if header.kind == "TIFF" else (header.height, header.width)
            if image.size != stored[::-1]:  # before memory is taken
                width, height = image.size
                raise DecodeError(
                    f"the {header.kind} is damaged: its header says {stored[0]} x {stored[1]} pixels, "
                    f"its first image has {height} x {width}"
                )
            image.load()
            if image.mode.startswith(("I", "F")):
                raise DecodeError(f"the pixels of the {header.kind} have more than the 8 bits that its header says")
            pixels = take(image)
    except (DecodeError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise many kinds of errors for damaged images
        reason = " ".join(str(error).split()) or type(error).__name__
        if "out of memory" in reason:  # what Pillow's decoders say
            raise MemoryError(f"there is too little memory to decode the {header.kind}") from error
        raise DecodeError(f"the {header.kind} is damaged or cut short: {reason} (Pillow)") from error
    return pixels if pixels.ndim == 3 else pixels[..., None]
