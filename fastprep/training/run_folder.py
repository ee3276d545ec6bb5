"""The files of a run folder, each of which is whole at any moment."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fastprep.errors import ChangedError, DataError, InputError, input_errors
from fastprep.system import whole_file
from fastprep.training.config import Config, save
from fastprep.training.distributed.collectives import Ranks
from fastprep.training.state import RunState

if TYPE_CHECKING:
    pass

import csv
import shutil

from fastprep.cli.plots import draw_curves


def make_folder(config: Config, ranks: Ranks) -> Path:
    """Make the run folder and write the configuration into it, if this is the first rank; return its name.

    Raises
    ------
    InputError
        If there is something of that name.
    """
    folder = Path(config.out) if config.out else Path("runs") / time.strftime("%Y%m%d-%H%M%S")
    if not ranks.first:
        return folder
    try:
        with input_errors(PermissionError, NotADirectoryError):
            folder.mkdir(parents=True)
    except FileExistsError:
        raise InputError(f"--out: {str(folder)!r} exists already; a run never writes over another") from None
    write_config(config, folder)
    return folder


def write_config(config: Config, folder: Path) -> None:
    """Write the configuration into the run folder, without what is of one call only."""
    with whole_file(folder / "config.json") as temporary:
        save(dataclasses.replace(config, resume=None, config=None), temporary)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from resuming the same run meanwhile; a process that is killed lets go by itself."""
    with input_errors(OSError):
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"--resume: another process is training in {str(folder)!r}") from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(place)


@contextlib.contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """Turn what may be mended from outside into one line that says how to go on."""
    try:
        yield
    except (DataError, OSError, MemoryError) as error:
        hint = ""
        if isinstance(error, DataError) and error.sample is not None and not isinstance(error, ChangedError):
            hint = ", and --on-corrupt skip to leave such images out"
        problem = " ".join(str(error).split()) or "out of memory"
        raise InputError(f"{problem}; the run folder is whole: go on with --resume {folder}{hint}") from error


def publish(course: RunState, folder: Path) -> None:
    """Write what follows from last.keras at the end of an epoch; doing it twice does no harm."""
    if course.best_epoch == course.epoch:
        with whole_file(folder / "best.keras") as temporary:
            _link_or_copy(folder / "last.keras", temporary)
    write_history(course.history, folder / "history.csv")
    draw_curves(course.history, folder / "curves.png")


def write_history(history: dict[str, list[float]], path: Path) -> None:
    """Write a row for each epoch, epochs from 0 as Keras counts them."""
    names = sorted(history)
    with whole_file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", *names])
        writer.writerows([epoch, *row] for epoch, row in enumerate(zip(*(history[name] for name in names), strict=True)))


def _link_or_copy(source: Path, target: str) -> None:
    try:
        os.link(source, target)  # the next last.keras takes the name, not the place, of this one
    except OSError:
        shutil.copyfile(source, target)
