"""Orientation out of EXIF and XMP data. Damaged data say nothing: the pixels are whole without them."""

from __future__ import annotations

import re
import struct

from fastprep.encoded.header import MAX_PARTS

_ORIENTATION = 274
_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # types of TIFF 6.0, section 2, and BigTIFF
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
_XMP_BYTES = 1 << 16  # where the orientation stands if there is one; writers put it near the beginning


def read_directory(data: bytes | memoryview) -> tuple[str, dict[int, tuple[int, ...]]] | None:
    """Read the whole numbers of the first directory of a TIFF, which EXIF data are, too.

    Parameters
    ----------
    data : bytes or memoryview of uint8
        From the byte order mark on.

    Returns
    -------
    order : {"<", ">"}
    tags : dict of int to tuple of int
        At most 8 values each.
    None
        Instead of both, if it is damaged.
    """
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    if order is None:
        return None
    try:
        (version,) = struct.unpack_from(order + "H", data, 2)
        is_big = version == 43
        start, count_type, offset_type = (8, "Q", "Q") if is_big else (4, "H", "I")
        (position,) = struct.unpack_from(order + offset_type, data, start)
        (n_entries,) = struct.unpack_from(order + count_type, data, position)
        position += 8 if is_big else 2
        entry = struct.Struct(order + ("HHQ" if is_big else "HHI"))
        inline = 8 if is_big else 4
        tags: dict[int, tuple[int, ...]] = {}
        for _ in range(min(n_entries, MAX_PARTS)):
            tag, number_type, count = entry.unpack_from(data, position)
            value = position + entry.size
            position = value + inline
            letter = _INTEGERS.get(number_type)
            if letter is None or count < 1:
                continue
            values = struct.Struct(f"{order}{min(count, 8)}{letter}")
            if struct.calcsize(letter) * count > inline:
                (value,) = struct.unpack_from(order + offset_type, data, value)
            if value + values.size <= len(data):
                tags[tag] = values.unpack_from(data, value)
    except struct.error:
        return None
    return order, tags


def exif_orientation(exif: bytes | memoryview) -> int | None:
    """Return the orientation that EXIF data say, 1 for a number that is none; None if they say nothing."""
    read = read_directory(exif)
    return orientation_of(read[1]) if read else None


def orientation_of(tags: dict[int, tuple[int, ...]]) -> int | None:
    """Return the orientation in a directory of TIFF, 1 for a number that is none; None if there is none."""
    if _ORIENTATION not in tags:
        return None
    value = tags[_ORIENTATION][0]
    return value if 1 <= value <= 8 else 1


def xmp_orientation(xmp: bytes | memoryview) -> int | None:
    """Return the orientation that XMP data say; None if they say nothing."""
    found = _XMP.search(bytes(xmp[:_XMP_BYTES]))
    if found is None:
        return None
    value = int(found[1])
    return value if 1 <= value <= 8 else 1
