"""End of a process whose main thread can't be reached, because it is inside a call of another library."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import NoReturn

from fastprep.system.atomic import half_written
from fastprep.system.printable import printable


def end_at_once(folder: Path, words: str, status: int) -> NoReturn:
    """Remove half-written files, say why, and end the process, on whatever thread this is called.

    No exception unwinds the main thread, and nothing that was registered for the end of the interpreter runs. The kernel releases
    locks of files.

    Parameters
    ----------
    folder : Path
        The half-written files in this folder (see `fastprep.system.half_written`) are removed; all others are complete.
    words : str
        Last message on standard error.
    status : int
        Exit status.
    """
    for part in half_written(folder):
        with contextlib.suppress(OSError):
            part.unlink()
    say(words)
    os._exit(status)


def say(words: str) -> None:
    """Write a line on standard error past Python's streams, whose locks the main thread may hold.

    It begins with a line break, because a line of progress may be on the terminal.
    """
    with contextlib.suppress(OSError):  # the terminal may be gone
        os.write(2, f"\n{printable(words)}\n".encode())
