"""Columns of a terminal, which are more or fewer than characters."""

import fcntl
import os
import struct
import sys
import termios

import pytest
from terminal import Terminal

from fastprep.cli.columns import lines_of, n_columns, padded
from fastprep.cli.output import write_prose


@pytest.mark.parametrize(("text", "n"), [("cat", 3), ("红色圆形", 8), ("⭐ star 🌟", 10), ("مربع", 4), ("e\u0301", 1), ("", 0)])
def test_columns_are_those_of_a_terminal(text, n):
    assert n_columns(text) == n
    assert padded(text, 12) == text + " " * (12 - n)


def test_what_is_too_long_ends_with_an_ellipsis():
    assert padded("红色圆形", 8) == "红色圆形"
    assert padded("红色圆形", 7) == "红色圆…"
    assert padded("红色圆形", 6) == "红色 …"  # half of a character is a space
    assert padded("cats and dogs", 5) == "cats…"


def test_lines_break_between_words_and_fit():
    assert lines_of("the cat sat", 11) == ["the cat sat"]
    assert lines_of("the cat sat", 10) == ["the cat", "  sat"]
    assert lines_of("红色 圆形 cat", 9) == ["红色 圆形", "  cat"]
    assert lines_of("a/very/long/path is one word", 10) == ["a/very/long/path", "  is one", "  word"]


def test_words_on_a_terminal_break_as_it_is_wide_and_elsewhere_not(monkeypatch, capsys):
    with Terminal() as terminal:
        fcntl.ioctl(terminal.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 9, 13, 0, 0))
        with open(os.dup(terminal.fd), "w", encoding="utf-8") as stream, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stream)
            write_prose("the cat sat on\x1b a mat", "yes")
    assert terminal.shown == "the cat sat\r\n  on\\x1b a\r\n  mat\r\nyes\r\n"
    write_prose("the cat sat on\x1b a mat", "yes")
    assert capsys.readouterr().out == "the cat sat on\\x1b a mat\nyes\n"
