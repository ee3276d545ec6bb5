"""Charts as SVG inside a page: their colours and fonts are the page's, so they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeGuard

from fastprep.reports.markup import Html, element, joined
from fastprep.reports.scales import Scale, scale_of, whole_numbers

WIDTH, HEIGHT = 460, 240
LEFT, RIGHT, TOP, BOTTOM = 74, 20, 10, 38  # to the left there is room for "0.00075" and "1.25e-05"
_MOST_POINTS = 400  # of a line: about as many as it has pixels
_LARGEST = 1e100  # a number above it would leave no room for a scale, and says only that all is lost
_MOST_DOTS = 60  # points that have a dot with its number as a tooltip


class Line(NamedTuple):
    """A line of a chart.

    Attributes
    ----------
    label : str
    values : sequence of float or None
        A number for each epoch; None, and what is not finite, is a gap.
    look : {"a", "b"}
        Dashed, or solid in the second colour.
    """

    label: str
    values: Sequence[float | None]
    look: Literal["a", "b"] = "b"


def chart_of_epochs(
    title: str,
    lines: Sequence[Line],
    *,
    may_be_log: bool = False,
    is_percent: bool = False,
    from_zero: bool = False,
    best: int = 0,
) -> Html:
    """Return a chart of numbers over the epochs, from 1; nothing if there are no numbers.

    Parameters
    ----------
    title : str
    lines : sequence of Line
        All of them with as many numbers.
    may_be_log, is_percent, from_zero : bool
        As for `scale_of`.
    best : int
        Epoch that is marked; 0 for none.
    """
    known = [value for line in lines for value in line.values if _is_number(value)]
    if not known:
        return Html()
    x = whole_numbers(1, len(lines[0].values))
    y = scale_of(known, may_be_log=may_be_log, is_percent=is_percent, from_zero=from_zero)
    drawn = [axes(x, y, "epoch")]
    if best:
        at = f"{_x(x, best):.1f}"
        drawn.append(element("line", x1=at, x2=at, y1=TOP, y2=HEIGHT - BOTTOM, class_="m"))
    for line in lines:
        drawn += _line(line, x, y)
    keys = [element("span", line.label, class_=f"key {line.look}") for line in lines]
    keys += [element("span", f"best epoch {best}", class_="key m")] * bool(best)
    return figure(title, keys, drawn)


def figure(title: str, keys: Sequence[Html], drawn: Sequence[Html], height: int = HEIGHT) -> Html:
    """Return a chart with its title and what its colours mean."""
    picture = element("svg", *drawn, viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label=title)
    return element("figure", element("figcaption", element("b", title), *keys), picture, class_="chart")


def axes(x: Scale, y: Scale, x_label: str) -> Html:
    """Return the grid, and the ticks with their numbers."""
    bottom, drawn = HEIGHT - BOTTOM, []
    for tick in y.ticks:
        at = _y(y, tick)
        drawn.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=f"{at:.1f}", y2=f"{at:.1f}", class_="grid"))
        drawn.append(element("text", y.label(tick), x=LEFT - 6, y=f"{at + 4:.1f}", text_anchor="end"))
    for tick in x.ticks:
        drawn.append(element("text", x.label(tick), x=f"{_x(x, tick):.1f}", y=bottom + 16, text_anchor="middle"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    drawn.append(element("text", x_label, x=f"{middle:.0f}", y=bottom + 32, text_anchor="middle"))
    return joined(drawn)


def _line(line: Line, x: Scale, y: Scale) -> list[Html]:
    """Return a line with a piece for each part of it without gaps, and dots if they are few."""
    pieces: list[list[tuple[int, float]]] = [[]]
    for epoch, value in enumerate(line.values, start=1):
        if _is_number(value):
            pieces[-1].append((epoch, value))
        elif pieces[-1]:
            pieces.append([])
    drawn = []
    for piece in pieces:
        places = " ".join(f"{_x(x, epoch):.1f},{_y(y, value):.1f}" for epoch, value in _thinned(piece))
        if len(piece) > 1:
            drawn.append(element("polyline", points=places, class_=line.look))
    dots = [point for piece in pieces for point in piece] if len(line.values) <= _MOST_DOTS else []
    for epoch, value in dots:
        told = element("title", f"{line.label}, epoch {epoch}: {f'{value:.2%}' if y.is_percent else f'{value:,.4g}'}")
        at = {"cx": f"{_x(x, epoch):.1f}", "cy": f"{_y(y, value):.1f}"}
        drawn.append(element("circle", told, **at, r=2.5, class_=f"d{line.look}"))
    return drawn


def _thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return so few points that a page stays small: the lowest and the highest of each group of neighbours."""
    if len(points) <= _MOST_POINTS:
        return points
    size = -(-2 * len(points) // _MOST_POINTS)
    kept = []
    for first in range(0, len(points), size):
        group = points[first : first + size]
        ends = (min(group, key=lambda point: point[1]), max(group, key=lambda point: point[1]))
        kept += sorted(set(ends))
    return kept


def _is_number(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value) and abs(value) < _LARGEST


def _x(scale: Scale, value: float) -> float:
    return LEFT + scale.place(value) * (WIDTH - LEFT - RIGHT)


def _y(scale: Scale, value: float) -> float:
    return HEIGHT - BOTTOM - scale.place(value) * (HEIGHT - TOP - BOTTOM)
