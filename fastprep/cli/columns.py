"""Texts by the columns that they take on a terminal: a Chinese character or an emoji takes two, a combining mark none."""

from __future__ import annotations


def n_columns(text: str) -> int:
    """Return the number of columns that a text takes."""
    from rich.cells import cell_len

    return cell_len(text)


def padded(text: str, columns: int) -> str:
    """Return a text with spaces behind it up to so many columns, and with an ellipsis for what is beyond them."""
    from rich.cells import set_cell_size

    if n_columns(text) <= columns:
        return text + " " * (columns - n_columns(text))
    return f"{set_cell_size(text, columns - 1)}…"


def lines_of(text: str, columns: int) -> list[str]:
    """Return a text in lines that break between words and take at most so many columns, those after the first indented.

    A word that is wider stands on a line of its own.
    """
    first, *words = text.split(" ")
    lines = [first]
    for word in words:
        if n_columns(lines[-1]) + 1 + n_columns(word) > columns:
            lines.append(f"  {word}")
        else:
            lines[-1] += f" {word}"
    return lines
