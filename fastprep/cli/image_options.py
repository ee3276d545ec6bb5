"""Options of commands about images: how they lie in a file, --shape and --channels; how large they become, --size; --mean."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence

from fastprep.errors import InputError


def shape_of(text: str | None) -> tuple[int, ...] | None:
    """Return the argument `shape` for the option --shape, such as 28x28x1.

    Raises
    ------
    InputError
        If it has another form.
    """
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) not in (2, 3) or not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise InputError(f"--shape must be HEIGHTxWIDTHxCHANNELS, such as 28x28x1, or HEIGHTxWIDTH, got {text!r}")
    return tuple(map(int, parts))


def size_of(text: str) -> tuple[int, int]:
    """Return height and width for the option --size, such as 256 or 256x320.

    Raises
    ------
    InputError
        If it has another form.
    """
    parts = text.lower().split("x")
    if len(parts) not in (1, 2) or not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise InputError(f"--size must be PIXELS, such as 256, or HEIGHTxWIDTH, such as 256x320, got {text!r}")
    return int(parts[0]), int(parts[-1])


def channels_of(text: str | None) -> list[int | str] | str | None:
    """Return the argument `channels` for the option --channels: numbers or names between commas, or letters such as RGB.

    Raises
    ------
    InputError
        If it has another form.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise InputError(f"--channels must be numbers from 0 such as 0,1,2, or letters such as RGB, got {text!r}")
    if len(parts) == 1 and not (text.strip().isascii() and text.strip().isdigit()):
        return text.strip()
    return [int(part) if part.isascii() and part.isdigit() else part for part in parts]


def check_mean_word(text: str, words: Sequence[str]) -> None:
    """Check the option --mean: one of some words, or the path of a file that is there.

    Raises
    ------
    InputError
        If it is neither.
    """
    if text in words or os.path.lexists(text):
        return
    near = difflib.get_close_matches(text, words, n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    raise InputError(f"--mean must be {', '.join(words)}, or the path of a JSON file, and there is no file {text!r}{meant}")
