"""Text out of files and from the network, made safe for a terminal."""

from __future__ import annotations

import re

# C0, DEL and C1, which terminals obey; separators of lines; marks that reorder a line; surrogates, which no encoding has
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def printable(text: str, keep: str = "") -> str:
    r"""Return a text on one line that a terminal shows and does not obey.

    Control characters, line breaks and marks that change the direction of writing become escapes as in Python, such as ``\x1b``.
    A byte of a file name that is no UTF-8, which Python keeps as a surrogate, becomes that byte, such as ``\xff``.

    Parameters
    ----------
    text : str
    keep : str
        Characters that stay, such as line breaks in a CSV file, where quotes enclose them.

    Returns
    -------
    str
        The same text if there is nothing of this in it.
    """
    return _UNPRINTABLE.sub(lambda match: match[0] if match[0] in keep else _escape(match[0]), text)


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")
