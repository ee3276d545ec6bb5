"""Run folder: config.json, last.keras, best.keras, and the files that people read, each of which is whole at any moment."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fastprep.cli.plots import draw_curves
from fastprep.command_lines import command_line, option_words, path_word
from fastprep.errors import ChangedError, DataError, InputError, input_errors
from fastprep.reports.page import FILE_NAME, is_replaceable, write_page
from fastprep.system import half_written, whole_file
from fastprep.training import checkpoint
from fastprep.training.config import Config
from fastprep.training.config_file import save
from fastprep.training.foreign_code import runs_code
from fastprep.training.state import RunState

_OLDER_TEMPORARY = re.compile(r"\.(last|best|config|history|curves)\.\d+\.part\.(keras|json|csv|png)")
"""Names of temporary files before they were random."""
_OF_AN_EPOCH = ("best.keras", "history.csv", "curves.png")  # files that are there when an epoch is over


class RunFolder:
    """Folder of one run.

    Parameters
    ----------
    path : Path or str
    model : str
        Network of the run, as ``--model`` names it.

    Attributes
    ----------
    path : Path
    last : Path
        Model of the last save, and everything that resuming needs.
    resume : str
        Command line that resumes the run, as a shell takes it.
    report : callable or None
        Returns report.html for a state and remarks, as `training.page.RunReport.page`; None on ranks that write none.
    """

    def __init__(self, path: Path | str, model: str = "alexnet") -> None:
        self.path = Path(path)
        self.last = self.path / "last.keras"
        self._named = ("--model", model) if runs_code(model) else ()  # otherwise its module is not imported
        self.resume = command_line("train", option_words({"resume": str(path)}), self._named)
        self.report: Callable[[RunState, Sequence[str]], str] | None = None

    @classmethod
    def planned(cls, config: Config) -> RunFolder:
        """Return the folder of a new run, which is not created yet."""
        return cls(config.out if config.out else Path("runs") / time.strftime("%Y%m%d-%H%M%S"))

    def __str__(self) -> str:
        return str(self.path)

    def anew(self, *words: str) -> str:
        """Return the command line that begins a new run with the configuration of this one, and with further words."""
        return command_line("train", option_words({"config": str(self.path / "config.json")}), self._named, words)

    def create(self, config: Config) -> None:
        """Create the folder, and write the configuration into it.

        Raises
        ------
        InputError
            If something of that name exists.
        """
        try:
            self.path.mkdir(parents=True)
        except FileExistsError:
            raise InputError(f"--out: {str(self)!r} exists already; a run never writes over another") from None
        except OSError as error:  # /proc has no folders of users, and says that none is found
            raise InputError(f"--out: {str(self)!r} can't be made: {error.strerror}; name a folder on a disk") from error
        with input_errors(OSError):
            self.write_config(config)

    def write_config(self, config: Config) -> None:
        """Write config.json, without the options that belong to one call only."""
        with whole_file(self.path / "config.json") as temporary:
            save(dataclasses.replace(config, resume=None, config=None), temporary)

    def read_last(self) -> tuple[dict[str, Any] | None, dict[str, NDArray]]:
        """Return state and arrays of last.keras; None and no arrays if the run ended before its first save.

        Raises
        ------
        InputError
            If last.keras is not a saved run, or is missing although an epoch was finished: beginning anew would overwrite it.
        """
        best = self.path / "best.keras"
        way_out = f"begin a new run with `{self.anew()}`"
        if best.exists():
            test = command_line("evaluate", (path_word(str(self)), "--data", "FILE"))
            way_out = (
                f"best.keras is a save of the best epoch: copy it to last.keras to go on from there, test it with `{test}`, "
                f"or begin a new run with `{self.anew(*option_words({'weights': str(best)}))}`"
            )
        if self.last.exists():
            try:
                return checkpoint.read(self.last)
            except InputError as error:
                raise InputError(f"--resume: {error}; {way_out}") from error
        if left := [name for name in _OF_AN_EPOCH if os.path.lexists(self.path / name)]:
            problem = f"--resume: {str(self)!r} has no last.keras, which a run goes on from, but {', '.join(left)}"
            raise InputError(f"{problem}, which beginning anew would overwrite; {way_out}")
        return None, {}

    def publish(self, state: RunState) -> None:
        """Write the files that follow from last.keras at the end of an epoch; repeating it does no harm."""
        if state.best_epoch == state.epoch:
            with whole_file(self.path / "best.keras") as temporary:
                _link_or_copy(self.last, temporary)
        _write_history(state.history, self.path / "history.csv")
        draw_curves(state.history, self.path / "curves.png")
        self.write_report(state)

    def write_report(self, state: RunState, remarks: Sequence[str] = ()) -> None:
        """Write report.html, once an epoch is over; a file of that name that fastprep did not write stays.

        Parameters
        ----------
        state : RunState
        remarks : sequence of str
            What there is to say of the run as a whole.
        """
        if self.report is not None and state.epoch and self.may_report:
            write_page(self.path / FILE_NAME, self.report(state, remarks))

    @property
    def may_report(self) -> bool:
        """Whether there is no report.html but one of fastprep."""
        return is_replaceable(self.path / FILE_NAME)

    @property
    def is_reported(self) -> bool:
        """Whether report.html is of the last save."""
        try:
            return (self.path / FILE_NAME).stat().st_mtime_ns >= self.last.stat().st_mtime_ns
        except OSError:
            return False

    def remove_half_written(self) -> None:
        """Remove the temporary files of a process that was killed while it wrote, and no others."""
        older = (part for part in self.path.glob(".*.part.*") if _OLDER_TEMPORARY.fullmatch(part.name) and not part.is_symlink())
        for part in (*half_written(self.path), *older):
            with contextlib.suppress(OSError):
                part.unlink()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from resuming the run meanwhile; the system releases the lock of a process that is killed."""
        with input_errors(OSError):
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"--resume: another process is training in {str(self)!r}") from None
            except OSError:
                pass  # a file system without locks
            yield
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def resumable(self) -> Iterator[None]:
        """Turn errors with a cause outside the program into one line that says how to resume."""
        try:
            yield
        except (DataError, OSError, MemoryError) as error:
            hint = ""
            if isinstance(error, DataError) and error.sample is not None and not isinstance(error, ChangedError):
                hint = ", and --on-corrupt skip to leave such images out"
            problem = " ".join(str(error).split()) or "out of memory"
            raise InputError(f"{problem}; the run folder is whole: go on with `{self.resume}`{hint}") from error


def _write_history(history: dict[str, list[float]], path: Path) -> None:
    """Write a row for each epoch; epochs count from 1, as on the terminal and in the plot."""
    names = sorted(history)
    with whole_file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", *names])
        writer.writerows([epoch, *row] for epoch, row in enumerate(zip(*(history[name] for name in names), strict=True), start=1))


def _link_or_copy(source: Path, target: str) -> None:
    try:
        os.unlink(target)
        os.link(source, target)  # the next last.keras replaces the name, not the content, of this one
    except OSError:
        shutil.copyfile(source, target)
