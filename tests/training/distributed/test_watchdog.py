"""The thread that ends a rank which waits for another one for too long."""

import contextlib
import os
import signal
import sys
import threading

import pytest

from fastprep.training.distributed import watchdog
from fastprep.training.distributed.watchdog import Watchdog

LONG_S = 60  # what a test waits at the longest for what comes at once


class Looks:
    """A count that the test moves on, and an event after some further looks at it."""

    def __init__(self, counts):
        self._counts, self.over = iter(counts), threading.Event()
        self._last = 0

    def __call__(self):
        try:
            self._last = next(self._counts)
        except StopIteration:
            self.over.set()
        return self._last


def watched(looks):
    """Return the threads on which a watchdog that looks every millisecond says that time is over, until the counts end."""
    calls = []

    def end():
        calls.append(threading.current_thread().name)
        looks.over.set()

    with Watchdog(0.02, end).watching(looks):
        assert looks.over.wait(LONG_S)
    return calls


def test_a_collective_that_takes_too_long_ends_the_process_once():
    over, calls = threading.Event(), []
    with Watchdog(0.02, lambda: (calls.append(threading.current_thread().name), over.set())).watching():
        assert over.wait(LONG_S)
    assert calls == ["fastprep-rank-timeout"]
    assert watched(Looks([0, *[7] * 21, 8])) == calls  # seen first, and then 20 times


def test_many_short_collectives_do_not_add_up():
    assert watched(Looks([7] * 20 + [8] + [9] * 20 + [11] * 20 + [12] * 100 + [14])) == []


def test_time_between_collectives_does_not_count():
    assert watched(Looks([4] * 100)) == []


def test_the_thread_ends_with_the_block_also_by_an_error():
    before = threading.active_count()
    with contextlib.suppress(ZeroDivisionError), Watchdog(LONG_S, pytest.fail).watching():
        during = threading.active_count()
        raise ZeroDivisionError
    assert (during, threading.active_count()) == (before + 1, before)


def in_a_child(action):
    """Return the exit status of a forked process that calls `action` and should not come back from it; no pytest runs there."""
    if not (child := os.fork()):
        with contextlib.suppress(BaseException):
            signal.alarm(LONG_S)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            os._exit(action())
        os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_is_not_watched_and_can_leave_the_block():
    with contextlib.ExitStack() as stack:
        stack.enter_context(Watchdog(LONG_S, pytest.fail).watching())
        is_watched = any(thread.name == "fastprep-rank-timeout" for thread in threading.enumerate())

        def leave():
            n_threads = threading.active_count()
            stack.close()
            return n_threads

        assert (is_watched, in_a_child(leave)) == (True, 1)


def test_the_end_leaves_no_half_written_file_and_no_line_unprinted(tmp_path, monkeypatch, capfd):
    statuses = []
    (tmp_path / ".last.fastprep-0123456789abcdef.part.keras").write_text("half")
    (tmp_path / "last.keras").write_text("whole")
    monkeypatch.setattr(os, "_exit", statuses.append)
    with open(1, "w", closefd=False) as buffered:
        monkeypatch.setattr(sys, "stdout", buffered)
        buffered.write("a line")
        watchdog.end_waiting(tmp_path, "rank 0: last words\x1b")
        watchdog.faulthandler.cancel_dump_traceback_later()
        assert capfd.readouterr() == ("a line", "\nrank 0: last words\\x1b\n")
    assert statuses == [1]
    assert os.listdir(tmp_path) == ["last.keras"]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("stream", [None, "blocked"])
def test_the_process_ends_even_without_streams_or_if_they_block(stream, tmp_path, monkeypatch):
    blocked = type("Blocked", (), {"flush": lambda self: threading.Event().wait()})()
    monkeypatch.setattr(watchdog, "_END_S", 0.1)

    def end():
        sys.stdout, sys.stderr = (None, None) if stream is None else (blocked, sys.__stderr__)
        watchdog.end_waiting(tmp_path, "last words")

    assert in_a_child(end) == 1
