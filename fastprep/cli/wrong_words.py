"""What is wrong with a command line that could not be read, as one line: the option, its rule, what was found, the way out."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import os
import re
import types
import typing
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

from tyro.conf import Positional

from fastprep.command_lines import option
from fastprep.errors import ONE_INPUT

_POSITIONAL = get_args(Positional[int])[1]
_NUMBER = re.compile(r"-[0-9.]")
_KINDS = {int: "a whole number", float: "a number"}


@dataclasses.dataclass(frozen=True)
class _Word:
    """An option, or a word without one, such as a file.

    Attributes
    ----------
    kinds : tuple of types
        Type of each value; a Literal for choices. Empty for an option that is on or off.
    metavar : str
        How the help text names a value.
    """

    kinds: tuple[Any, ...]
    metavar: str


def first_problem(config: type, words: Sequence[str], pairs: bool) -> str | None:
    """Return what is wrong with a command line.

    Parameters
    ----------
    config : type
        Dataclass that is a command line; see `fastprep.cli.groups.read_words`.
    words : sequence of str
        Arguments of the command.
    pairs : bool
        Whether all options that are on or off have a word for each, such as ``--mirror`` and ``--no-mirror``, and not only those
        that are on by default.

    Returns
    -------
    str or None
        None if nothing is, as far as this goes.
    """
    options, positional, n_needed, most = _described(config, pairs)
    left, n_free = list(words), 0
    while left:
        word = left.pop(0)
        if not _is_option(word):
            n_free += 1
            if n_free > most:
                return _one_too_many(word, words, positional)
            continue
        name, is_joined, value = word.partition("=")
        known = options.get(name.replace("_", "-"))
        if known is None:
            return f"there is no option {name}{_meant(name, options)}"
        given = [value] if is_joined else list(itertools.takewhile(lambda text: not _is_option(text), left[: len(known.kinds)]))
        if is_joined and not known.kinds:
            return f"{name} is on or off, and takes no value, got {value!r}"
        if len(given) < len(known.kinds):
            count = "a value" if len(known.kinds) == 1 else f"{len(known.kinds)} values"
            following = left[len(given)] if len(left) > len(given) else None
            is_value = following is not None and following.partition("=")[0].replace("_", "-") not in options
            dash = f"; one that begins with a dash is joined to it: {name}={following}" if is_value else ""
            return f"{name} needs {count}, {known.metavar}{dash}"
        for kind, text in zip(known.kinds, given, strict=True):
            if problem := _misfit(kind, text):
                return f"{name} {problem}"
        left = left if is_joined else left[len(given) :]
    missing = positional[n_free:n_needed]
    return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing" if missing else None


def _described(config: type, pairs: bool) -> tuple[dict[str, _Word], list[str], int, float]:
    """Return the options, the names of the words without one, how many of these are needed, and how many there may be."""
    hints = typing.get_type_hints(config, include_extras=True)
    options, names, n_needed, most = {"--help": _Word((), ""), "-h": _Word((), "")}, [], 0, 0.0
    for field in dataclasses.fields(config):
        hint = hints[field.name]
        plain, *about = get_args(hint) if get_origin(hint) is Annotated else [hint]
        metavar = next((each.metavar for each in about if getattr(each, "metavar", None)), None)
        has_default = field.default is not dataclasses.MISSING
        if _POSITIONAL in about:
            variadic = get_origin(plain) is tuple
            most += float("inf") if variadic else 1
            names.append((metavar or field.name.upper()).partition(" ")[0].strip("[]"))
            n_needed += not has_default and not variadic
            continue
        kinds = _kinds_of(plain)
        options[option(field.name)] = _Word(kinds, metavar or " ".join(map(_name_of, kinds)))
        if not kinds and (pairs or field.default):
            options[option(f"no_{field.name}")] = _Word((), "")
    return options, names, n_needed, most


def _kinds_of(hint: Any) -> tuple[Any, ...]:
    """Return the type of each value of an option."""
    if get_origin(hint) in (types.UnionType, typing.Union):
        (hint,) = (each for each in get_args(hint) if each is not type(None))
    if hint is bool:
        return ()
    return get_args(hint) if get_origin(hint) is tuple else (hint,)


def _name_of(kind: Any) -> str:
    return "|".join(map(str, get_args(kind))) if get_origin(kind) is Literal else kind.__name__.upper()


def _is_option(word: str) -> bool:
    return word.startswith("-") and len(word) > 1 and not _NUMBER.match(word)


def _misfit(kind: Any, text: str) -> str | None:
    """Return the rule that a value breaks, and the value."""
    if get_origin(kind) is Literal:
        choices = list(map(str, get_args(kind)))
        return None if text in choices else f"must be one of {', '.join(choices)}, got {text!r}{_meant(text, choices)}"
    if kind in _KINDS:
        try:
            kind(text)
        except ValueError:
            return f"must be {_KINDS[kind]}, got {text!r}"
    return None


def _meant(word: str, known: typing.Iterable[str]) -> str:
    """Return a question after the word that is most like a wrong one, if one is."""
    longer = [name for name in known if name.startswith(word) and len(word) > 3]
    near = longer[:1] or difflib.get_close_matches(word, known, n=1, cutoff=0.7)
    return f"; did you mean {near[0]}?" if near else ""


def _one_too_many(word: str, words: Sequence[str], names: Sequence[str]) -> str:
    if _names_several_inputs(words):
        return f"--images takes one name; {ONE_INPUT}"
    taken = f"takes {' and '.join(names)}, and options" if names else "takes options only, which begin with --"
    return f"there is no place for {word!r}: the command {taken}"


def _names_several_inputs(words: Sequence[str]) -> bool:
    """Tell whether a command line has two words after --images that are no files, such as those of two inputs."""
    if "--images" not in words:
        return False
    following = itertools.takewhile(lambda word: not word.startswith("-"), words[words.index("--images") + 1 :])
    return len([word for word in following if not os.path.exists(word)]) > 1
