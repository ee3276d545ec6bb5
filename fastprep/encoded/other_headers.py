"""Headers of WebP, GIF, BMP and JPEG 2000."""

from __future__ import annotations

import struct

from fastprep.encoded.exif import exif_orientation, xmp_orientation
from fastprep.encoded.header import MAX_PARTS, Header, damaged
from fastprep.errors import DecodeError

_MOST_TILES = 65_535  # of JPEG 2000: ITU-T T.800, section A.5.1


def read_webp(data: memoryview) -> Header:
    """Read the header of a WebP (RFC 9649, section 2): its first chunk, and the chunks that may say its orientation."""
    n_bytes = len(data)
    if n_bytes < 30:
        raise DecodeError("the WebP is cut short: it ends within its header")
    kind = bytes(data[12:16])
    if kind == b"VP8X":
        width, height = 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
        has_alpha = bool(data[20] & 0x10)
        return Header("WebP", height, width, 3 + has_alpha, 8, _webp_orientation(data) if data[20] & 0x0C else 1)
    if kind == b"VP8L":
        sizes = int.from_bytes(data[21:25], "little")
        width, height, has_alpha = 1 + (sizes & 0x3FFF), 1 + (sizes >> 14 & 0x3FFF), bool(sizes >> 28 & 1)
        return Header("WebP", height, width, 3 + has_alpha, 8)
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return Header("WebP", height & 0x3FFF, width & 0x3FFF, 3, 8)
    raise damaged("WebP", f"its first chunk is {kind!r}")


def _webp_orientation(data: memoryview) -> int:
    exif = xmp = None
    position = 12
    for _ in range(MAX_PARTS):
        kind = bytes(data[position : position + 4])
        if len(kind) < 4:
            break
        start, length = position + 8, int.from_bytes(data[position + 4 : position + 8], "little")
        if kind == b"EXIF" and exif is None:
            exif = data[start : start + length]
            if exif[:6] == b"Exif\x00\x00":
                exif = exif[6:]
        elif kind == b"XMP " and xmp is None:
            xmp = data[start : start + length]
        position = start + length + length % 2
    orientation = exif_orientation(exif) if exif is not None else None
    if orientation is None and xmp is not None:
        orientation = xmp_orientation(xmp)
    return orientation or 1


def read_gif(data: memoryview) -> Header:
    """Read the header of a GIF (GIF89a, section 18): the size of its screen."""
    if len(data) < 13:
        raise DecodeError("the GIF is cut short: it ends within its header")
    width, height = struct.unpack_from("<HH", data, 6)
    return Header("GIF", height, width, 3, 8)


def read_bmp(data: memoryview) -> Header:
    """Read the header of a BMP; rows may be stored from the top, which is a height below 0."""
    if len(data) < 30:
        raise DecodeError("the BMP is cut short: it ends within its header")
    (n_header,) = struct.unpack_from("<I", data, 14)
    if n_header == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
    elif 40 <= n_header <= 1024:
        width, height, _, bits = struct.unpack_from("<iiHH", data, 18)
    else:
        raise damaged("BMP", f"it says that it has {n_header:,} bytes")
    return Header("BMP", abs(height), width, 4 if bits == 32 else 3, 8)


def read_jpeg_2000(data: memoryview) -> Header:
    """Read the header of a JPEG 2000: that of its codestream (ITU-T T.800, section A.5.1), which is what is decoded."""
    start = 0 if data[:4] == b"\xff\x4f\xff\x51" else _codestream(data)
    if start + 41 > len(data):
        raise DecodeError("the JPEG 2000 is cut short: it ends within its header")
    if data[start : start + 4] != b"\xff\x4f\xff\x51":
        raise damaged("JPEG 2000", "its codestream does not begin with a size")
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, channels = struct.unpack_from(">8IH", data, start + 8)
    n_sizes = 40 + 3 * channels
    if not 1 <= channels <= 4:
        raise DecodeError(f"the JPEG 2000 has {channels} channels, and images with 1 to 4 are decoded; convert it first")
    if start + 2 + n_sizes > len(data):
        raise DecodeError("the JPEG 2000 is cut short: it ends within its header")
    if not (tile_width and tile_height):
        raise damaged("JPEG 2000", "its tiles have no pixels")
    n_tiles = -(-max(right - tile_left, 0) // tile_width) * -(-max(bottom - tile_top, 0) // tile_height)
    if n_tiles > _MOST_TILES:
        raise damaged("JPEG 2000", f"{n_tiles:,} tiles, more than {_MOST_TILES:,}")
    depths = [data[start + 42 + 3 * channel] for channel in range(channels)]
    if any(depth & 0x80 for depth in depths):
        raise DecodeError("the numbers of the JPEG 2000 are signed, and only those from 0 on are decoded; convert it first")
    bits = max((depth & 0x7F) + 1 for depth in depths)
    if bits > 16:
        raise DecodeError(f"the JPEG 2000 has {bits} bits a channel, and at most 16 are decoded; convert it first")
    return Header("JPEG 2000", bottom - top, right - left, channels, max(bits, 8))


def _codestream(data: memoryview) -> int:
    """Return where the codestream begins among the boxes (ITU-T T.800, section I.4)."""
    position = 0
    for _ in range(MAX_PARTS):
        if position + 16 > len(data):
            break
        length, kind = int.from_bytes(data[position : position + 4], "big"), bytes(data[position + 4 : position + 8])
        start = position + 8
        if length == 1:  # the length follows, in 8 bytes
            length, start = int.from_bytes(data[start : start + 8], "big"), start + 8
        if kind == b"jp2c":
            return start
        if length < start - position:
            break
        position += length
    raise DecodeError("the JPEG 2000 is cut short: it has no codestream")
