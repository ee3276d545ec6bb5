"""Whose code may run: a module is imported only if the user names it, or trusts a file of their own that names it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from fastprep.errors import InputError

SMALL = "fastprep.model:small_cnn"
"""Network of the demo unless another one is named."""

# Networks of Keras itself; it calls them without weights, so nothing is downloaded.
_OF_KERAS = re.compile(r"keras\.applications(\.[a-z]\w*)?:[A-Z]\w*")
# Modules of Keras whose classes and functions compute, and do nothing else.
_COMPUTES = re.compile(
    r"keras|keras\.(src\.)?"
    r"(activations|applications|constraints|dtype_policies|initializers|layers|losses|metrics|models|ops|optimizers|quantizers|random"
    r"|regularizers)(\.\w+)*"
)
# Layers that carry code, or load it from another file.
_CARRIES_CODE = frozenset({"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"})


def runs_code(model: str) -> bool:
    """Tell whether a network (``--model``) means a module that may be anybody's."""
    return model not in ("alexnet", SMALL) and _OF_KERAS.fullmatch(model) is None


def is_own(path: Path) -> bool:
    """Tell whether a file belongs to the user; one that this process can't see counts as such, because rank 0 reads it."""
    try:
        return path.stat().st_uid == os.geteuid()
    except OSError:
        return True


def check_named(model: str, named: str | None, source: Path, *, trust: bool) -> None:
    """Check that the user agrees to the import of the module of a network.

    Parameters
    ----------
    model : str
        Network that a file names.
    named : str or None
        Network that the command line names.
    source : Path
        The file.
    trust : bool
        Whether the command line has ``--trust``.

    Raises
    ------
    InputError
        If the user neither names the network nor trusts a file of their own.
    """
    if not runs_code(model) or model == named or (trust and is_own(source)):
        return
    problem = f"{str(source)!r} names the network {model}, whose code would run"
    if is_own(source):
        raise InputError(f"{problem}: name it with --model {model}, or say --trust if you made the file")
    raise InputError(f"{problem}, and the file belongs to another user: name it with --model {model} if you know that code")


def foreign_code(config: Any) -> list[str]:
    """Return what a description of a saved model names beside the layers of Keras: modules that would be imported, and code.

    Parameters
    ----------
    config : dict
        What config.json holds inside a .keras file.

    Returns
    -------
    list of str
        Names such as "payload.Layer" and "Lambda", sorted. Layers whose module the user's own code has imported are left out.
    """
    found, rest = set(), [config]
    while rest:  # a loop, because the nesting is the author's choice
        value = rest.pop()
        if isinstance(value, dict):
            if "class_name" in value and (name := _foreign_name(value)):
                found.add(name)
            rest += [part for key, part in value.items() if key != "compile_config"]  # which is not used
        elif isinstance(value, list):
            rest += value
    return sorted(found)


def _foreign_name(node: dict[str, Any]) -> str:
    """Return the name of what a node stands for if that may run code, else nothing."""
    module, kind = node.get("module"), node["class_name"]
    name = node.get("config") if kind == "function" else node.get("spec_name", kind)
    if kind in _CARRIES_CODE or name in _CARRIES_CODE:
        return str(name)
    if module in (None, "builtins"):
        return "" if isinstance(name, str) and (name.isidentifier() or ">" in name) else f"{name}"
    if not (isinstance(module, str) and isinstance(name, str) and name.isidentifier()):
        return f"{module}.{name}"
    return "" if _COMPUTES.fullmatch(module) or _is_known_class(module, name) else f"{module}.{name}"


def _is_known_class(module: str, name: str) -> bool:
    """Tell whether code that runs anyway has defined a part of a network of this name."""
    import keras

    found = getattr(sys.modules.get(module), name, None)
    kinds = (keras.Layer, keras.Initializer, keras.Regularizer, keras.constraints.Constraint)
    return isinstance(found, type) and issubclass(found, kinds)
