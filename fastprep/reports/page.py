"""A report as one HTML file, with the mark by which it is known as fastprep's."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Sequence
from typing import NamedTuple

from fastprep._version import __version__
from fastprep.reports.markup import Html, element, joined, text
from fastprep.reports.style import STYLE
from fastprep.system import whole_file

FILE_NAME = "report.html"

# Nothing is loaded and nothing runs, even if a text should ever get into the page as more than a text.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_BEGINNING = '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="fastprep '


class Section(NamedTuple):
    """Part of a report.

    Attributes
    ----------
    title : str
    content : Html
    """

    title: str
    content: Html


def page(title: str, about: Html, sections: Sequence[Section]) -> str:
    """Return a whole report.

    Parameters
    ----------
    title : str
    about : Html
        What stands below the title.
    sections : sequence of Section
        Those without content are left out.
    """
    shown = [section for section in sections if section.content]
    links = (element("a", section.title, href=f"#part-{k}") for k, section in enumerate(shown))
    parts = (element("section", element("h2", section.title, id=f"part-{k}"), section.content) for k, section in enumerate(shown))
    made = f"Written by fastprep {__version__} at {time.strftime('%Y-%m-%d %H:%M:%S %z')}."
    head = joined(
        (
            element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="color-scheme", content="light dark"),
            element("title", title),
            element("style", Html(STYLE)),
        )
    )
    top = element("header", element("h1", title), about)
    body = joined((top, element("nav", *links), element("main", *parts), element("footer", made)))
    return f'{_BEGINNING}{text(__version__)}">{head}</head><body>{body}</body></html>\n'


def write_page(path: str | os.PathLike[str], content: str) -> None:
    """Write a report as a whole or not at all.

    Raises
    ------
    OSError
        If the disk is full or fails, naming the file; the one that was there stays.
    """
    with whole_file(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(content)


def is_replaceable(path: str | os.PathLike[str]) -> bool:
    """Tell whether a report may be written to a path: there is nothing, or a report that fastprep wrote, and no link to one."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return False
        with open(path, "rb") as file:
            return file.read(len(_BEGINNING)) == _BEGINNING.encode()
    except FileNotFoundError:
        return True
    except OSError:
        return False
