"""The kind of an encoded image, told by its first bytes, whatever its name or its neighbours are."""

from __future__ import annotations

from typing import Literal

from fastprep.errors import DecodeError

Kind = Literal["JPEG", "PNG", "WebP", "TIFF", "GIF", "JPEG 2000", "BMP"]

_FIRST_BYTES: tuple[tuple[bytes, Kind], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),  # BigTIFF
    (b"MM\x00+", "TIFF"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),  # a codestream without the boxes around it
    (b"BM", "BMP"),
)
_SHOWN_BYTES = 12


def kind_of(data: bytes | memoryview) -> Kind:
    """Return the kind of an encoded image.

    Parameters
    ----------
    data : bytes or memoryview of uint8
        The whole image, or at least its first 12 bytes.

    Returns
    -------
    {"JPEG", "PNG", "WebP", "TIFF", "GIF", "JPEG 2000", "BMP"}

    Raises
    ------
    DecodeError
        If the bytes are the beginning of none of them.
    """
    first = bytes(data[:_SHOWN_BYTES])
    for beginning, kind in _FIRST_BYTES:
        if first.startswith(beginning):
            return kind
    if first.startswith(b"RIFF") and first[8:] == b"WEBP":
        return "WebP"
    if not any(first):
        words = "no bytes" if not first else "only zeros at its beginning"
        raise DecodeError(f"there are {words}: an encoded image is empty or was never written")
    known = "JPEG, PNG, WebP, TIFF, GIF, JPEG 2000 or BMP"
    raise DecodeError(f"not an encoded image of a known kind ({known}): it begins with the bytes {first.hex(' ')} ({first!r})")
