"""The log: loggers below "fastprep", which standard error shows where a program has not set up logging itself.

Warnings are shown as Python's last resort would show them, each text once. ``FASTPREP_LOG`` in the environment asks for more, or
for less: debug, info, warning or error.
"""

from __future__ import annotations

import logging
import os
import sys
import time

VARIABLE = "FASTPREP_LOG"
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_MOST_REMEMBERED = 10_000  # texts, because those of a long process may be any number


class StandardError(logging.Handler):
    """Handler that writes to standard error what no other handler gets.

    Warnings and errors come once: in a program, in a command, or in a cell of a notebook, because a cell that is run again shows
    its own output alone.

    Parameters
    ----------
    is_detailed : bool
        Whether lines begin with time, level and logger.
    """

    def __init__(self, is_detailed: bool = False) -> None:
        super().__init__()
        self.is_detailed = is_detailed
        self._said: set[str] = set()
        self._cell: int | None = None

    def begin_anew(self) -> None:
        """Forget what was said."""
        self._said.clear()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, unless another handler gets it, or its text was written before."""
        try:
            if not _others(record.name, self) and self._is_new(record):
                from fastprep.system import printable

                text = printable(record.getMessage())
                if self.is_detailed:
                    clock = time.strftime("%H:%M:%S", time.localtime(record.created))
                    text = f"{clock} {record.levelname.lower()} {record.name}: {text}"
                if sys.stderr is not None:
                    sys.stderr.write(f"{text}\n")
                    sys.stderr.flush()
        except Exception:
            self.handleError(record)

    def _is_new(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        if (cell := _cell()) != self._cell or len(self._said) >= _MOST_REMEMBERED:
            self._cell = cell
            self.begin_anew()
        text = record.getMessage()
        is_new = text not in self._said
        self._said.add(text)
        return is_new


HANDLER = StandardError()
"""The handler of the logger "fastprep"."""


def set_up() -> None:
    """Add the handler to the logger "fastprep", and give that the level which the environment asks for."""
    logger = logging.getLogger("fastprep")
    if HANDLER not in logger.handlers:
        logger.addHandler(HANDLER)
    asked = os.environ.get(VARIABLE, "").strip().lower()
    if not asked:
        return
    if asked not in LEVELS:
        logger.warning("%s must be %s, got %r; it has no effect", VARIABLE, ", ".join(LEVELS), os.environ[VARIABLE])
        return
    HANDLER.is_detailed = True
    logger.setLevel(LEVELS[asked])


def _others(name: str, mine: logging.Handler) -> bool:
    """Tell whether another handler gets the records of a logger: then the program has decided where they go."""
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        if any(handler is not mine and not isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


def _cell() -> int | None:
    """Return the number of the cell that a notebook runs; None in other programs."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return None if shell is None else shell.execution_count
