"""The directive `command-help`: what `python -m fastprep.NAME --help`, or `python -m fastprep`, prints when the site is built."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

_COLUMNS = "4000"  # so that no text is broken; the browser breaks it
_BOX_TITLE = re.compile(r"╭─ (.+?) ─*╮")


class CommandHelp(SphinxDirective):
    """The help of the command that the argument names: its usage and description, and a list of its options.

    Without an argument it is the list of commands.
    """

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Run the command and give its text a form."""
        if not self.arguments:
            text = self._print("fastprep").strip()
            return [nodes.literal_block(text, text, language="none")]
        lines = self._print(f"fastprep.{self.arguments[0]}").splitlines()
        first_box = next((number for number, line in enumerate(lines) if _BOX_TITLE.match(line)), None)
        if first_box is None:
            raise self.error(f"the help of {self.arguments[0]} has no box of options")
        usage, *description = "\n".join(lines[:first_box]).strip().split("\n\n")
        parts: list[nodes.Node] = [nodes.literal_block(usage, usage, language="none")]
        parts += [nodes.paragraph("", text) for text in description]
        for line in lines[first_box:]:
            text = line.strip("│")[1:].rstrip()
            if title := _BOX_TITLE.match(line):
                options, above = nodes.definition_list(classes=["command-options"]), list[str]()
                parts += [nodes.rubric("", title[1].capitalize()), options]
            elif line.startswith("│") and set(text) == {"─"}:  # what is above it describes the group
                options.clear()
                parts.insert(-1, nodes.paragraph("", " ".join(above)))
            elif line.startswith("│"):
                above.append(text)
                options += _entries(text, options)
        return parts

    def _print(self, module: str) -> str:
        repository = Path(self.env.srcdir).parent
        path = os.pathsep.join([str(repository), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "COLUMNS": _COLUMNS, "NO_COLOR": "1", "TERM": "dumb", "PYTHONPATH": path}
        command = [sys.executable, "-m", module, "--help"]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if result.returncode:
            raise self.error(f"{' '.join(command[1:])} ended with status {result.returncode}: {result.stdout}{result.stderr}")
        return result.stdout


def _entries(line: str, options: nodes.definition_list) -> Iterator[nodes.definition_list_item]:
    """Make an entry of a line that begins with an option; add the text of one that does not to the entry before."""
    option, _, text = ("", "", line.strip()) if line.startswith(" ") else line.partition("  ")
    paragraph = [nodes.paragraph("", text.strip())] if text.strip() else []
    if not option:
        options[-1][-1].extend(paragraph)
        return
    term = nodes.term("", "", nodes.literal("", option))
    yield nodes.definition_list_item("", term, nodes.definition("", *paragraph))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True}
