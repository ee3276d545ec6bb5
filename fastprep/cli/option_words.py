"""Messages about arguments of Python, in the words of a command: its options."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fastprep.command_lines import option

_SUBJECT = re.compile(r"(axes|batch_size|channels|crop|mean|seed|shape|size|workers)(?= (?:must|is|are|has)\b|: )")
_VALUE = r"(axes|shape|channels)=(\((?:[^()]*)\)|\[[^\]]*\]|'[^']*'|\"[^\"]*\")"
_IN_BOTH = re.compile(rf"{_VALUE}, --\1(?: of (?:a|the) command| \w+(?: of (?:a|the) command)?)?")
_IN_PYTHON = re.compile(rf"(?<![\w(])(?<!\.\.\., ){_VALUE}")
_FOR_PYTHON = re.compile(r", or pass check_finite=False to get such \w+")  # which is no option


def in_options(message: str, renamed: Mapping[str, str] | None = None) -> str:
    """Return a message with options in place of Python's arguments: what it begins with, and values such as ``axes='NCHW'``.

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
    message = _IN_BOTH.sub(_as_option, message)
    return _FOR_PYTHON.sub("", _IN_PYTHON.sub(_as_option, message))


def _as_option(found: re.Match[str]) -> str:
    name, value = found[1], found[2].strip("'\"()[]")
    if name == "shape":
        value = value.replace(", ", "x")
        value = value if value[:1].isdigit() else value.upper().replace("X", "x")
    return f"{option(name)} {value.replace(', ', ',')}"
