"""The limit for waiting for other ranks: a thread that sees how long this one is in a collective.

TensorFlow has a limit of its own, `timeout_seconds` of each collective. It is not used, because the process may crash when it is
over: what TensorFlow still expects from the other rank then refers to memory that the collective has given back.
"""

from __future__ import annotations

import contextlib
import faulthandler
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from fastprep.system import end_at_once

_TICKS = 20  # looks at the least, until the time is over
_LONGEST_TICK_S = 1.0
_END_S = 10.0  # for the end, which may wait for a disk or a terminal


class Watchdog:
    """Calls a function if this process is in one and the same collective for too long.

    Parameters
    ----------
    timeout_s : float
        Seconds that a collective may take. They are counted in looks, so the time in which the process itself was stopped, or
        its machine asleep, is left out.
    expired : callable
        Called once, on the thread that watches. It is to end the process: TensorFlow can't be interrupted.
    """

    def __init__(self, timeout_s: float, expired: Callable[[], object]) -> None:
        self._tick_s = min(_LONGEST_TICK_S, timeout_s / _TICKS)
        self._ticks = max(_TICKS, round(timeout_s / self._tick_s))
        self._expired = expired

    @contextlib.contextmanager
    def watching(self, count: Callable[[], int] = lambda: 1) -> Iterator[None]:
        """Watch while the block runs; the thread ends with it.

        A child process that is forked in the block has no such thread, and can leave the block.

        Parameters
        ----------
        count : callable
            Returns the number of times that a collective was entered or left until now, which is odd inside of one. By default
            the block is one collective.
        """
        running = threading.Lock()  # unlike an Event it has nothing inside that a fork could leave locked
        running.acquire()
        thread = threading.Thread(target=self._watch, args=(running, count), name="fastprep-rank-timeout", daemon=True)
        thread.start()
        try:
            yield
        finally:
            running.release()
            thread.join()

    def _watch(self, running: threading.Lock, count: Callable[[], int]) -> None:
        seen, ticks = count(), 0
        while not running.acquire(timeout=self._tick_s):
            now = count()
            ticks = ticks + 1 if now % 2 and now == seen else 0
            seen = now
            if ticks == self._ticks:
                self._expired()
                return


def end_waiting(folder: Path, words: str) -> NoReturn:
    """End a process whose main thread waits in a collective, with status 1, as for every error about another rank.

    The main thread is not writing to files meanwhile. It may get on at the last moment and begin to, so half-written files are
    removed.

    Parameters
    ----------
    folder : Path
        Run folder; `os.devnull` if this rank has none.
    words : str
        Last message on standard error.
    """
    with contextlib.suppress(RuntimeError, ValueError, OSError, AttributeError):  # there is no standard error
        # needs no lock of Python, and ends the process, with status 1, too, if flushing or removing takes for ever
        faulthandler.dump_traceback_later(_END_S, exit=True)
    with contextlib.suppress(Exception):
        sys.stdout.flush()  # may hold lines, since it need not be a terminal
    end_at_once(folder, words, 1)
