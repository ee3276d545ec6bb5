"""Names of images and of their labels compared: the order of numbers in them, and what tells the names of a list apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_DIGITS = re.compile(r"(\d+)")


def natural_order(name: str) -> tuple[Any, ...]:
    """Return a key that sorts names as people do: numbers in them by their value."""
    parts = _DIGITS.split(name)
    return tuple((len(_value(part)), _value(part), part) if k % 2 else part for k, part in enumerate(parts)), name


@dataclass(frozen=True)
class Mark:
    """What tells a name from the others of its list.

    Attributes
    ----------
    text : tuple of str
        The part of each folder or group that differs, without zeros in front of its numbers.
    numbers : tuple of str
        Its numbers.
    """

    text: tuple[str, ...]
    numbers: tuple[str, ...]


def marks_of(names: Sequence[str]) -> list[Mark]:
    """Return what tells each name of a list from the others: of "a/cat/x.png" and "a/dog/x.png", "cat" and "dog"."""
    paths = [name.strip("/").split("/") for name in names]
    if len({len(path) for path in paths}) > 1:
        paths = [[name] for name in names]
    levels = [_differing(level) for level in zip(*paths, strict=True) if len(set(level)) > 1]
    if not levels:  # one name, of which only the last number can be compared
        return [Mark((), tuple(_numbers(path[-1])[-1:])) for path in paths]
    return [_mark(parts) for parts in zip(*levels, strict=True)]


def wrong_pair(labels: Sequence[str], images: Sequence[str], alike: bool) -> int | None:
    """Return the place of a label that is not that of the image at its place, as their names tell; None if there is none.

    Parameters
    ----------
    labels, images : sequence of str
        As many labels as images.
    alike : bool
        Whether names must have something in common. If not, a pair is wrong where the label's name belongs to another image.
    """
    wanted = marks_of(images)
    texts, numbers = {mark.text for mark in wanted}, {mark.numbers for mark in wanted if mark.numbers}
    for place, (mine, its) in enumerate(zip(marks_of(labels), wanted, strict=True)):
        if mine == its:
            continue
        has_its_numbers = bool(mine.numbers) and mine.numbers == its.numbers
        if mine.text in texts or (not has_its_numbers and (alike or mine.numbers in numbers)):
            return place
    return None


def _mark(parts: Sequence[str]) -> Mark:
    """Return the mark of a name, of which these parts differ from those of others."""
    text = tuple("".join(_value(part) if k % 2 else part for k, part in enumerate(_DIGITS.split(whole))) for whole in parts)
    return Mark(text, tuple(number for whole in parts for number in _numbers(whole)))


def _numbers(text: str) -> list[str]:
    return [_value(digits) for digits in _DIGITS.findall(text)]


def _value(digits: str) -> str:
    """Return digits of any script without zeros in front; int() would refuse thousands of them."""
    plain = digits if digits.isascii() else "".join(str(int(digit)) for digit in digits)
    return plain.lstrip("0")


def _differing(names: Sequence[str]) -> list[str]:
    """Return names without what all of them begin and end with. Numbers stay whole."""
    n_first = len(_beginning(names).rstrip("0123456789"))
    rests = [name[n_first:] for name in names]
    ending = _beginning([rest[::-1] for rest in rests])[::-1].lstrip("0123456789")
    return [rest.removesuffix(ending) for rest in rests]


def _beginning(names: Sequence[str]) -> str:
    """Return what all names begin with."""
    first, last = min(names), max(names)
    return first[: next((k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))]
