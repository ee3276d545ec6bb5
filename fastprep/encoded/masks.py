"""The numbers of masks that are stored as images: those of a grey image, or the places of its pixels in a palette."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fastprep.encoded.decode import Pixels, upright
from fastprep.encoded.header import Header
from fastprep.encoded.headers import Encoded, as_view, read_header
from fastprep.errors import DecodeError

if TYPE_CHECKING:
    from PIL import Image

_LOSSLESS = ("PNG", "TIFF", "GIF", "BMP")  # of other kinds no header here tells whether they changed numbers
_WAY_OUT = "store masks as PNG, in grey or with a palette, or as a dataset of numbers, shape (N, height, width)"
_ONE_NUMBER = ("1", "L", "P")  # modes of Pillow: black and white, grey, and palettes


def read_mask_header(data: Encoded) -> Header:
    """Read the header of a mask, of which the kind has to keep numbers as they are.

    Parameters
    ----------
    data : bytes-like, or ndarray of uint8, shape (n_bytes,)
        The whole image.

    Returns
    -------
    Header

    Raises
    ------
    DecodeError
        As `read_header`; also if it is a JPEG, WebP or JPEG 2000.
    """
    header = read_header(data)
    if header.kind not in _LOSSLESS:
        changes = "changes" if header.kind == "JPEG" else "may change"
        raise DecodeError(f"masks are numbers, and {header.kind} {changes} them when it is encoded: {_WAY_OUT}")
    return header


def check_numbers(data: Encoded, header: Header) -> None:
    """Check that the pixels of a mask have one number each, as far as that can be told without decoding it.

    Raises
    ------
    DecodeError
        If they have colours, or transparency in a channel of its own.
    """
    if header.bits > 8:
        _check_sixteen_bits(header)
        return
    from PIL import Image

    try:
        with Image.open(io.BytesIO(as_view(data))) as image:
            mode = image.mode
    except Exception:  # Pillow raises many kinds of errors for damaged images, which are reported when the mask is decoded
        return
    _check_mode(mode, header)


def decode_mask(data: Encoded) -> Pixels:
    """Decode a mask: the numbers that are stored, upright.

    Parameters
    ----------
    data : bytes-like, or ndarray of uint8, shape (n_bytes,)
        The whole PNG, TIFF, GIF or BMP.

    Returns
    -------
    ndarray of uint8 or uint16, shape (H, W, 1)
        What `numpy.asarray(PIL.Image.open(...))` gives: of a palette the place of each pixel in it, and not its colour; in black
        and white 0 and 1; in grey the numbers, as uint16 where there are more than 8 bits.

    Raises
    ------
    DecodeError
        If it is damaged or cut short, of a kind that does not keep numbers, or if a pixel has several numbers: colours, or
        transparency in a channel of its own.
    """
    view = as_view(data)
    header = read_mask_header(view)
    if header.bits > 8:
        _check_sixteen_bits(header)
        # it brings libraries that reading pixels from HDF5 does without
        from fastprep.encoded.sixteen_bits import decode_sixteen_bits

        return np.ascontiguousarray(upright(decode_sixteen_bits(view, header, "L"), header.orientation))
    from fastprep.encoded.eight_bits import opened_by_pillow

    numbers = opened_by_pillow(view, header, lambda image: _numbers(image, header))
    return np.ascontiguousarray(numbers if header.kind == "TIFF" else upright(numbers, header.orientation))


def _numbers(image: Image.Image, header: Header) -> NDArray[np.uint8]:
    _check_mode(image.mode, header)
    return np.asarray(image).astype(np.uint8, copy=False)


def _check_mode(mode: str, header: Header) -> None:
    if mode not in _ONE_NUMBER:
        raise DecodeError(f"masks have one number a pixel, this {header.kind} has several ({mode}): {_WAY_OUT}")


def _check_sixteen_bits(header: Header) -> None:
    if header.channels != 1:
        raise DecodeError(
            f"masks have one number a pixel, this {header.kind} has several ({header.channels} of {header.bits} bits): {_WAY_OUT}"
        )
