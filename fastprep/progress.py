"""How far a command is, on the terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

Progress = Callable[[str, int, int], None]


@contextlib.contextmanager
def shown_progress() -> Iterator[Progress]:
    """Show on standard error how far it is, if that is a terminal.

    Yields
    ------
    callable
        To be called with the name of a stage, the number of pictures done, and that of all.
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
        bars.update(tasks[stage], rate=f"{speed:,.0f} pictures/s" if speed else "")

    with bars:
        yield show
