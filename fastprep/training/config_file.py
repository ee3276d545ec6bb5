"""Configuration of a training run as a JSON file, and as words of a command line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from fastprep._version import __version__
from fastprep.command_lines import option
from fastprep.errors import InputError, input_errors
from fastprep.training.config import Config

_NEVER_SAVED = frozenset({"trust", "profile"})  # a file does not say whether it is to be trusted, and a profile is of one call
_LARGEST = 2**20  # bytes of a config.json that is read


def save(config: Config, path: str | Path) -> None:
    """Write a configuration as JSON."""
    values = {name: value for name, value in dataclasses.asdict(config).items() if name not in _NEVER_SAVED}
    Path(path).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def load(path: str | Path) -> dict[str, Any]:
    """Read a file that `save` wrote, or one written by hand with some of the options.

    Returns
    -------
    dict
        Values by field; their types are not checked.

    Raises
    ------
    InputError
        If the file can't be read, is not JSON, or has unknown options.
    """
    with input_errors(OSError), open(path, "rb") as file:
        text = file.read(_LARGEST + 1)
    if len(text) > _LARGEST:
        raise InputError(f"{str(path)!r} must be a file of options of at most {_LARGEST:,} bytes, it has more")
    try:
        values = json.loads(text)
    except ValueError as error:
        raise InputError(f"{str(path)!r} is not JSON: {error}") from None
    except RecursionError:
        raise InputError(f"{str(path)!r} is nested too deeply: options are text, numbers, true, false or null") from None
    if not isinstance(values, dict):
        raise InputError(f"{str(path)!r} must hold an object of options, found {type(values).__name__}")
    known = {field.name for field in dataclasses.fields(Config)} - _NEVER_SAVED
    if unknown := sorted(set(values) - known):
        way_out = f"this is fastprep {__version__}: was it written by a newer one, or is a name misspelt?"
        raise InputError(f"{str(path)!r} has unknown options: {', '.join(unknown)}; {way_out}")
    return values


def arguments(values: dict[str, Any]) -> list[str]:
    """Return values of fields as a command line, so that one parser checks both.

    Raises
    ------
    InputError
        If a value is not text, a number, true, false or null.
    """
    words = []
    for name, value in values.items():
        if isinstance(value, bool):
            words.append(option(name) if value else option("no_" + name))
        elif isinstance(value, str | int | float):
            words += [option(name), str(value)]
        elif value is not None:
            raise InputError(f"{name} must be text, a number, true, false or null, found {value!r}")
    return words
