"""Public names that the API reference does not have are warnings; names in docstrings that it does not have are code."""

import inspect
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

_log = logging.getLogger(__name__)


def _undocumented(app: Sphinx, env: BuildEnvironment) -> None:
    import fastprep

    documented = env.get_domain("py").objects  # type: ignore[attr-defined]
    public = [name for name in fastprep.__all__ if not name.startswith("__")]
    names = {f"fastprep.{name}" for name in public if not inspect.ismodule(getattr(fastprep, name))}
    names |= {f"fastprep.Loader.{name}" for name in _public_members(fastprep.loader.Loader)}
    for name in sorted(names - set(documented)):
        _log.warning("%s is public, but not in the API reference", name, type="api_coverage")


def _public_members(kind: type) -> list[str]:
    members = inspect.getmembers(kind, lambda member: isinstance(member, property) or inspect.isfunction(member))
    return [name for name, _ in members if not name.startswith("_")]


def _name(app: Sphinx, env: BuildEnvironment, reference: addnodes.pending_xref, content: nodes.Element) -> Any:
    """Resolve a name in single backticks from the top of the package; what has no entry there is an argument, or code."""
    if reference.get("reftype") != "obj":
        return None
    target = f"fastprep.{reference['reftarget']}"
    found = env.get_domain("py").resolve_xref(env, reference["refdoc"], app.builder, "obj", target, reference, content)
    return found or content


def setup(app: Sphinx) -> dict[str, bool]:
    """Register both checks."""
    app.connect("env-check-consistency", _undocumented)
    app.connect("missing-reference", _name)
    return {"parallel_read_safe": True}
