"""Progress on a terminal: one line that is replaced, lines that stay, and nothing in a file."""

import io
import re

import pytest
from fake_clock import FakeClock

from fastprep.cli import progress
from fastprep.cli.progress import StatusLine, clock_time, shown_progress, shown_wait


class Terminal(io.StringIO):
    def isatty(self):
        return True

    @property
    def screen(self):
        """The lines that a person sees, by the three controls that a status line needs."""
        lines, column = [""], 0
        text = self.getvalue().replace("\x1b[0K", "\x00").replace("\x1b[K", "\x00")
        assert "\x1b" not in text
        for character in text:
            if character == "\n":
                lines.append("")
                column = 0
            elif character == "\r":
                column = 0
            elif character == "\x00":
                lines[-1] = lines[-1][:column]
            else:
                lines[-1] = lines[-1][:column] + character + lines[-1][column + 1 :]
                column += 1
        return lines


@pytest.fixture
def open_terminal(monkeypatch):
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)

    def open_terminal(kind="xterm", stream="stdout", columns=30):
        terminal = Terminal()
        monkeypatch.setattr(f"sys.{stream}", terminal)  # in the test, because pytest sets it anew after the fixtures
        monkeypatch.setenv("TERM", kind)
        monkeypatch.setenv("COLUMNS", str(columns))
        return terminal

    return open_terminal


def as_a_notebook_shows(text):
    """Return the lines that a notebook shows: it goes back to the start of a line and writes over it, and knows nothing else."""
    assert "\x1b[1A" not in text  # the cursor goes up
    shown = []
    for line in re.sub(r"\x1b\[[^@-~]*[@-~]", "", text.replace("\r\n", "\n")).split("\n"):
        over = ""
        for part in line.split("\r"):
            over = part + over[len(part) :]
        shown.append(over.rstrip())
    return shown


@pytest.fixture
def clock(monkeypatch):
    clock = FakeClock(100.0)
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_a_line_is_replaced_in_place(open_terminal):
    terminal, line = open_terminal(), StatusLine()
    line.show("step 1/2, a long text")
    line.show("step 2/2")
    assert terminal.screen == ["step 2/2"]


def test_a_line_is_due_every_half_second(open_terminal, clock):
    open_terminal()
    line = StatusLine()
    assert line.due
    line.show("step 1")
    for later, due in ((0.0, False), (0.49, False), (0.5, True), (9.0, True)):
        clock.now = 100.0 + later
        assert line.due is due


def test_kept_lines_stay(open_terminal):
    terminal, line = open_terminal(), StatusLine()
    line.show("step 1/2, a long text")
    line.keep("epoch 1")
    line.show("step 1/2")
    line.keep("epoch 2")
    assert terminal.screen == ["epoch 1", "epoch 2", ""]


def test_an_error_gets_a_line_of_its_own(open_terminal):
    terminal, line = open_terminal(), StatusLine()
    line.show("step 1/2")
    line.leave()
    print("fastprep.train: the error")
    assert terminal.screen == ["step 1/2", "fastprep.train: the error", ""]


def test_nothing_is_left_where_nothing_was_shown(open_terminal):
    terminal, line = open_terminal(), StatusLine()
    line.leave()
    line.keep("epoch 1")
    line.leave()
    assert terminal.screen == ["epoch 1", ""]


def test_a_long_line_does_not_wrap_and_one_that_stays_is_whole(open_terminal):
    terminal, line = open_terminal(), StatusLine()
    line.show("x" * 100)
    assert terminal.screen == ["x" * 29]
    line.keep("y" * 100)
    assert terminal.screen == ["y" * 100, ""]


def test_what_does_not_fit_the_terminal_is_left_out_from_the_end(open_terminal):
    terminal, line = open_terminal(columns=80), StatusLine()
    line.show("epoch 2/9", "step 3/4", "", "0:07 left", "loss 0.5", "x" * 60, "1", share=0.5)
    assert terminal.screen == ["epoch 2/9 " + "━" * 4 + "─" * 5 + "  step 3/4  0:07 left  loss 0.5"]


def test_a_line_that_stays_has_as_many_parts_as_fit_a_terminal(open_terminal):
    terminal, line = open_terminal(columns=30), StatusLine()
    line.keep("epoch 2/9", "loss 0.5", "x" * 9, "1")
    assert terminal.screen == ["epoch 2/9  loss 0.5", ""]


def test_a_line_that_stays_has_all_its_parts_in_a_file(capsys):
    StatusLine().keep("epoch 2/9", "loss 0.5", "x" * 100)
    assert capsys.readouterr().out == f"epoch 2/9  loss 0.5  {'x' * 100}\n"


def test_a_wait_is_shown_with_its_time_and_leaves_nothing(open_terminal):
    terminal = open_terminal(columns=60)
    with shown_wait("starting [Keras]"):
        pass
    printed = terminal.getvalue()
    assert "starting [Keras]" in printed
    assert "0:00:00" in printed
    assert printed.endswith("\x1b[2K")  # the line is erased


def test_a_wait_is_shown_in_no_file_and_to_nobody_who_wants_quiet(open_terminal, capsys):
    with shown_wait("starting Keras"):
        pass
    assert capsys.readouterr() == ("", "")
    terminal = open_terminal()
    with shown_wait("starting Keras", quiet=True):
        pass
    assert terminal.getvalue() == ""


def test_a_bar_where_the_encoding_has_no_lines_to_draw(monkeypatch):
    assert [progress._bar(share, 4, "ascii") for share in (0, 0.3, 1, 7)] == ["----", "=---", "====", "===="]


def test_a_quiet_line_is_never_due_and_those_that_stay_stay(open_terminal):
    terminal, line = open_terminal(), StatusLine(quiet=True)
    assert not line.due
    line.keep("epoch 1")
    assert terminal.getvalue() == "epoch 1\n"


def test_quiet_bars_are_for_nobody(open_terminal):
    terminal = open_terminal(stream="stderr", columns=100)
    with shown_progress(quiet=True) as show:
        show("decoding", 1, 2)
    assert terminal.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (7.4, "0:07"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00"), (93784, "26:03:04")]
)
def test_durations_in_words(seconds, text):
    assert clock_time(seconds) == text


@pytest.mark.parametrize("text", ["[bold]step[/bold] 1", "[red", ":smile: 3/4", "'a' 0.5 True", r"\[x]"])
def test_text_is_shown_as_it_is(open_terminal, text):
    terminal, line = open_terminal(), StatusLine()
    line.show(text)
    assert terminal.screen == [text]
    line.keep(text)
    assert terminal.screen == [text, ""]


def test_a_file_gets_only_the_lines_that_stay(capsys):
    line = StatusLine()
    assert not line.due
    line.keep("epoch 1")
    line.leave()
    assert capsys.readouterr() == ("epoch 1\n", "")


def test_a_terminal_that_replaces_nothing_is_like_a_file(open_terminal):
    terminal, line = open_terminal("dumb"), StatusLine()
    assert not line.due
    line.keep("epoch 1")
    assert terminal.getvalue() == "epoch 1\n"


def test_bars_are_for_terminals(capsys):
    with shown_progress() as show:
        show("decoding", 1, 2)
    assert capsys.readouterr() == ("", "")


def test_each_stage_has_a_bar(open_terminal):
    terminal = open_terminal(stream="stderr", columns=100)
    with shown_progress() as show:
        for done in range(3):
            show("decoding", done, 2)
        show("writing", 7, 7)
    printed = terminal.getvalue()
    assert "decoding" in printed
    assert "2/2" in printed
    assert "writing" in printed
    assert "7/7" in printed


def test_a_line_in_a_notebook_leaves_nothing_of_a_longer_one(open_terminal, monkeypatch):
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    terminal, line = open_terminal(), StatusLine()
    line.show("step 1/2, a long text")
    line.show("step 2/2")
    assert as_a_notebook_shows(terminal.getvalue()) == ["step 2/2"]
    line.show("step 2/2, a long text")
    line.keep("epoch 1")
    line.show("猫")
    line.show("a")
    assert as_a_notebook_shows(terminal.getvalue()) == ["epoch 1", "a"]


def test_bars_in_a_notebook_come_one_below_the_other_and_stay(open_terminal, monkeypatch):
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    terminal = open_terminal(stream="stderr", columns=100)
    with shown_progress() as show:
        for stage in ("decoding", "writing"):
            for done in range(3):
                show(stage, done, 2)
    lines = as_a_notebook_shows(terminal.getvalue())
    assert [line.split()[0] for line in lines if line] == ["decoding", "writing"]
    assert all("2/2" in line for line in lines if line)


def test_a_wait_is_not_shown_in_a_notebook_which_could_not_remove_it(open_terminal, monkeypatch):
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    terminal = open_terminal()
    with shown_wait("starting Keras"):
        pass
    assert terminal.getvalue() == ""
