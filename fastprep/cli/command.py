"""The runner of the commands: it turns how a command ends into an exit status and at most one line on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeVar

from fastprep._log import HANDLER
from fastprep.cli.groups import read_words
from fastprep.cli.option_words import in_options
from fastprep.cli.output import safe_output, status_of_output, write_message
from fastprep.errors import DataError, InputError, MissingLibraryError, RankError, one_line
from fastprep.system import as_by_ctrl_c, interrupts_undisguised, status_of

_Config = TypeVar("_Config")


def no_hint(error: Exception) -> str:
    """Add nothing to the message of an error."""
    return ""


def overwrite_hint(error: Exception) -> str:
    """Name the option that replaces a file, if a file is in the way."""
    return " (--overwrite)" if isinstance(error, FileExistsError) else ""


@dataclass
class Command:
    """One command, from its start to its exit status.

    Parameters
    ----------
    name : str
        Beginning of each line on standard error, such as ``fastprep.show``. A rank of several adds its number.
    errors : tuple of exception classes
        Errors that are reported by their message alone, as every OSError is, which names the file and what the system said, and
        every MissingLibraryError. All others are faults of the program, and keep their traceback.
    hint : callable
        Function that takes such an error and returns the end of its line: the way out.
    renamed : mapping of str to str
        Options that have other names than the arguments of Python, such as ``{"crop": "--size"}``, for the messages of errors.
    lacks : collection of str
        Python's arguments for which it has no option, so that messages do not suggest one.
    interrupted : callable
        Function that returns the last line of an interrupted command: what it leaves behind. A note that the KeyboardInterrupt
        carries takes precedence.
    """

    name: str
    errors: tuple[type[Exception], ...] = (InputError, DataError, OSError)
    hint: Callable[[Exception], str] = no_hint
    renamed: Mapping[str, str] = field(default_factory=dict)
    lacks: Collection[str] = ()
    interrupted: Callable[[], str] = lambda: "interrupted"

    def run(self, function: Callable[[], int | None]) -> int:
        """Call a function until it ends, fails or is interrupted by Ctrl-C, SIGTERM or SIGHUP.

        Parameters
        ----------
        function : callable
            Returns an exit status, or None for 0.

        Returns
        -------
        int
            Exit status: that of the function; 2 for one of `errors`, or if standard output can't be written; 1 if another rank
            ended; 128 plus the number of the signal after an interruption: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP.
        """
        reported: tuple[type[Exception], ...] = (*self.errors, OSError, MissingLibraryError)
        HANDLER.begin_anew()
        with safe_output(), as_by_ctrl_c():
            try:
                with interrupts_undisguised():
                    return status_of_output(self.name, function() or 0)
            except KeyboardInterrupt as interrupt:
                notes = getattr(interrupt, "__notes__", None) or [f"{self.name}: {self.interrupted()}"]
                write_message("", notes[0])
                return status_of(interrupt)
            except reported as error:
                self.say(in_options(one_line(error, self.lacks), self.renamed) + self.hint(error))
                return 1 if isinstance(error, RankError) else 2
            except Exception:
                if sys.excepthook is sys.__excepthook__:
                    sys.excepthook = _show_traceback
                raise

    def say(self, message: str) -> None:
        """Print a line for people on standard error."""
        write_message(f"{self.name}: {message}")


def _show_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a traceback, whose last line may have a name out of a file."""
    with safe_output():
        sys.__excepthook__(kind, error, trace)


def parse_command_line(config: type[_Config], words: Sequence[str] | None, name: str) -> _Config:
    """Read a command line into a dataclass of options.

    Parameters
    ----------
    config : type
        A dataclass; see `fastprep.cli.help.flowing` for its texts.
    words : sequence of str or None
        Arguments of the command; None for those of the process.
    name : str
        Name of the command. The usage line says ``python -m fastprep.NAME`` however the command was started, because this form
        also works where the console script is not on the PATH.

    Returns
    -------
    config
        An instance. This ends the process for --help, and with status 2 for wrong words, after a line that says what is wrong.
    """
    words = sys.argv[1:] if words is None else words
    with safe_output():
        try:
            return read_words(config, words, f"python -m fastprep.{name}")
        except InputError as error:
            write_message(f"fastprep.{name}: {one_line(error)}")
            raise SystemExit(2) from None
        except SystemExit as end:
            end.code = status_of_output(f"fastprep.{name}", int(end.code or 0))
            raise
