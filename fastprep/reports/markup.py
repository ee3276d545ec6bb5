"""HTML out of texts that anybody may have chosen: everything is escaped here, unless it is HTML that was made here."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

from fastprep.system import printable

MOST_TEXT = 2000  # characters of a text, because a path or a name may have any number
_MOST_NAME, _MOST_TIP = 40, 300
_VOID = frozenset({"img", "meta"})  # elements without an end


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: object, most: int = MOST_TEXT) -> Html:
    """Return a value as HTML, on one line and of at most `most` characters; what is HTML already stays as it is."""
    if isinstance(value, Html):
        return value
    whole = str(value)
    return Html(html.escape(printable(whole if len(whole) <= most else f"{whole[: most - 1]}…")))


def element(tag: str, *content: object, **attributes: object) -> Html:
    """Return an element with its content, each part of which is escaped unless it is HTML.

    Parameters
    ----------
    tag : str
    *content : object
    **attributes : object
        An underscore stands for a dash, and one at the end is left out, as in ``class_``. What is None is left out, too.
    """
    named = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{text(value, len(str(value)))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Html(f"<{tag}{named}>" if tag in _VOID else f"<{tag}{named}>{joined(content)}</{tag}>")


def joined(parts: Iterable[object], between: str = "") -> Html:
    """Return parts one after the other, each of them escaped unless it is HTML."""
    return Html(text(between).join(map(text, parts)))


def name(value: str, most: int = _MOST_NAME) -> Html:
    """Return a name, written from right to left or not, whatever is beside it; a long one is whole in its tooltip."""
    whole = str(value)
    return element("bdi", text(whole, most), title=whole[:_MOST_TIP] if len(whole) > most else None)


def table(header: Sequence[object], rows: Iterable[Sequence[object]], caption: str, left: int = 1) -> Html:
    """Return a table that scrolls inside the page where it is too wide.

    Parameters
    ----------
    header : sequence of object
    rows : iterable of sequence of object
    caption : str
        What a screen reader calls it.
    left : int
        Columns of texts, which begin at the left; the others are numbers.
    """
    head = element("tr", *(element("th", cell, scope="col", class_=_side(k, left)) for k, cell in enumerate(header)))
    body = (element("tr", *(element("td", cell, class_=_side(k, left)) for k, cell in enumerate(row))) for row in rows)
    return scrolling(element("table", element("thead", head), element("tbody", *body)), caption)


def scrolling(content: Html, caption: str) -> Html:
    """Return what scrolls by itself where it is too wide, with the keyboard as well."""
    return element("div", content, class_="scroll", tabindex=0, role="region", aria_label=caption)


def tiles(pairs: Iterable[tuple[object, object]]) -> Html:
    """Return the numbers that are looked for first, and what each of them is."""
    return element(
        "div", *(element("div", element("b", number), element("span", what)) for number, what in pairs), class_="tiles"
    )


def facts(pairs: Iterable[tuple[object, object]]) -> Html:
    """Return names and what there is to say of each."""
    return element("dl", *(joined((element("dt", key), element("dd", value))) for key, value in pairs))


def folded(summary: str, content: Html) -> Html:
    """Return what is shown on a click."""
    return element("details", element("summary", summary), content)


def _side(column: int, left: int) -> Any:
    return "l" if column < left else None
