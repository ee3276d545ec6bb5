"""Columns of a terminal, which are more or fewer than characters."""

import pytest

from fastprep.cli.columns import n_columns, padded


@pytest.mark.parametrize(("text", "n"), [("cat", 3), ("红色圆形", 8), ("⭐ star 🌟", 10), ("مربع", 4), ("e\u0301", 1), ("", 0)])
def test_columns_are_those_of_a_terminal(text, n):
    assert n_columns(text) == n
    assert padded(text, 12) == text + " " * (12 - n)


def test_what_is_too_long_ends_with_an_ellipsis():
    assert padded("红色圆形", 8) == "红色圆形"
    assert padded("红色圆形", 7) == "红色圆…"
    assert padded("红色圆形", 6) == "红色 …"  # half of a character is a space
    assert padded("cats and dogs", 5) == "cats…"
