"""Public names that the API reference does not have are warnings; names in docstrings that it does not have are code."""

import inspect
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

_log = logging.getLogger(__name__)
_PACKAGES = ("h5", "kernels", "loader", "model")  # parts of the face, whose documented names stand by themselves


def _undocumented(app: Sphinx, env: BuildEnvironment) -> None:
    import fastprep

    documented = env.get_domain("py").objects  # type: ignore[attr-defined]
    names = {f"fastprep.{name}" for name in fastprep.__all__ if name not in _PACKAGES and not name.startswith("__")}
    names |= {f"fastprep.Loader.{name}" for name in _public_members(fastprep.loader.Loader)}
    for name in sorted(names - set(documented)):
        _log.warning("%s is public, but not in the API reference", name, type="api_coverage")


def _public_members(kind: type) -> list[str]:
    members = inspect.getmembers(kind, lambda member: isinstance(member, property) or inspect.isfunction(member))
    return [name for name, _ in members if not name.startswith("_")]


def _as_code(app: Sphinx, env: BuildEnvironment, reference: addnodes.pending_xref, content: nodes.Element) -> Any:
    """Leave a name in single backticks that has no entry as it is: much of it is arguments and code."""
    return content if reference.get("reftype") == "obj" else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Register both checks."""
    app.connect("env-check-consistency", _undocumented)
    app.connect("missing-reference", _as_code)
    return {"parallel_read_safe": True}
