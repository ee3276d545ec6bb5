"""Messages about arguments of Python, in the words of a command: its options."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fastprep.command_lines import option

_SUBJECT = re.compile(r"(axes|batch_size|channels|crop|mean|seed|shape|size|workers)(?= (?:must|is|are|has)\b|: )")
# as a word of its own: neither in a file's name nor in a call, such as Mask(..., axes='NHW'), which a command has no words for
_VALUE = re.compile(r"(?<!\S)(?<!\.\.\., )(axes|shape|channels)=(\([^()]*\)|\[[^\]]*\]|'[^']*'|\"[^\"]*\")")
_FOR_PYTHON = re.compile(r", or pass check_finite=False to get such \w+")  # which is no option


def in_options(message: str, renamed: Mapping[str, str] | None = None) -> str:
    """Return a message with options in place of Python's arguments: what it begins with, and values such as ``axes='NCHW'``.

    Messages of the library are written for Python alone; a command has its own words in this one place.

    Parameters
    ----------
    message : str
    renamed : mapping of str to str, or None
        Options by the names of the arguments that a command gives other names, such as "crop" for "--size".

    Returns
    -------
    str
        The same message if it speaks of options already, or of none.
    """
    if found := _SUBJECT.match(message):
        message = f"{(renamed or {}).get(found[1]) or option(found[1])}{message[found.end() :]}"
    return _FOR_PYTHON.sub("", _VALUE.sub(_as_option, message))


def _as_option(found: re.Match[str]) -> str:
    name, value = found[1], found[2].strip("'\"()[]")
    if name == "shape":
        value = value.replace(", ", "x")
        value = value if value[:1].isdigit() else value.upper().replace("X", "x")
    return f"{option(name)} {value.replace(', ', ',')}"
