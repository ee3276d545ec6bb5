"""Pixels of an encoded image of any kind."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastprep.encoded.header import MAX_PIXELS, Header, Mode
from fastprep.encoded.headers import Encoded, as_view, read_header

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


def decode(data: Encoded, mode: Mode | None = None, out: NDArray | None = None, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Decode an image: upright, without transparency, in RGB or grey.

    Parameters
    ----------
    data : bytes-like, or ndarray of uint8, shape (n_bytes,)
        The whole JPEG, PNG, WebP, TIFF, GIF, JPEG 2000 or BMP, told by its first bytes. Bytes after its end are not looked at.
    mode : {"RGB", "L"}, optional
        "L" is grey, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), computed from RGB; grey becomes RGB with three equal channels.
        By default what is stored: one channel for images that are stored in grey, and three for all others.
    out : ndarray of uint8 or uint16, shape (H, W, C), C-contiguous, optional
        Memory for the result; `read_header(data).shape(mode)` and `.dtype` tell what is needed. A JPEG in RGB or grey that is
        not turned is decoded right into it. If decoding fails, anything may be in it.
    max_pixels : int, optional
        Pixels above which an image is taken for a decompression bomb. By default 178,956,970, as in Pillow.

    Returns
    -------
    ndarray of uint8 or uint16, shape (H, W, C)
        `out`, if that is given. uint16 for PNG, TIFF and JPEG 2000 with more than 8 bits a channel, in the range that is stored:
        12 bits stay numbers up to 4095.

    Raises
    ------
    DecodeError
        If the image is damaged, cut short, too large or of a kind that is not decoded. A JPEG has no checksum, so damage that
        still decodes to as many pixels can't be noticed.
    ModuleNotFoundError
        If it is a JPEG, and simplejpeg is not installed: `pip install 'fastprep[jpeg]'`.
    ValueError
        If `mode` or `out` do not fit.

    Notes
    -----
    The orientation of EXIF is applied, as by `PIL.ImageOps.exif_transpose`. Transparent parts become white, as on paper; an
    alpha channel that hides nothing has no effect. Of several images in one file, the first is decoded. Four channels of a JPEG
    are ink, inverted as Adobe stores it, and converted to RGB as Pillow converts it. Colour profiles are not applied.
    Other threads run while pixels are decoded.
    """
    if mode not in (None, "RGB", "L"):
        raise ValueError(f"mode must be 'RGB', 'L' or None, got {mode!r}")
    view = as_view(data)
    header = read_header(view, max_pixels)
    if out is not None:
        _check_out(out, header, mode)
    pixels: Pixels
    # each brings libraries that reading pixels from HDF5 does without
    if header.kind == "JPEG":
        from fastprep.encoded.jpeg import decode_jpeg

        pixels = decode_jpeg(view, header, mode, out if header.orientation == 1 else None)
    elif header.bits > 8:
        from fastprep.encoded.sixteen_bits import decode_sixteen_bits

        pixels = decode_sixteen_bits(view, header, mode)
    else:
        from fastprep.encoded.eight_bits import decode_eight_bits

        pixels = decode_eight_bits(view, header, mode)
    is_upright = header.kind == "TIFF" and header.bits <= 8
    turned = pixels if is_upright else upright(pixels, header.orientation)
    if out is None:
        return np.require(turned, requirements=["C", "W"])
    if not np.may_share_memory(out, turned):
        out[...] = turned
    return out


def upright(pixels: NDArray, orientation: int) -> NDArray:
    """Return a view of pixels that are turned as an orientation of EXIF asks for (EXIF 2.32, section 4.6.4.A).

    Parameters
    ----------
    pixels : ndarray, shape (H, W, C)
    orientation : int
        1 to 8: the sides on which the first row and the first column belong.

    Returns
    -------
    ndarray, shape (H, W, C), or (W, H, C) from orientation 5 on
    """
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    is_upside_down, is_mirrored = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return pixels[:: -1 if is_upside_down else 1, :: -1 if is_mirrored else 1]


def _check_out(out: NDArray, header: Header, mode: Mode | None) -> None:
    shape, dtype = header.shape(mode), header.dtype
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(f"out must be {dtype} {shape} for this {header.kind}, got {out.dtype} {out.shape}")
    if not (out.flags.c_contiguous and out.flags.writeable):
        raise ValueError("out must be C-contiguous, and writable")
