"""Header of a TIFF: the first directory of tags (TIFF 6.0)."""

from __future__ import annotations

from fastprep.encoded.exif import orientation_of, read_directory
from fastprep.encoded.header import Header, damaged
from fastprep.errors import DecodeError

# Tags
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_SAMPLES, _TILE_WIDTH, _TILE_HEIGHT, _EXTRA, _FORMAT = 277, 322, 323, 338, 339
_PALETTE = 3
_COMPRESSIONS = (1, 5, 8, 32773, 32946, 34925, 50000)  # none, LZW, deflate (two numbers), PackBits, LZMA, zstd
_REFUSED = {2: "CCITT fax", 3: "CCITT fax", 4: "CCITT fax", 6: "JPEG", 7: "JPEG"}  # libtiff fills what is missing, and warns
MIN_IS_WHITE, MIN_IS_BLACK, RGB = 0, 1, 2
"""Meanings of the numbers that images of 16 bits may have, in the tag PhotometricInterpretation."""
_UNASSOCIATED_ALPHA = 2  # colours are not multiplied by it
_TILE_SIDE = 1 << 16


def read_tiff(data: memoryview) -> Header:
    """Read the header of a TIFF.

    Parameters
    ----------
    data : memoryview of uint8
        The whole image.

    Returns
    -------
    Header
        Of the first image.

    Raises
    ------
    DecodeError
        If it is damaged, has numbers that are not whole ones of at most 16 bits, or is compressed by JPEG or as a fax.
    """
    tags = _tags(data)
    width, height = tags.get(_WIDTH, (0,))[0], tags.get(_HEIGHT, (0,))[0]
    bits, channels = max(tags.get(_BITS, (1,))), tags.get(_SAMPLES, (1,))[0]
    compression = tags.get(_COMPRESSION, (1,))[0]
    if compression not in _COMPRESSIONS:
        raise DecodeError(
            f"the TIFF is compressed by {_REFUSED.get(compression, f'method {compression}')}, whose damage would not be noticed; "
            "convert it, to deflate or LZW for instance"
        )
    number_format = max(tags.get(_FORMAT, (1,)))
    if number_format != 1 or bits not in (1, 2, 4, 8, 16):
        word = {2: "signed", 3: "floating-point"}.get(number_format, "whole" if number_format == 1 else "other")
        raise DecodeError(
            f"the pixels of the TIFF are {word} numbers of {bits} bits, whose range is not known; "
            "convert it to 8 or 16 bits first"
        )
    if not 1 <= channels <= 4:
        raise DecodeError(f"the TIFF has {channels} channels, and images with 1 to 4 are decoded; convert it first")
    # a tile is decoded as a whole, however little of it lies in the image
    for side, tile in ((width, tags.get(_TILE_WIDTH, (0,))[0]), (height, tags.get(_TILE_HEIGHT, (0,))[0])):
        if tile > max(2 * side, 4096) or tile > _TILE_SIDE:
            raise damaged("TIFF", f"a tile with a side of {tile:,} pixels, in an image of {height:,} x {width:,}")
    if tags.get(_PHOTOMETRIC, (0,))[0] == _PALETTE:
        channels = 3
    return Header("TIFF", height, width, channels, max(bits, 8), orientation_of(tags) or 1)


def check_meaning(data: memoryview) -> int:
    """Return what the numbers of a TIFF of 16 bits mean, by its tag PhotometricInterpretation.

    Parameters
    ----------
    data : memoryview of uint8

    Returns
    -------
    int
        `MIN_IS_WHITE`, `MIN_IS_BLACK` or `RGB`.

    Raises
    ------
    DecodeError
        If they mean something else, or if there is a channel besides that is not plain transparency.
    """
    tags = _tags(data)
    meaning, channels = tags.get(_PHOTOMETRIC, (MIN_IS_WHITE,))[0], tags.get(_SAMPLES, (1,))[0]
    if meaning not in (MIN_IS_WHITE, MIN_IS_BLACK, RGB):
        raise DecodeError(
            f"the TIFF has channels of 16 bits that are neither grey nor RGB (PhotometricInterpretation {meaning}); "
            "convert it first"
        )
    n_colors, extra = 3 if meaning == RGB else 1, tags.get(_EXTRA, ())
    is_transparent = channels == n_colors + 1 and extra[:1] == (_UNASSOCIATED_ALPHA,) and meaning != MIN_IS_WHITE
    if channels != n_colors and not is_transparent:
        raise DecodeError(
            f"the TIFF has {channels} channels of 16 bits, and besides {n_colors} of colour only plain transparency is decoded "
            f"(ExtraSamples {extra}); convert it first"
        )
    return meaning


def tile_sides(data: memoryview) -> tuple[int, int]:
    """Return height and width of the tiles of a TIFF, each of which is decoded as a whole; 0 if it has none."""
    tags = _tags(data)
    return tags.get(_TILE_HEIGHT, (0,))[0], tags.get(_TILE_WIDTH, (0,))[0]


def _tags(data: memoryview) -> dict[int, tuple[int, ...]]:
    read = read_directory(data)
    if read is None:
        raise damaged("TIFF", "its first directory is not within it; it may be cut short")
    return read[1]
