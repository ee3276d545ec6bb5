"""How far a command is, on the terminal."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator

Progress = Callable[[str, int, int], None]


@contextlib.contextmanager
def shown_progress() -> Iterator[Progress]:
    """Show on standard error how far it is, if that is a terminal.

    Yields
    ------
    callable
        To be called with the name of a stage, the number of images done, and that of all.
    """
    if not sys.stderr.isatty():
        yield lambda stage, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    bars = Progress(*columns, TextColumn("left:"), TimeRemainingColumn(), console=Console(stderr=True))
    tasks = {}

    def show(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=total, rate="")
        bars.update(tasks[stage], completed=done)
        speed = next(task.speed for task in bars.tasks if task.id == tasks[stage])
        bars.update(tasks[stage], rate=f"{speed:,.0f} images/s" if speed else "")

    with bars:
        yield show


_EVERY_S = 0.5


class StatusLine:
    """A line on a terminal that is written again and again; nothing where standard output is none."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._last = 0.0
        self._begun = False

    @property
    def due(self) -> bool:
        """Whether it is there, and old."""
        return self._live and time.monotonic() - self._last >= _EVERY_S

    def show(self, text: str) -> None:
        """Write it anew."""
        self._last = time.monotonic()
        text = text[: shutil.get_terminal_size().columns - 1]  # one that wraps is not written over
        print(f"\r{text}\x1b[K", end="", flush=True)
        self._begun = True

    def keep(self, text: str) -> None:
        """Write a line that stays, terminal or not."""
        print(f"\r{text}\x1b[K" if self._live else text, flush=True)
        self._begun = False

    def leave(self) -> None:
        """Let what was shown stay, and what comes next have a line of its own."""
        if self._begun:
            print(flush=True)
        self._begun = False
