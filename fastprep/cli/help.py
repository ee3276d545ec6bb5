"""Help texts of the commands."""

from __future__ import annotations

import ast
import inspect
import shutil
import textwrap
import typing
from dataclasses import MISSING
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from tyro.conf import arg

_T = TypeVar("_T", bound=type)
WIDEST = 120
"""Columns of a help text. Longer lines are hard to read, and tyro puts groups side by side on wider terminals, out of order."""
_EXAMPLES = "For example::"


def flowing(config: _T) -> _T:
    """Join the text below each field of a configuration into one paragraph, and leave out defaults of None and False.

    By itself, tyro breaks lines where the source does, adds "(default: None)" even if the text explains the default, and offers
    None as a choice.

    Parameters
    ----------
    config : type
        Dataclass that is a command line for tyro.

    Returns
    -------
    type
        The same class; unchanged if its source is not available.
    """
    try:
        source = inspect.getsource(config)
    except OSError:
        return config
    (definition,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(definition, ast.ClassDef)
    types = typing.get_type_hints(config, include_extras=True)
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                says_nothing = getattr(config, name, MISSING) in (None, (), False)
                hints = [arg(help_behavior_hint=_default)] if says_nothing else []
                if choices := _choices(types[name]):
                    hints.append(arg(metavar=choices))
                config.__annotations__[name] = Annotated[types[name], arg(help=" ".join(text.split())), *hints]
    return config


def wrapped_description(config: type) -> str:
    """Return the docstring of a configuration without its examples, each paragraph wrapped to the width of the terminal.

    By itself, tyro wraps the texts of options but not the description above them. It also joins lines, except those that do not
    begin with a letter; hence the indent.
    """
    wrapper = textwrap.TextWrapper(
        min(shutil.get_terminal_size().columns, WIDEST), subsequent_indent="  ", break_on_hyphens=False
    )
    text, _ = _docstring(config)
    return "\n\n".join(wrapper.fill(paragraph) for paragraph in text.split("\n\n"))


def examples_of(config: type) -> list[str]:
    """Return the end of the help text: a title, and the command lines at the end of the docstring; nothing if there are none."""
    _, lines = _docstring(config)
    return ["", "Examples:", *textwrap.indent(textwrap.dedent(lines.strip("\n")), "  ").splitlines()] if lines else []


def _docstring(config: type) -> tuple[str, str]:
    """Return the text of a configuration, and its examples."""
    text, _, lines = inspect.cleandoc(config.__doc__ or "").partition(_EXAMPLES)
    return text.strip(), lines


def _choices(hint: Any) -> str | None:
    """Return how the choices of an option are shown that may be left out; None for other options."""
    choices = [choice for part in get_args(hint) if get_origin(part) is Literal for choice in get_args(part)]
    return f"{{{','.join(map(str, choices))}}}" if choices else None


def _default(words: str) -> str:
    """Return the words about a default; tyro calls this with the value that it found, which `--demo` changes."""
    return "" if words in ("None", "", "False") else f"(default: {words})"
