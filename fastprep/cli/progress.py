"""Progress of the commands on the terminal: bars for stages, and a status line."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fastprep.cli.output import Screen, screen, write_line
from fastprep.system import Progress, printable

if TYPE_CHECKING:
    from rich.console import Console


@contextlib.contextmanager
def shown_progress(quiet: bool = False) -> Iterator[Progress]:
    """Show a bar for each stage on standard error, if that is a terminal.

    Parameters
    ----------
    quiet : bool
        Whether to show none there either.

    Yields
    ------
    Progress
        Takes the name of a stage, the number of images that are done, and the number of all images.
    """
    stream = screen(sys.stderr)
    if quiet or stream is None or not stream.isatty():
        yield lambda stage, done, total: None
        return
    from rich import progress as rich_progress
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    is_notebook = _in_notebook()
    console = Console(file=stream.stream, color_system=None if is_notebook else "auto")
    left = TextColumn("left:"), TimeRemainingColumn()
    bars = rich_progress.Progress(*columns, *left, console=console, expand=is_notebook)  # lines of one length: see _in_notebook
    tasks: dict[str, rich_progress.TaskID] = {}

    def show(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            if tasks and is_notebook:  # which can replace the last line only
                bars.stop()
                for task in tasks.values():
                    bars.update(task, visible=False)
                bars.start()
            tasks[stage] = bars.add_task(printable(stage), total=total, rate="")
        bars.update(tasks[stage], completed=done)
        speed = next(task.speed for task in bars.tasks if task.id == tasks[stage])
        bars.update(tasks[stage], rate=f"{speed:,.0f} images/s" if speed else "")

    with bars:
        yield show


@contextlib.contextmanager
def shown_wait(text: str, quiet: bool = False) -> Iterator[None]:
    """Show on standard output, if that is a terminal, what is being waited for and for how long; the line goes at the end.

    Notebooks could not remove it, and show nothing.

    Parameters
    ----------
    text : str
    quiet : bool
        Whether to show nothing there either.
    """
    console = None if quiet or _in_notebook() else _terminal()
    if console is None:
        yield
        return
    from rich import progress as rich_progress

    spinner = rich_progress.SpinnerColumn("dots" if console.encoding.startswith("utf") else "line")
    columns = spinner, rich_progress.TextColumn("{task.description}", markup=False), rich_progress.TimeElapsedColumn()
    # standard output and standard error stay as they are, because a `Screen` stands for each
    with rich_progress.Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as line:
        line.add_task(printable(text), total=None)
        yield


_EVERY_S = 0.5
_BAR_COLUMNS = 20
_HEAVY, _LIGHT = ("━", "─"), ("=", "-")
"""Characters of the done part of a bar and of the rest, and those for terminals that lack the first ones."""


def clock_time(seconds: float) -> str:
    """Return a duration as minutes and seconds, such as 4:07, with hours before them if there are some."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class StatusLine:
    """A line on the terminal that is replaced again and again; nothing where standard output is not a terminal.

    Parameters
    ----------
    quiet : bool
        Whether there is no such line on a terminal either.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._console = None if quiet else _terminal()
        self._shown_at = 0.0
        self._is_shown = False
        self._columns = 0  # of the line that is replaced

    @property
    def due(self) -> bool:
        """Whether there is a terminal, and its line is old enough to be replaced."""
        return self._console is not None and time.monotonic() - self._shown_at >= _EVERY_S

    def show(self, text: str, *more: str, share: float | None = None) -> None:
        """Replace the line.

        Parameters
        ----------
        text : str
            Its beginning.
        *more : str
            What follows, as far as the terminal is wide enough.
        share : float or None
            Share that is done, 0..1, which is drawn as a bar after the beginning.
        """
        self._shown_at = time.monotonic()
        self._is_shown = True
        assert self._console is not None
        if share is not None:
            columns = min(_BAR_COLUMNS, (self._console.width - 1) // 8)
            text = f"{text} {_bar(share, columns, self._console.encoding)}"
        self._write(self._fitting(text, more), end="")

    def keep(self, text: str, *more: str) -> None:
        """Write a line that stays, whether there is a terminal or not.

        Parameters
        ----------
        text : str
            Its beginning.
        *more : str
            What follows: on a terminal as far as it is wide enough, elsewhere all.
        """
        if self._console is None:
            write_line("  ".join([text, *more]), flush=True)
        else:
            self._write(self._fitting(text, more), end="\n")
        self._is_shown = False

    def leave(self) -> None:
        """Let the line stay, so that the next output begins on a line of its own."""
        if self._is_shown:
            write_line("", flush=True)
        self._is_shown = False

    def _fitting(self, text: str, more: tuple[str, ...]) -> str:
        """Return a text with as many of its further parts as the terminal is wide enough for."""
        assert self._console is not None
        for part in more:
            if len(text) + 2 + len(part) > self._console.width - 1:  # a line that wraps cannot be replaced
                break
            text = f"{text}  {part}" if part else text
        return text

    def _write(self, text: str, end: str) -> None:
        from rich.control import Control
        from rich.segment import ControlType
        from rich.text import Text

        console = self._console
        assert console is not None
        line = Text(printable(text))
        if not end:
            line.truncate(console.width - 1)
        columns = line.cell_len
        if _in_notebook() and columns < self._columns:  # what is left of the line before stays there, unless it is written over
            line.pad_right(self._columns - columns)
        self._columns = 0 if end else columns
        with Screen(sys.stdout).surviving():
            console.control(Control(ControlType.CARRIAGE_RETURN))
            console.print(line, end="", soft_wrap=True)
            console.control(Control((ControlType.ERASE_IN_LINE, 0)))
            console.file.write(end)
            console.file.flush()


def _bar(share: float, columns: int, encoding: str) -> str:
    """Return a bar of so many columns."""
    done, rest = _HEAVY if encoding.startswith("utf") else _LIGHT
    n_done = round(columns * min(1.0, max(0.0, share)))
    return done * n_done + rest * (columns - n_done)


def _in_notebook() -> bool:
    """Tell whether a kernel of Jupyter has started this command, by ``!`` in a cell.

    It gives the command a terminal, but what notebooks show of it is text in which a carriage return goes back to the start of
    the line. They have no cursor that goes up, and erase nothing.
    """
    return "JPY_PARENT_PID" in os.environ


def _terminal() -> Console | None:
    """Return the terminal of standard output, if it is one whose lines can be replaced."""
    stream = screen(sys.stdout)
    if stream is None or not stream.isatty():
        return None
    from rich.console import Console

    console = Console(file=stream.stream, force_terminal=True, highlight=False)
    return None if console.is_dumb_terminal else console
