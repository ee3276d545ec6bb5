"""Values of the outputs of a network as Keras takes them: one value, a tuple of them, or a dict by the names of the outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def map_outputs(function: Callable[..., Any], first: Any, *others: Any) -> Any:
    """Apply a function to the value of each output.

    Parameters
    ----------
    function : callable
        Called with the value of one output out of each structure.
    first, *others : object, tuple or dict
        Values of alike structure.

    Returns
    -------
    object, tuple or dict
        Results in the structure of the first.
    """
    if isinstance(first, dict):
        return {name: function(value, *(other[name] for other in others)) for name, value in first.items()}
    if isinstance(first, tuple):
        return tuple(function(*values) for values in zip(first, *others, strict=True))
    return function(first, *others)


def outputs_of(values: Any) -> list[Any]:
    """Return the values of all outputs; none for None."""
    if values is None:
        return []
    if isinstance(values, dict):
        return list(values.values())
    return list(values) if isinstance(values, tuple) else [values]


def leaves(*values: Any) -> list[Any]:
    """Return the values of all outputs of several structures, one after the other; None for a structure that is None."""
    return [leaf for value in values for leaf in (outputs_of(value) or [None])]


def names_of(values: Any, argument: str) -> Any:
    """Return what errors call each output, such as "labels['age']", in the structure of the values."""
    if isinstance(values, dict):
        return {name: f"{argument}[{name!r}]" for name in values}
    if isinstance(values, tuple):
        return tuple(f"{argument}[{k}]" for k in range(len(values)))
    return argument


def by_output(values: Any, labels: Any, argument: str, default: Any) -> Any:
    """Return what an argument says of each output, in the structure of the labels; None if it says one thing of all outputs.

    Parameters
    ----------
    values : object
        A dict for a dict of labels, in which outputs may be left out; a list or tuple for a tuple of labels.
    labels : object, tuple or dict
    argument : str
    default : object
        Stands for an output that is left out.

    Raises
    ------
    ValueError
        If the outputs are not those of the labels.
    """
    if isinstance(labels, dict) and isinstance(values, Mapping):
        if unknown := [name for name in values if name not in labels]:
            raise ValueError(f"{argument} must name outputs of labels, {', '.join(labels)}, got {unknown[0]!r}")
        return {name: values.get(name, default) for name in labels}
    if isinstance(labels, tuple) and isinstance(values, list | tuple) and not all(map(_is_number, values)):
        if len(values) != len(labels):
            raise ValueError(f"{argument} must have an entry for each of the {len(labels)} outputs of labels, got {len(values)}")
        return tuple(values)
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number | np.bool_)
