"""Code blocks, links and headings of the Markdown pages."""

import re
from pathlib import Path

import pytest

from fastprep.loader import Loader

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(path, language):
    """Return the line number and the text of each block of a language."""
    text = path.read_text()
    return [(text.count("\n", 0, found.start(2)) + 1, found[2]) for found in _BLOCK.finditer(text) if found[1] == language]


def sections(path):
    """Return {heading: {language: (line number, text)}} of the headings of the second level, with a block of each language."""
    lines, found = path.read_text().splitlines(), {}
    for number in [k for k, line in enumerate(lines, start=1) if line.startswith("## ")]:
        found[lines[number - 1].removeprefix("## ")] = (number, {})
    for language in ("python", "sh"):
        for number, text in blocks(path, language):
            above = [under for start, under in found.values() if start < number]
            if above:
                assert language not in above[-1], f"{path}:{number} is a second block of {language} in its section"
                above[-1][language] = (number, text)
    return {heading: under for heading, (_, under) in found.items()}


def links(path):
    """Return the targets of all links and images that stay in the repository."""
    prose = re.sub(r"`[^`\n]*`", "", _BLOCK.sub("", path.read_text()))
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", prose) if not target.startswith(("http:", "https:"))]


def anchors(path):
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", _BLOCK.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def run(path, numbered_blocks, names):
    """Execute blocks one after the other, in one namespace; tracebacks show the page and its line numbers."""
    opened, loaders = Loader.__init__, []

    def noting(loader, *arguments, **options):
        loaders.append(loader)
        opened(loader, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loader, "__init__", noting)
        try:
            for line, text in numbered_blocks:
                exec(compile("\n" * (line - 1) + text, str(path), "exec"), names)
        finally:
            for loader in loaders:  # a page need not say that they end with the program
                loader.close()
