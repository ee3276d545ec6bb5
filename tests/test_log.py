"""The log: what standard error shows of it where a program has set up no logging, and FASTPREP_LOG."""

import logging
import sys
import types

import pytest

from fastprep import _log


@pytest.fixture
def begin(monkeypatch):
    """A function that returns the logger "fastprep" as it is in a program that has set up no logging.

    It is called in the test itself, because pytest adds handlers of its own between fixtures and test.
    """
    logger = logging.getLogger("fastprep")
    level = logger.level

    def without_handlers_of_others():
        for each in (logger, logger.parent):
            monkeypatch.setattr(each, "handlers", [handler for handler in each.handlers if handler is _log.HANDLER])
        monkeypatch.setattr(_log.HANDLER, "is_detailed", False)
        _log.HANDLER.begin_anew()
        return logger

    monkeypatch.delenv("FASTPREP_LOG", raising=False)
    yield without_handlers_of_others
    logger.setLevel(level)
    _log.HANDLER.begin_anew()


def say_all(logger):
    for level in ("debug", "info", "warning", "error"):
        getattr(logger.getChild("h5"), level)("%s of it", level)


@pytest.mark.parametrize("asked", ["debug", "info", "WARNING ", "error"])
def test_a_level_shows_what_is_of_it_or_above_with_time_and_logger(begin, monkeypatch, capsys, asked):
    logger = begin()
    monkeypatch.setenv("FASTPREP_LOG", asked)
    _log.set_up()
    say_all(logger)
    lines = capsys.readouterr().err.splitlines()
    levels = list(_log.LEVELS)
    expected = levels[levels.index(asked.strip().lower()) :]
    assert [line.partition(" ")[2] for line in lines] == [f"{level} fastprep.h5: {level} of it" for level in expected]
    assert all(line[2] + line[5] == "::" for line in lines)


@pytest.mark.parametrize("asked", [None, "", "loud"])
def test_without_a_level_warnings_are_shown_as_they_are(begin, monkeypatch, capsys, asked):
    logger = begin()
    if asked is not None:
        monkeypatch.setenv("FASTPREP_LOG", asked)
    _log.set_up()
    say_all(logger)
    said = ["FASTPREP_LOG must be debug, info, warning, error, got 'loud'; it has no effect"] * (asked == "loud")
    assert capsys.readouterr().err.splitlines() == [*said, "warning of it", "error of it"]


def test_the_handler_is_there_once(begin):
    logger = begin()
    _log.set_up()
    _log.set_up()
    assert logger.handlers.count(_log.HANDLER) == 1


def test_a_text_is_said_once_and_what_is_less_than_a_warning_each_time(begin, monkeypatch, capsys):
    logger = begin()
    monkeypatch.setenv("FASTPREP_LOG", "info")
    _log.set_up()
    for _ in range(2):
        say_all(logger)
        logger.warning("file %d", 1)
    words = [line.partition(": ")[2] for line in capsys.readouterr().err.splitlines()]
    assert words == ["info of it", "warning of it", "error of it", "file 1", "info of it"]
    _log.HANDLER.begin_anew()  # as each command does
    logger.warning("file %d", 1)
    assert capsys.readouterr().err.endswith("file 1\n")


def test_each_cell_of_a_notebook_says_its_warnings(begin, monkeypatch, capsys):
    logger = begin()
    shell = types.SimpleNamespace(execution_count=1)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    for shell.execution_count in (1, 1, 2):
        logger.warning("it does not mix")
    assert capsys.readouterr().err == "it does not mix\n" * 2


@pytest.mark.parametrize("where", ["fastprep", "root"])
def test_a_program_that_has_set_up_logging_gets_all_and_standard_error_nothing(begin, capsys, where):
    logger = begin()
    records = []
    own = logging.Handler()
    own.emit = records.append
    (logger if where == "fastprep" else logger.parent).handlers.append(own)
    for _ in range(2):
        logger.warning("odd")
    assert [record.getMessage() for record in records] == ["odd", "odd"]
    assert capsys.readouterr().err == ""


def test_text_out_of_files_can_not_drive_the_terminal(begin, capsys):
    logger = begin()
    logger.warning("class %s", "\x1b[2J\n")
    assert capsys.readouterr().err == "class \\x1b[2J\\n\n"


def test_without_standard_error_nothing_fails(begin, monkeypatch):
    logger = begin()
    monkeypatch.setattr(sys, "stderr", None)
    logger.warning("odd")
