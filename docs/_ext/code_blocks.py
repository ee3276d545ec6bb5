"""Code blocks that do not parse are warnings: Python, JSON and shell."""

import ast
import doctest
import json
import subprocess
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

_log = logging.getLogger(__name__)


def _python(text: str) -> None:
    if text.lstrip().startswith(">>>"):
        text = "".join(example.source for example in doctest.DocTestParser().get_examples(text))
    ast.parse(text)


def _shell(text: str) -> None:
    result = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    if result.returncode:
        raise ValueError(result.stderr.strip())


_CHECKS = {"python": _python, "json": json.loads, "sh": _shell, "bash": _shell}


class CodeBlocks(SphinxTransform):
    """Parsing of the blocks that name one of the languages above; Pygments' lexers see the others."""

    default_priority = 900

    def apply(self, **_: Any) -> None:
        """Check the blocks of one page."""
        for block in self.document.findall(nodes.literal_block):
            check = _CHECKS.get(block.get("language", ""))
            try:
                if check is not None:
                    check(block.astext())
            except (SyntaxError, ValueError) as error:
                _log.warning("%s block does not parse: %s", block["language"], error, location=block, type="code_blocks")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the transform."""
    app.add_transform(CodeBlocks)
    return {"parallel_read_safe": True}
