"""Options of a command in a report: those that differ from their defaults, and all of them on a click."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from fastprep.command_lines import option
from fastprep.reports.markup import Html, element, facts, folded, joined, text


def options(config: Any, usual: Any) -> Html:
    """Return the options of a command.

    Parameters
    ----------
    config, usual : dataclass
        The configuration, and one with the defaults.
    """
    values, defaults = dataclasses.asdict(config), dataclasses.asdict(usual)
    changed = {name: value for name, value in values.items() if value != defaults[name]}
    given = _list(changed) if changed else element("p", "All options have their defaults.")
    return joined((given, folded("All options", _list(values))))


def _list(values: dict[str, Any]) -> Html:
    return facts((element("code", option(name)), element("code", _word(value))) for name, value in values.items())


def _word(value: Any) -> Html:
    if isinstance(value, list | tuple):
        return text(", ".join(map(str, value)))
    return text(value if isinstance(value, str) else json.dumps(value, default=str))
