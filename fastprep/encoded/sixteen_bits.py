"""Pixels of PNG, TIFF and JPEG 2000 with 9 to 16 bits a channel, decoded by imagecodecs: Pillow has no colours of 16 bits."""

from __future__ import annotations

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from fastprep.encoded.header import Header, Mode
from fastprep.encoded.png_header import check_chunks
from fastprep.encoded.tiff_header import MIN_IS_WHITE, check_meaning
from fastprep.errors import DecodeError

_DECODERS = {"PNG": imagecodecs.png_decode, "TIFF": imagecodecs.tiff_decode, "JPEG 2000": imagecodecs.jpeg2k_decode}
_WHITE = 65_535


def decode_sixteen_bits(data: memoryview, header: Header, mode: Mode | None) -> NDArray[np.uint16]:
    """Decode an image with imagecodecs, which lets other threads run meanwhile.

    Parameters
    ----------
    data : memoryview of uint8
    header : Header
        Of this image.
    mode : {"RGB", "L"} or None
        See `decode`.

    Returns
    -------
    ndarray of uint16, shape (height, width, C)
        As it is stored, not turned.

    Raises
    ------
    DecodeError
        If imagecodecs finds damage, or other pixels than the header says, or if what the numbers mean is not known here.
    """
    meaning = check_meaning(data) if header.kind == "TIFF" else None
    if header.kind == "PNG":
        check_chunks(data)  # imagecodecs 2026.3.6 loses the memory for the pixels of a PNG that libpng finds damaged
    try:
        pixels = _DECODERS[header.kind](data)
    except MemoryError:
        raise
    except Exception as error:  # a class for each kind, and IndexError and ValueError besides
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DecodeError(f"the {header.kind} is damaged or cut short: {reason} (imagecodecs)") from error
    size = (header.height, header.width)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    elif pixels.shape == (header.channels, *size) and pixels.shape != (*size, header.channels):  # a TIFF with its channels apart
        pixels = np.moveaxis(pixels, 0, 2)
    if pixels.shape != (*size, header.channels) or pixels.dtype != np.uint16:
        raise DecodeError(
            f"the {header.kind} is damaged: its header says {size} with {header.channels} channels of uint16, "
            f"it decodes to {pixels.dtype} {pixels.shape}"
        )
    if meaning == MIN_IS_WHITE:
        pixels = _WHITE - pixels
    return _channels(_on_white(pixels), header.shape(mode)[2])


def _on_white(pixels: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return pixels without their last channel if they have transparency; what is transparent becomes white."""
    if pixels.shape[2] in (1, 3):
        return pixels
    color, alpha = pixels[..., :-1], pixels[..., -1:].astype(np.uint64)
    if (alpha == _WHITE).all():
        return color
    # rounded, as Pillow does it for 8 bits
    return ((color * alpha + _WHITE * (_WHITE - alpha) + _WHITE // 2) // _WHITE).astype(np.uint16)


def _channels(pixels: NDArray[np.uint16], n_channels: int) -> NDArray[np.uint16]:
    """Return pixels with 1 or 3 channels."""
    if pixels.shape[2] == n_channels:
        return pixels
    if n_channels == 3:
        return np.repeat(pixels, 3, axis=2)
    red, green, blue = np.moveaxis(pixels.astype(np.uint32), 2, 0)
    # ITU-R BT.601 with Pillow's factors, whose sum is 1 << 16: at most 65,535 * 65,536 + 32,768 < 2**32
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint16)[..., None]
