"""The mark of fastprep in drawings: the PNG text "Software", so that only drawings of fastprep are replaced."""

from __future__ import annotations

import os
import struct

from fastprep._version import __version__

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MOST = 64 << 10  # bytes of the beginning in which the text stands


def drawing_mark() -> str:
    """Return the text "Software" of drawings: fastprep first, then the library that draws, as it signs by itself."""
    import matplotlib

    return f"fastprep {__version__}, Matplotlib version {matplotlib.__version__}, https://matplotlib.org/"


def drawn_by(path: str | os.PathLike[str]) -> str | None:
    """Return the text "Software" of a PNG; None if it has none, or is not a PNG.

    Notes
    -----
    The chunks are those of the PNG specification, third edition, sections 5.3 and 11.3.3.2.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(_MOST)
    except OSError:
        return None
    if not content.startswith(_SIGNATURE):
        return None
    at = len(_SIGNATURE)
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        if kind == b"IDAT":
            break
        keyword, _, text = content[at + 8 : at + 8 + length].partition(b"\0")
        if kind == b"tEXt" and keyword == b"Software":
            return text.decode("latin-1")
        at += 12 + length
    return None


def is_own_drawing(path: str | os.PathLike[str]) -> bool:
    """Return whether fastprep drew a PNG."""
    return (drawn_by(path) or "").startswith("fastprep ")
