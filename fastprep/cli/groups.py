"""Command lines in groups: a configuration that is composed of dataclasses has a part of the help text for each of them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, TypeVar

import tyro
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, arg

from fastprep.cli.help import WIDEST, examples_of
from fastprep.cli.output import write_line

_Config = TypeVar("_Config")


def read_words(
    config: type[_Config], words: Sequence[str], default: _Config | None = None, pairs: bool = False, **about: str
) -> _Config:
    """Read a command line into a configuration, whose help text has a part for each dataclass that it is composed of.

    Parameters
    ----------
    config : type
        Dataclass that is a command line for tyro. Its bases are the groups, the last one first, since that is the order of the
        fields in Python, too; one without bases is a single group. A group is named after its class, NetworkOptions "network",
        and described by its docstring.
    words : sequence of str
        Arguments of the command.
    default : config or None
        Instance whose values are the defaults. Default: those of the class.
    pairs : bool
        Whether options that are on or off have a word for each, such as ``--mirror`` and ``--no-mirror``.
    **about : str
        `prog` and `description` for `tyro.cli`.

    Returns
    -------
    config
        An instance. For ``--help`` the process ends, after the examples of the docstring.
    """
    try:
        return _read(config, words, default, pairs, about)
    except SystemExit as end:
        if not end.code and {"-h", "--help"} & set(words):
            write_line(*examples_of(config))
        raise


def _read(config: type[_Config], words: Sequence[str], default: _Config | None, pairs: bool, about: dict[str, Any]) -> _Config:
    groups = [base for base in reversed(config.__bases__) if dataclasses.is_dataclass(base)]
    line: Any = config
    if groups:
        fields = [_field(group, default) for group in groups]
        line = OmitArgPrefixes[dataclasses.make_dataclass(config.__name__, fields, frozen=True)]  # type: ignore[misc]
    elif default is not None:
        about["default"] = default
    with _no_wider_than(WIDEST):
        read: Any = tyro.cli(line if pairs else FlagCreatePairsOff[line], args=words, **about)  # type: ignore[misc]
    return config(**{name: value for group in vars(read).values() for name, value in vars(group).items()}) if groups else read


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


def _field(group: type, default: Any) -> tuple[str, Any, Any]:
    """Return a group as a field of a dataclass, for `make_dataclass`."""
    words = " ".join(re.findall("[A-Z][a-z]*", group.__name__.removesuffix("Options"))).lower()
    names = [field.name for field in dataclasses.fields(group)]
    values = dataclasses.field()
    if default is not None:
        values = dataclasses.field(default=group(**{name: getattr(default, name) for name in names}))
    return words.replace(" ", "_"), Annotated[group, arg(name=words)], values
