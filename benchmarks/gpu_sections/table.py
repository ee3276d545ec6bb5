"""The table that `gpu.py` prints: a line for each row, and a line for each section that did not come to its end."""

from __future__ import annotations

from typing import Any

DONE, LEFT_OUT, STOPPED, FAILED = "done", "left out", "stopped", "failed"
"""How a section ended: `status` in the JSON document."""


def lines_of(section: dict[str, Any]) -> list[str]:
    """Return the lines of one section.

    Parameters
    ----------
    section : dict
        One of the `sections` of the JSON document: name, status, reason, seconds, limit_s and rows.
    """
    lines = [f"{section['name']:22} {row['name']:46} {_values(row)}".rstrip() for row in section["rows"]]
    if section["status"] != DONE:
        lines.append(f"{section['name']:22} {section['status'].upper()}: {section['reason']}")
    return lines


def summary(document: dict[str, Any]) -> list[str]:
    """Return the last lines: what is not as it must be, and what was not measured."""
    sections = document["sections"]
    wrong = [f"{s['name']}: {row['name']}" for s in sections for row in s["rows"] if row["ok"] is False]
    ended = [s["name"] for s in sections if s["status"] in (STOPPED, FAILED)]
    lines = ["A dry run on the tests' stand-in for a GPU: its numbers mean nothing."] if document["is_dry"] else []
    lines += [f"NOT as it must be: {'; '.join(wrong)}"] if wrong else []
    lines += [f"without a result: {', '.join(ended)}"] if ended else []
    lines.append(f"{len(sections)} sections in {sum(s['seconds'] for s in sections):.0f} s, {document['date']}")
    return lines


def is_good(document: dict[str, Any]) -> bool:
    """Return whether every section came to its end, or was left out, and every row is what it has to be."""
    return all(
        section["status"] in (DONE, LEFT_OUT) and all(row["ok"] is not False for row in section["rows"])
        for section in document["sections"]
    )


def _values(row: dict[str, Any]) -> str:
    texts = [f"{_number(value)} {unit}".strip() for unit, value in row["values"].items()]
    return "  ".join([*texts, *([] if row["ok"] is None else ["as it must be" if row["ok"] else "WRONG"])])


def _number(value: float | int | str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
