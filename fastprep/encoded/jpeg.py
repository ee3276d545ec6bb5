"""Pixels of a JPEG, decoded by libjpeg-turbo in the package simplejpeg, which takes libjpeg's warnings for what they are.

libjpeg fills what is missing with grey and warns; docs/notes/encoded-images.md says which packages pass that on.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fastprep.encoded.header import Header, Mode
from fastprep.errors import DecodeError, MissingLibraryError

_UNKNOWN_REVISION = "unknown JFIF revision"
_JUNK_BEFORE_END = "extraneous bytes before marker 0xd9"
_JFIF = b"JFIF\x00"


def decode_jpeg(data: memoryview, header: Header, mode: Mode | None, out: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """Decode a JPEG.

    Parameters
    ----------
    data : memoryview of uint8
    header : Header
        Of this JPEG.
    mode : {"RGB", "L"} or None
        See `decode`.
    out : ndarray of uint8, C-contiguous, or None
        Memory for the result, used if libjpeg can write into it directly.

    Returns
    -------
    ndarray of uint8, shape (height, width, C)
        As it is stored, not turned; `out` if that was used.

    Raises
    ------
    DecodeError
        If libjpeg finds damage, or that bytes are missing.
    ModuleNotFoundError
        If simplejpeg is not installed.
    """
    _, _, n_channels = header.shape(mode)
    if header.channels == 4:
        ink = _libjpeg(data, "CMYK", None)
        # Adobe stores ink inverted, and all others do as Adobe does; Pillow assumes so, too
        image = Image.frombuffer("CMYK", (header.width, header.height), ink, "raw", "CMYK;I", 0, 1).convert("RGB")
        return np.asarray(image.convert("L"))[..., None] if n_channels == 1 else np.asarray(image)
    if header.channels == 3 and n_channels == 1:
        # not the luminance that is stored: there is one rule for grey, of which colours that were clipped are a part
        return np.asarray(Image.fromarray(_libjpeg(data, "RGB", None)).convert("L"))[..., None]
    return _libjpeg(data, "RGB" if n_channels == 3 else "GRAY", out)


def _libjpeg(data: memoryview, colors: str, out: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    simplejpeg = _simplejpeg()
    try:
        return simplejpeg.decode_jpeg(data, colors, buffer=out)
    except ValueError as error:
        reason = str(error)
    if _UNKNOWN_REVISION in reason and (repaired := _with_known_revision(data)) is not None:
        # says nothing about the pixels, but only the first warning is passed on: a later one must be heard, too
        return _libjpeg(memoryview(repaired), colors, out)
    if reason.endswith(_JUNK_BEFORE_END):  # the first warning, and it comes after the last pixel
        return simplejpeg.decode_jpeg(data, colors, buffer=out, strict=False)
    raise DecodeError(f"the JPEG is damaged or cut short: {' '.join(reason.split())} (libjpeg)")


def _with_known_revision(data: memoryview) -> bytearray | None:
    """Return a JPEG with version 1.1 in its JFIF header; None if that header is not where it belongs, or has that version."""
    if data[6:11] != _JFIF or data[11:13] == b"\x01\x01":
        return None
    repaired = bytearray(data)
    repaired[11:13] = b"\x01\x01"
    return repaired


def _simplejpeg() -> ModuleType:
    try:
        import simplejpeg
    except ModuleNotFoundError as error:
        raise MissingLibraryError(
            "JPEG images are decoded by simplejpeg, which is not installed: pip install 'fastprep[jpeg]'", name="simplejpeg"
        ) from error
    return simplejpeg
