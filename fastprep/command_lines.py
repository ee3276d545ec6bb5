"""Command lines that people are told of, as a shell takes them: of options and paths that begin with a dash, too."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

USUAL = {"images": "images", "labels": "labels"}
"""The names of images and labels that need not be said."""


def command_line(name: str, *words: Sequence[str]) -> str:
    """Return the line that starts a command, such as "show", with words, as a shell takes it."""
    return shlex.join(["python", "-m", f"fastprep.{name}", *itertools.chain.from_iterable(words)])


def path_word(path: str) -> str:
    """Return a path as a word of a command line, which is not taken for an option."""
    return f"./{path}" if path.startswith("-") else path


def option(name: str) -> str:
    """Return an option by the name of Python's argument, or of a field of a configuration."""
    return f"--{name.replace('_', '-')}"


def option_words(values: Mapping[str, Any], usual: Mapping[str, Any] = USUAL) -> list[str]:
    """Return the words that give options their values; those that are None or usual are left out.

    Parameters
    ----------
    values : mapping of str to object
        Texts, tuples such as height, width and channels, or lists such as channels, by the names of Python's arguments.
    usual : mapping of str to object
        What needs no word. Default: the usual names of images and labels.
    """
    words = []
    for name, value in values.items():
        if value is not None and value != usual.get(name):
            word, text = option(name), _as_option(value)
            words += [f"{word}={text}"] if text.startswith("-") else [word, text]
    return words


def _as_option(value: Any) -> str:
    """Return an argument as an option has it."""
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return value if isinstance(value, str) else ",".join(map(str, value))
