"""The help of all commands: each option's text in one piece, and nothing that says nothing."""

import importlib
import inspect

import pytest

COMMANDS = ["train", "build", "convert", "doctor", "evaluate", "show"]


@pytest.fixture
def help_of(capsys, monkeypatch):
    def run(command, columns):
        monkeypatch.setenv("COLUMNS", str(columns))
        with pytest.raises(SystemExit) as ended:
            importlib.import_module(f"fastprep.{command}").main(["--help"])
        assert ended.value.code == 0
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_on_a_wide_screen_each_option_has_its_text_on_one_line(help_of, command):
    lines = [line.strip("│ ") for line in help_of(command, 2000).splitlines()]
    first = next(number for number, line in enumerate(lines) if "--help" in line)
    options = [line for line in lines[first:] if line and not line.startswith("╰")]
    assert len(options) > 5
    # a long option has its text on the next line
    texts = [line.split("  ")[-1].strip() for line in options if not line.startswith("-") or "  " in line]
    assert all(text.endswith((".", ")", "exit")) for text in texts), texts


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_fits_the_terminal(help_of, command, columns):
    usage, *lines = help_of(command, columns).splitlines()
    assert usage.startswith("usage: ")
    assert max(len(line) for line in lines) <= columns


@pytest.mark.parametrize("command", COMMANDS)
def test_the_description_is_the_docstring_in_paragraphs(help_of, command):
    module = importlib.import_module("fastprep.training.config" if command == "train" else f"fastprep.{command}")
    paragraphs = [" ".join(text.split()) for text in inspect.cleandoc(module.Config.__doc__).split("\n\n")]
    usage, *printed = help_of(command, 80).split("\n\n")
    assert usage.startswith("usage: ")
    assert [" ".join(text.split()) for text in printed[: len(paragraphs)]] == paragraphs


@pytest.mark.parametrize("command", COMMANDS)
def test_defaults_that_say_nothing_are_left_out(help_of, command):
    for columns in (80, 130):
        printed = help_of(command, columns)
        assert "(default: None)" not in printed
        assert "(default: )" not in printed
