"""Header of an encoded image of any kind, read from a few of its bytes and before a decoder sees it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fastprep.encoded.header import MAX_PIXELS, Header, check_size
from fastprep.encoded.jpeg_header import read_jpeg
from fastprep.encoded.kinds import kind_of
from fastprep.encoded.other_headers import read_bmp, read_gif, read_jpeg_2000, read_webp
from fastprep.encoded.png_header import read_png
from fastprep.encoded.tiff_header import read_tiff

Encoded = bytes | bytearray | memoryview | NDArray[np.uint8]

_READERS: dict[str, Callable[[memoryview], Header]] = {
    "JPEG": read_jpeg,
    "PNG": read_png,
    "WebP": read_webp,
    "TIFF": read_tiff,
    "GIF": read_gif,
    "JPEG 2000": read_jpeg_2000,
    "BMP": read_bmp,
}


def read_header(data: Encoded, max_pixels: int = MAX_PIXELS) -> Header:
    """Read the header of an encoded image, and check that its pixels are few enough.

    Parameters
    ----------
    data : bytes-like, or ndarray of uint8, shape (n_bytes,)
        The whole image, as it would be in a file. A header is looked for at its beginning, whatever follows the image.
    max_pixels : int, optional
        Pixels above which an image is taken for a decompression bomb. By default 178,956,970, as in Pillow.

    Returns
    -------
    Header

    Raises
    ------
    DecodeError
        If the bytes are not an encoded image, if the header is damaged or says that there are too many pixels, or if what it
        says is not decoded here.
    """
    view = as_view(data)
    header = _READERS[kind_of(view)](view)
    check_size(header, max_pixels)
    return header


def as_view(data: Encoded) -> memoryview:
    """Return the bytes of an image without a copy."""
    view = data.data if isinstance(data, np.ndarray) else memoryview(data)
    if view.itemsize != 1 or view.ndim != 1 or not view.contiguous:
        raise ValueError(
            f"data must be bytes, or an array of uint8 with one axis and no gaps; got {view.ndim} axes of {view.itemsize} bytes"
        )
    return view if view.format == "B" else view.cast("B")
