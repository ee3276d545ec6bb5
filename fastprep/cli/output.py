"""The one way to the terminal: everything that a command writes passes here, so that text out of files can do no harm there.

Lines of fastprep are written by `write_line` and `write_message`. While a command runs, the `Screen` of `safe_output` is in the
place of both standard streams, for what other libraries write: warnings, log messages, the texts of the command line.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from fastprep.cli.columns import lines_of
from fastprep.system import printable

_BACK_TO_THE_START = re.compile(r"[\b\r]*\r")  # of a line, which libraries write again to show their progress
_COLOURS_AND_BREAKS = re.compile(r"(\x1b\[[0-9;]*m|\n)")  # what libraries write on purpose


class Screen:
    r"""Standard output or error of a command.

    Control characters become escapes such as ``\x1b``, but for colours and line breaks. A text that begins by going back to the
    start of the line, as progress bars do, begins a new line. Characters that the stream's encoding lacks become escapes, too. If
    nobody reads the stream any more, or its disk is full, it takes everything and drops it, and the command goes on.

    Parameters
    ----------
    stream : text stream

    Attributes
    ----------
    stream : text stream
        The stream itself, for terminals whose lines are replaced.
    problem : str or None
        Why the stream could not be written, unless its reader has closed it, as ``| head`` does.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.problem: str | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write a text, and return the number of its characters."""
        start = _BACK_TO_THE_START.match(text)
        lines = text if start is None else f"\n{text[start.end() :]}"
        parts = _COLOURS_AND_BREAKS.split(lines)  # the separators are at the odd places
        shown = "".join(part if k % 2 else printable(part) for k, part in enumerate(parts))
        with self.surviving():
            try:
                self.stream.write(shown)
            except UnicodeEncodeError:
                encoding = self.stream.encoding or "ascii"
                self.stream.write(shown.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Pass on what is written."""
        with self.surviving():
            self.stream.flush()

    @contextlib.contextmanager
    def surviving(self) -> Iterator[None]:
        """Let the stream drop everything from now on if it can't be written."""
        try:
            yield
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                self.problem = self.problem or error.strerror or str(error)
            with contextlib.suppress(OSError, ValueError):  # a stream in memory has no descriptor
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self.stream.fileno())  # else Python complains at its exit, where it flushes the stream again
                os.close(nowhere)


@contextlib.contextmanager
def safe_output() -> Iterator[None]:
    """Let a `Screen` stand for standard output and standard error, unless there is one already."""
    before, screens = (sys.stdout, sys.stderr), (screen(sys.stdout), screen(sys.stderr))
    sys.stdout, sys.stderr = screens
    try:
        yield
    finally:
        for shown in screens:
            if shown is not None:
                shown.flush()
        sys.stdout, sys.stderr = before


def status_of_output(name: str, status: int) -> int:
    """Return the status of a command that has ended well, inside `safe_output`; say it, and return 2, if its output is not whole.

    Parameters
    ----------
    name : str
        Beginning of the line on standard error.
    status : int
        Status of the command by itself.
    """
    shown = sys.stdout
    if not isinstance(shown, Screen):
        return status
    shown.flush()  # else Python does so at its exit, where it complains if that can't be done
    if shown.problem is None:
        return status
    write_message(f"{name}: standard output can't be written, and is not whole: {shown.problem}; all else was done")
    return status or 2


def screen(stream: Any) -> Screen | None:
    """Return the screen of a stream: itself if it is one, None if there is no stream, as in a process without a terminal."""
    return stream if stream is None or isinstance(stream, Screen) else Screen(stream)


def write_line(*texts: str, flush: bool = False) -> None:
    """Write lines on standard output.

    Parameters
    ----------
    *texts : str
        One line each, whatever is in it: a line break becomes an escape, because names out of files must not begin lines.
    flush : bool
        Whether to pass them on at once.
    """
    _write(screen(sys.stdout), texts, flush)


def write_prose(*texts: str, flush: bool = False) -> None:
    """Write lines of words on standard output, as `write_line` does, which on a terminal break between words.

    Commands are for `write_line`: one that is broken can't be copied.
    """
    target = screen(sys.stdout)
    columns = 0
    if target is not None and target.isatty():
        with contextlib.suppress(OSError, ValueError):  # a terminal without a size, or a stream without a descriptor
            columns = os.get_terminal_size(target.fileno()).columns
    if not columns:
        write_line(*texts, flush=flush)
        return
    write_line(*(line for text in texts for line in lines_of(printable(text), columns - 1)), flush=flush)


def write_message(*texts: str) -> None:
    """Write lines for people on standard error; see `write_line`."""
    _write(screen(sys.stderr), texts, False)


def _write(target: Screen | None, texts: Iterable[str], flush: bool) -> None:
    if target is None:
        return
    for text in texts:
        target.write(f"{printable(text)}\n")
    if flush:
        target.flush()
