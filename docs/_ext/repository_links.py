"""Links between files of the repository, as they stand in Markdown for GitHub, turned into links of the site.

A link to a file that is a page of the site, or that a page includes, becomes a link to that page. Any other file of the
repository has no page: its link becomes plain text. A link to a file that does not exist is a warning.
"""

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

_log = logging.getLogger(__name__)
_INCLUDE = re.compile(r"^```\{include\} (\S+)$", re.MULTILINE)


class RepositoryLinks(SphinxTransform):
    """Resolution of relative links by the folder of the file that a page includes."""

    default_priority = 5

    def apply(self, **_: Any) -> None:
        """Replace the links of one page."""
        source = Path(self.env.srcdir)
        repository = source.parent.resolve()
        included = _included(source)
        page = source / f"{self.env.docname}.md"
        written_in = next((file for file, docname in included.items() if docname == self.env.docname), page)
        for link in [*self.document.findall(addnodes.pending_xref), *self.document.findall(addnodes.download_reference)]:
            path, anchor = _target(link, source) if link.get("reftype") == "myst" else (None, None)
            if path is None:
                continue
            file = (written_in.parent / path).resolve()
            if not file.exists() and written_in != page:  # MyST has resolved it by the folder of the page
                file = (page.parent / path).resolve()
            docname = included.get(file) or self.env.path2doc(str(file))
            if docname in self.env.found_docs:
                names = {"refdoc": self.env.docname, "refdomain": "doc", "reftype": "myst", "refexplicit": True}
                link.replace_self(addnodes.pending_xref("", *link.children, reftarget=docname, reftargetid=anchor, **names))
                continue
            if not (file.exists() and file.is_relative_to(repository)):
                _log.warning("broken link: %s", path, location=link, type="repository_links")
            link.replace_self(link.children)


def _target(link: nodes.Element, source: Path) -> tuple[str | None, str | None]:
    """Return the path of a link as it was written, and its anchor."""
    if link.get("refdomain") == "doc":
        return str(source / f"{link['reftarget']}.md"), link.get("reftargetid")
    path, _, anchor = link["reftarget"].partition("#")
    return path or None, anchor or None


def _included(source: Path) -> dict[Path, str]:
    """Return which page includes which file of the repository."""
    pages = [source / "index.md", *sorted((source / "project").glob("*.md"))]
    return {
        (page.parent / name).resolve(): page.relative_to(source).with_suffix("").as_posix()
        for page in pages
        for name in _INCLUDE.findall(page.read_text(encoding="utf-8"))
    }


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the transform."""
    app.add_transform(RepositoryLinks)
    return {"parallel_read_safe": True}
