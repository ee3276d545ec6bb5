"""Command lines in groups: a configuration that is composed of dataclasses has a part of the help text for each of them."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import os
import re
import shutil
import typing
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, TypeVar

import tyro
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, arg

from fastprep.cli.help import WIDEST, examples_of, wrapped_description
from fastprep.cli.output import write_line
from fastprep.cli.wrong_words import first_problem
from fastprep.errors import InputError

_Config = TypeVar("_Config")


def read_words(
    config: type[_Config], words: Sequence[str], prog: str, default: _Config | None = None, pairs: bool = False
) -> _Config:
    """Read a command line into a configuration, whose help text has a part for each dataclass that it is composed of.

    Parameters
    ----------
    config : type
        Dataclass that is a command line for tyro. Its bases are the groups, the last one first, since that is the order of the
        fields in Python, too. A group is named after its class, NetworkOptions "network", and described by its docstring.
    words : sequence of str
        Arguments of the command.
    prog : str
        The command, as people type it.
    default : config or None
        Instance whose values are the defaults. Default: those of the class.
    pairs : bool
        Whether all options that are on or off have a word for each, such as ``--mirror`` and ``--no-mirror``, and not only those
        that are on by default.

    Returns
    -------
    config
        An instance. For ``--help`` the process ends, after the examples of the docstring.

    Raises
    ------
    InputError
        If words are wrong: what is wrong, in one line.
    """
    try:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            read = _read(config, words, prog, default, pairs)
    except SystemExit as end:
        if end.code:
            problem = first_problem(config, words, pairs) or _first_sentences(said.getvalue())
            raise InputError(f"{problem}{' ' if problem.endswith('?') else '; '}{prog} --help lists the options") from None
        if {"-h", "--help"} & set(words):
            write_line(*examples_of(config))
        raise
    return config(**{name: value for group in vars(read).values() for name, value in vars(group).items()})


def _read(config: type, words: Sequence[str], prog: str, default: Any, pairs: bool) -> Any:
    with _no_wider_than(WIDEST):
        return tyro.cli(line_of(config, pairs, default), args=words, prog=prog, description=wrapped_description(config))


def line_of(config: type, pairs: bool, default: Any = None) -> Any:
    """Return what tyro reads for a configuration: a dataclass whose fields are the groups; see `read_words`."""
    groups = [base for base in reversed(config.__bases__) if dataclasses.is_dataclass(base)]
    fields = [_field(group, default, pairs) for group in groups]
    return Annotated[dataclasses.make_dataclass(config.__name__, fields, frozen=True), OmitArgPrefixes]


def _first_sentences(box: str) -> str:
    """Return in one line what tyro says in a box, without the help texts below."""
    lines = [line.strip("│| ") for line in box.splitlines() if line[:1] not in ("╭", "╰", "+")]
    return " ".join(itertools.takewhile(lambda line: not line.startswith("─"), lines)).rstrip(".") or "the words can't be read"


@contextlib.contextmanager
def _no_wider_than(columns: int) -> Iterator[None]:
    """Let tyro take the terminal for no wider than this."""
    before, width = os.environ.get("COLUMNS"), shutil.get_terminal_size().columns
    os.environ["COLUMNS"] = str(min(width, columns))
    try:
        yield
    finally:
        del os.environ["COLUMNS"]
        if before is not None:
            os.environ["COLUMNS"] = before


def _field(group: type, default: Any, pairs: bool) -> tuple[str, Any, Any]:
    """Return a group as a field of a dataclass, for `make_dataclass`."""
    words = " ".join(re.findall("[A-Z][a-z]*", group.__name__.removesuffix("Options"))).lower()
    names = [field.name for field in dataclasses.fields(group)]
    shown, values = group if pairs else _without_pairs(group), dataclasses.field()
    if default is not None:
        values = dataclasses.field(default=shown(**{name: getattr(default, name) for name in names}))
    return f"{words.replace(' ', '_')}_options", Annotated[shown, arg(name=words, help=group.__doc__)], values


def _without_pairs(group: type) -> type:
    """Return a group whose options that are off by default have no second word that says so."""
    hints = typing.get_type_hints(group, include_extras=True)
    fields: list[tuple[str, Any, Any]] = []
    for field in dataclasses.fields(group):
        hint = hints[field.name]
        hint = Annotated[hint, FlagCreatePairsOff] if field.default is False else hint
        fields.append((field.name, hint, dataclasses.field(default=field.default)))
    return dataclasses.make_dataclass(group.__name__, fields, frozen=True, namespace={"__doc__": group.__doc__})
