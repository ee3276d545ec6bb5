"""The help texts of the commands."""

from __future__ import annotations

import ast
import inspect
import textwrap
import typing
from dataclasses import MISSING
from typing import Annotated, TypeVar

from tyro.conf import arg

_T = TypeVar("_T", bound=type)


def flowing(config: _T) -> _T:
    """Let the text below each field of a configuration flow as one paragraph, and leave out defaults that say nothing.

    tyro alone breaks lines where the source does, and ends with "(default: None)" where the text says what happens then.

    Parameters
    ----------
    config : type
        A dataclass that is a command line for tyro.

    Returns
    -------
    type
        The same one; without its source, as it was.
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
                hint = arg(help_behavior_hint=_default) if getattr(config, name, MISSING) is None else arg()
                config.__annotations__[name] = Annotated[types[name], arg(help=" ".join(text.split())), hint]
    return config


def _default(words: str) -> str:
    """Say what tyro found as the default; `--demo` brings others."""
    return "" if words == "None" else f"(default: {words})"
