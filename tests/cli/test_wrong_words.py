"""Command lines that the parser refuses, explained; what tyro alone finds is kept in one line."""

from dataclasses import dataclass
from typing import Annotated

import pytest
from tyro.conf import arg

from fastprep.cli import groups
from fastprep.cli.groups import read_words
from fastprep.cli.wrong_words import first_problem
from fastprep.errors import InputError


@dataclass(frozen=True)
class SomeOptions:
    """Some options."""

    n: int = 3
    name: Annotated[str | None, arg(metavar="NAME")] = None
    loud: bool = True
    fast: bool = False


@dataclass(frozen=True)
class Line(SomeOptions):
    """A line."""


@pytest.mark.parametrize(
    "words",
    [[], ["--n", "-4"], ["--n=5"], ["--no-loud", "--fast"], ["--name", "a b"], ["--name=--n"], ["--name", "None"], ["--loud"]],
)
def test_what_the_parser_takes_has_no_problem(words):
    assert first_problem(Line, words, False) is None
    assert isinstance(read_words(Line, words, "line"), Line)


def test_options_may_be_written_with_underscores():
    assert first_problem(Line, ["--no_loud"], False) is None
    assert not read_words(Line, ["--no_loud"], "line").loud


@pytest.mark.parametrize(("pairs", "taken"), [(True, True), (False, False)])
def test_what_is_off_by_default_has_a_second_word_with_pairs_only(pairs, taken):
    assert (first_problem(Line, ["--no-fast"], pairs) is None) == taken
    if taken:
        assert not read_words(Line, ["--fast", "--no-fast"], "line", pairs=pairs).fast
        return
    with pytest.raises(InputError, match="there is no option --no-fast; did you mean --fast"):
        read_words(Line, ["--no-fast"], "line")


def test_what_only_the_parser_finds_wrong_is_kept_in_one_line(monkeypatch):
    monkeypatch.setattr(groups, "first_problem", lambda *_: None)
    with pytest.raises(InputError) as caught:
        read_words(Line, ["--n", "x"], "line")
    text = str(caught.value)
    assert "\n" not in text
    assert "--n" in text
    assert "x" in text
    assert text.endswith("; line --help lists the options")
