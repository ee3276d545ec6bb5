"""The help of all commands: each option's text in one piece, and nothing that says nothing."""

import dataclasses
import importlib
import inspect
import io
import itertools
import shlex

import pytest

COMMANDS = ["train", "build", "convert", "doctor", "evaluate", "show"]


@pytest.fixture
def help_of(monkeypatch):
    def run(command, columns):
        terminal = io.TextIOWrapper(io.BytesIO(), "utf-8")  # for which tyro draws frames
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr("sys.stdout", terminal)
        with pytest.raises(SystemExit) as ended:
            importlib.import_module(f"fastprep.{command}").main(["--help"])
        assert ended.value.code == 0
        terminal.flush()
        return terminal.buffer.getvalue().decode()

    return run


def texts_of_options(printed):
    """The lines of the text of each option, and the width that they may have."""
    inside = [line[1:-2].rstrip() for line in printed.splitlines() if line.startswith("│")]
    column = next(line.index("show this help") for line in inside if "show this help" in line)
    texts = []
    for line in inside:
        if line.startswith(" -"):
            texts.append([])
        if texts and len(line) > column and line[column - 2 : column] == "  ":
            texts[-1].append(line[column:])
    return texts, max(len(line) for line in printed.splitlines() if line.startswith("│")) - 3 - column


@pytest.mark.parametrize("command", COMMANDS)
def test_each_option_has_its_text_in_one_piece(help_of, command):
    texts, width = texts_of_options(help_of(command, 120))
    assert len(texts) > 5
    for text in texts:
        assert text[-1].endswith((".", ")", "exit")), text
        for line, following in itertools.pairwise(text):  # else the lines are those of the source
            assert len(line) + 1 + len(following.split()[0]) > width, text


def test_a_wide_terminal_does_not_put_groups_side_by_side(help_of):
    assert help_of("train", 300).splitlines()[8:] == help_of("train", 120).splitlines()[8:]


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_fits_the_terminal(help_of, command, columns):
    usage, *lines = help_of(command, columns).splitlines()
    assert usage.startswith("usage: ")
    assert max(len(line) for line in lines) <= columns


@pytest.mark.parametrize("command", COMMANDS)
def test_the_description_is_the_docstring_in_paragraphs(help_of, command):
    module = importlib.import_module("fastprep.training.config" if command == "train" else f"fastprep.{command}")
    written, _, _ = inspect.cleandoc(module.Config.__doc__).partition("For example::")
    paragraphs = [" ".join(text.split()) for text in written.strip().split("\n\n")]
    usage, *printed = help_of(command, 80).split("\n\n")
    assert usage.startswith("usage: ")
    assert [" ".join(text.split()) for text in printed[: len(paragraphs)]] == paragraphs


@pytest.mark.parametrize("command", COMMANDS)
def test_defaults_that_say_nothing_are_left_out(help_of, command):
    for columns in (80, 130):
        printed = help_of(command, columns)
        assert "(default: None)" not in printed
        assert "(default: )" not in printed


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_ends_with_examples_that_the_command_can_read(help_of, command):
    *_, examples = help_of(command, 80).split("\n\n")
    title, *lines = examples.splitlines()
    assert title == "Examples:"
    assert len(lines) > 1
    module = importlib.import_module("fastprep.training.command_line" if command == "train" else f"fastprep.{command}")
    read = module.parse_words if command == "train" else module.parse
    for line in lines:
        python, m, name, *words = shlex.split(line)
        assert (python, m, name) == ("python", "-m", f"fastprep.{command}")
        read(words)


GROUPS = {
    "train": "data network learning image augmentation saving machine several-hosts",
    "evaluate": "test data method network machine",
    "show": "file drawing augmentation",
    "doctor": "file timing",
    "build": "folder class split image decoding",
    "convert": "file data encoding size pixel",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_options_are_in_groups_and_each_is_in_one(help_of, command):
    printed = help_of(command, 80)
    titles = [line.strip("╭─╮ ") for line in printed.splitlines() if line.startswith("╭")]
    positional = [] if command == "train" else ["positional arguments"]
    groups = [f"{name.replace('-', ' ')} options" for name in GROUPS[command].split()]
    assert titles == [*positional, "options", *groups]
    names = [line.split()[1] for line in printed.splitlines() if line.startswith("│ --")]
    module = importlib.import_module("fastprep.training.config" if command == "train" else f"fastprep.{command}")
    n_positional = {"train": 0, "build": 2, "convert": 3}.get(command, 1)
    assert len(names) == len(set(names)) == len(dataclasses.fields(module.Config)) - n_positional


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_offered_that_only_python_says(help_of, command):
    printed = help_of(command, 120)
    assert "None" not in printed
    assert "(default: False)" not in printed
