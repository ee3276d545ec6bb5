"""Header of a PNG: its first chunk, and the chunks that may say its orientation (PNG third edition, sections 5 and 11)."""

from __future__ import annotations

import zlib

from fastprep.encoded.exif import exif_orientation, xmp_orientation
from fastprep.encoded.header import Header, damaged
from fastprep.errors import DecodeError

_MAX_CHUNKS = 100_000  # pixels may be in chunks of a few KiB
_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # by the type of colour; 3 is a palette
_PALETTE = 3
_PROFILE = b"Raw profile type exif\x00"  # by ImageMagick, before there was eXIf: hexadecimal digits after three lines
_MAX_PROFILE_BYTES = 1 << 18
_XMP = b"XML:com.adobe.xmp\x00\x00\x00"  # not compressed


def read_png(data: memoryview) -> Header:
    """Read the header of a PNG.

    Parameters
    ----------
    data : memoryview of uint8
        The whole image; orientation may stand after the pixels.

    Returns
    -------
    Header

    Raises
    ------
    DecodeError
        If it is damaged or ends early.
    """
    if len(data) < 33:
        raise DecodeError("the PNG is cut short: it ends within its header")
    if data[8:16] != b"\x00\x00\x00\rIHDR":
        raise damaged("PNG", "its first chunk is not IHDR")
    if zlib.crc32(data[12:29]) != int.from_bytes(data[29:33], "big"):
        raise damaged("PNG", "the checksum of its first chunk is wrong")
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    bits, color = data[24], data[25]
    if color not in _CHANNELS:
        raise damaged("PNG", f"type of colour {color}")
    channels = _CHANNELS[color]
    orientation, has_transparency = _ancillary(data)
    if has_transparency and color in (0, 2, _PALETTE):
        channels += 1
    return Header("PNG", height, width, channels, 8 if color == _PALETTE else max(bits, 8), orientation)


def _ancillary(data: memoryview) -> tuple[int, bool]:
    """Return the orientation, and whether there is a chunk of transparency."""
    has_transparency = False
    exif = profile = xmp = None
    position = 33
    for _ in range(_MAX_CHUNKS):
        kind = bytes(data[position + 4 : position + 8])
        if len(kind) < 4 or kind == b"IEND":
            break
        start, length = position + 8, int.from_bytes(data[position : position + 4], "big")
        if kind == b"eXIf":
            exif = data[start : start + length]
        elif kind == b"tRNS":
            has_transparency = True
        elif kind in (b"zTXt", b"tEXt") and data[start : start + len(_PROFILE)] == _PROFILE:
            profile = _raw_profile(data[start + len(_PROFILE) : start + length], kind == b"zTXt")
        elif kind == b"iTXt" and data[start : start + len(_XMP)] == _XMP:
            xmp = data[start + len(_XMP) : start + length]
        position = start + length + 4
    else:
        raise damaged("PNG", f"it has more than {_MAX_CHUNKS:,} chunks")
    found = exif if exif is not None else profile
    orientation = exif_orientation(found) if found is not None else None
    if orientation is None and xmp is not None:
        orientation = xmp_orientation(xmp)
    return orientation or 1, has_transparency


def check_chunks(data: memoryview) -> None:
    """Raise a DecodeError if the checksum of a chunk is wrong, or if a PNG ends before its last chunk."""
    position = 8
    for _ in range(_MAX_CHUNKS):
        if position + 12 > len(data):
            break
        length = int.from_bytes(data[position : position + 4], "big")
        end = position + 8 + length
        if end + 4 > len(data):
            break
        if zlib.crc32(data[position + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise DecodeError(f"the PNG is damaged: the checksum of its chunk at byte {position} is wrong")
        if data[position + 4 : position + 8] == b"IEND":
            return
        position = end + 4
    raise DecodeError(f"the PNG is damaged or cut short: it has {len(data):,} bytes, and its last chunk is not among them")


def _raw_profile(text: memoryview, is_compressed: bool) -> bytes | None:
    try:
        # the first byte of a compressed text is the method, always 0
        plain = (
            zlib.decompressobj().decompress(text[1:], _MAX_PROFILE_BYTES) if is_compressed else bytes(text[:_MAX_PROFILE_BYTES])
        )
        profile = bytes.fromhex("".join(plain.decode("latin-1").split("\n")[3:]))
    except (zlib.error, ValueError):
        return None
    return profile.removeprefix(b"Exif\x00\x00")
