"""Header of a JPEG: its markers up to the first scan (ITU-T T.81, annex B)."""

from __future__ import annotations

from fastprep.encoded.exif import exif_orientation, xmp_orientation
from fastprep.encoded.header import MAX_PARTS, Header, damaged
from fastprep.errors import DecodeError

MAX_SCANS = 100
"""Scans of a JPEG that is decoded. Each may be a few bytes and makes the decoder visit all pixels; encoders write about ten."""

_SOS = 0xDA
_APP0, _APP1, _APP14 = 0xE0, 0xE1, 0xEE
_FRAMES = {  # names of the processes that libjpeg does not decode, or only with more than 8 bits
    0xC3: "lossless",
    0xC5: "hierarchical",
    0xC6: "hierarchical",
    0xC7: "hierarchical",
    0xC9: "arithmetic",
    0xCA: "arithmetic",
    0xCB: "lossless",
    0xCD: "hierarchical",
    0xCE: "hierarchical",
    0xCF: "hierarchical",
}
_DECODED = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive: Huffman coding
_PROGRESSIVE = 0xC2
_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD8))
_START_OR_END = (0xD8, 0xD9)
_EXIF = b"Exif\x00\x00"
_JFIF, _ADOBE = b"JFIF\x00", b"Adobe"
_XMP = b"http://ns.adobe.com/xap/1.0/\x00"


def read_jpeg(data: memoryview) -> Header:
    """Read the header of a JPEG.

    Parameters
    ----------
    data : memoryview of uint8
        The whole image.

    Returns
    -------
    Header

    Raises
    ------
    DecodeError
        If it is damaged or ends early, or if the JPEG is of a kind that is not decoded.
    """
    n_bytes, position = len(data), 2
    frame, is_progressive = None, False
    exif = xmp = None
    has_jfif, adobe_transform = False, None
    for _ in range(MAX_PARTS):
        if position + 4 > n_bytes:
            raise DecodeError("the JPEG is cut short: it ends before its pixels")
        if data[position] != 0xFF:
            raise damaged("JPEG", f"no marker at byte {position}, but {data[position]:#04x}")
        marker = data[position + 1]
        if marker == 0xFF:  # any number of these may stand before a marker
            position += 1
            continue
        if marker in _WITHOUT_LENGTH:
            position += 2
            continue
        if marker in _START_OR_END:
            raise damaged("JPEG", f"marker {marker:#04x} at byte {position}, before any pixels")
        length = data[position + 2] << 8 | data[position + 3]
        end = position + 2 + length
        if length < 2 or end > n_bytes:
            raise DecodeError(f"the JPEG is cut short: the segment at byte {position} has {length:,} bytes, and it ends before")
        if marker == _SOS:
            break
        if marker in _DECODED:
            if frame is not None:
                raise damaged("JPEG", "there are two frames")
            if length < 8:
                raise damaged("JPEG", f"its frame has {length} bytes")
            frame, is_progressive = position + 4, marker == _PROGRESSIVE
        elif marker in _FRAMES:
            raise DecodeError(
                f"the JPEG is {_FRAMES[marker]}, and only baseline and progressive JPEGs are decoded; convert it first"
            )
        elif marker == _APP1:
            start = position + 4
            if exif is None and data[start : start + 6] == _EXIF:
                exif = data[start + 6 : end]
            elif xmp is None and data[start : start + len(_XMP)] == _XMP:
                xmp = data[start + len(_XMP) : end]
        elif marker == _APP0 and data[position + 4 : position + 9] == _JFIF:
            has_jfif = True
        elif marker == _APP14 and length >= 14 and data[position + 4 : position + 9] == _ADOBE:
            adobe_transform = data[position + 15]
        position = end
    else:
        raise damaged("JPEG", f"more than {MAX_PARTS:,} segments stand before its pixels")
    if frame is None:
        raise damaged("JPEG", "pixels without a frame")
    bits, channels = data[frame], data[frame + 5]
    height, width = data[frame + 1] << 8 | data[frame + 2], data[frame + 3] << 8 | data[frame + 4]
    if bits != 8:
        raise DecodeError(f"the JPEG has {bits} bits a channel, and only JPEGs of 8 bits are decoded; convert it first")
    if channels not in (1, 3, 4):
        raise damaged("JPEG", f"{channels} channels")
    if is_progressive or (position + 4 < n_bytes and data[position + 4] < channels):
        _check_scans(data[position:])
    orientation = exif_orientation(exif) if exif is not None else None
    if orientation is None and xmp is not None:
        orientation = xmp_orientation(xmp)
    names = tuple(data[frame + 6 : frame + 6 + 3 * channels : 3])
    is_rgb = channels == 3 and not has_jfif and _is_rgb(adobe_transform, names)
    return Header("JPEG", height, width, channels, bits, orientation or 1, is_rgb)


def _is_rgb(adobe_transform: int | None, names: tuple[int, ...]) -> bool:
    """Tell whether three channels are RGB, as libjpeg does (jdapimin.c, `default_decompress_parms`), where no JFIF header is."""
    return names == tuple(b"RGB") if adobe_transform is None else adobe_transform == 0


def _check_scans(data: memoryview) -> None:
    n_scans = bytes(data).count(b"\xff\xda")
    if n_scans > MAX_SCANS:
        raise DecodeError(
            f"the JPEG has {n_scans:,} scans, more than {MAX_SCANS}: encoders write about ten, and each visits all pixels again; "
            "it may be made to keep a decoder busy. Encode it anew if it is yours"
        )
