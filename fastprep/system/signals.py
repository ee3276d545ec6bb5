"""Signals that end a process and leave nothing half-written: SIGTERM and SIGHUP act like Ctrl-C, even during a training step."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from fastprep.system.ending import end_at_once, say

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SECOND_TRY_S = 1.0
_AGAIN_S = 0.005


@contextlib.contextmanager
def as_by_ctrl_c() -> Iterator[None]:
    """Let SIGTERM (of a scheduler, say) and SIGHUP (of a terminal that is closed) raise KeyboardInterrupt, too.

    Otherwise they end the process at once, and half-written files stay. A signal that is ignored, as SIGHUP is under nohup, stays
    ignored. `status_of` gives the exit status for the exception.

    Python loses a KeyboardInterrupt that is raised in a finalizer or in the callback of a weak reference: it prints that it
    ignores it, and goes on. Here it is raised again, until it is raised elsewhere.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    is_raised = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal is_raised
        if not is_raised:  # a second signal would interrupt the cleaning up
            is_raised = True
            raise KeyboardInterrupt(number)

    def again(number: int) -> None:
        nonlocal is_raised
        is_raised = False
        signal.pthread_kill(threading.main_thread().ident or 0, number)

    before = {number: signal.getsignal(number) for number in _STOPS[1:]}
    before = {number: handler for number, handler in before.items() if handler is signal.SIG_DFL}
    for number in before:
        signal.signal(number, stop)
    try:
        with _raised_again(again):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _raised_again(again: Callable[[int], None]) -> Iterator[None]:
    """Call a function, on another thread and a moment later, with the signal of each KeyboardInterrupt that Python ignores."""
    before, latest, sent = sys.unraisablehook, 0, 0
    timers: list[threading.Timer] = []

    def send(number: int, own: int) -> None:
        nonlocal sent
        if own == latest:  # not where its start was interrupted, and another one came in its place
            sent = own
            again(number)

    def have_sent(number: int) -> None:
        nonlocal latest
        if latest != sent and timers[-1].is_alive():
            return
        latest += 1
        timers.append(timer := threading.Timer(_AGAIN_S, send, (number, latest)))  # here it would be ignored as well
        timer.daemon = True
        timer.start()

    def hook(ignored: Any) -> None:
        interrupt = ignored.exc_value
        if not isinstance(interrupt, KeyboardInterrupt):
            before(ignored)
            return
        while True:
            try:
                have_sent(status_of(interrupt) - 128)
                return
            except KeyboardInterrupt as another:  # from here Python would ignore it, too
                interrupt = another

    sys.unraisablehook = hook
    try:
        yield
    finally:
        if sys.unraisablehook is hook:
            sys.unraisablehook = before
        for timer in timers:
            timer.cancel()
            if timer.is_alive():
                timer.join()


def status_of(interrupt: KeyboardInterrupt) -> int:
    """Return the exit status of a process that was interrupted: 128 plus the number of the signal, as in shells."""
    return 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)


@contextlib.contextmanager
def interrupts_undisguised() -> Iterator[None]:
    """Raise the KeyboardInterrupt for which an error of C++ stands.

    What binds C++ to Python by pybind11, as TensorFlow does, may be about to report an error of its own when Ctrl-C is pressed,
    for example while Keras traces a step. It then raises a RuntimeError that names both.
    """
    try:
        yield
    except RuntimeError as error:
        if "error_already_set" in str(error) and "REPLACED BY KeyboardInterrupt" in str(error):
            raise KeyboardInterrupt from error
        raise


class Notice:
    """Record of a request to end that leaves time to save: SIGTERM from a scheduler, or SIGHUP from a terminal that is closed.

    Attributes
    ----------
    number : int or None
        Number of the signal; None if there was no such signal.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._since = 0.0

    def take(self, number: int) -> bool:
        """Record a signal; return whether it is a second attempt, which can't wait."""
        if self.number is None:
            self.number, self._since = number, time.monotonic()
            return False
        # `timeout` and some schedulers signal the process and then its whole group; systemd may send SIGHUP after SIGTERM
        return time.monotonic() - self._since >= _SECOND_TRY_S

    def leave(self, words: str) -> None:
        """Raise the KeyboardInterrupt that ends the process, with a last message, if there was such a signal."""
        if self.number is not None:
            interrupt = KeyboardInterrupt(self.number)
            interrupt.add_note(words)
            raise interrupt


@contextlib.contextmanager
def stop_soon(folder: Path, message: str, grace_s: float = 1.0, save_s: float = 25.0) -> Iterator[Notice]:
    """End the process soon after Ctrl-C, or a signal that means the same (`as_by_ctrl_c`), even while TensorFlow computes.

    Python raises KeyboardInterrupt in the main thread only after it has returned from a training step, which may take many
    seconds. The C-level signal handler, though, writes to a socket at once (`signal.set_wakeup_fd`). A thread reads from it,
    waits a moment for the main thread, and then ends the process.

    At first, SIGTERM and SIGHUP raise nothing here: the main thread finds them in the notice, and has time to save. A second one
    acts like Ctrl-C.

    Parameters
    ----------
    folder : Path
        The half-written files in this folder (see `fastprep.system.half_written`) are removed; all others are complete.
    message : str
        Last message on standard error.
    grace_s : float
        Seconds that the main thread may take to end by itself.
    save_s : float
        Seconds that it may take after SIGTERM or SIGHUP.

    Yields
    ------
    Notice
    """
    notice = Notice()
    if threading.current_thread() is not threading.main_thread():
        yield notice
        return
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    ended = threading.Event()
    # only signals that `as_by_ctrl_c` handles: one that is ignored, as SIGHUP is under nohup, stays ignored
    handlers: dict[int, Any] = {number: handler for number in _STOPS[1:] if callable(handler := signal.getsignal(number))}

    def ask(number: int, frame: FrameType | None) -> None:
        if notice.take(number):
            handlers[number](number, frame)

    def end(number: int, words: str) -> None:
        end_at_once(folder, words, status_of(KeyboardInterrupt(number)))

    def watch() -> None:
        seen, deadline = Notice(), float("inf")  # a notice of its own, because the main thread's is late
        while True:
            if seen.number is not None:
                ours.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                data = ours.recv(16)
            except TimeoutError:
                if not ended.is_set():
                    end(seen.number or signal.SIGTERM, f"{message}; there was no time to save, {save_s:g} s")
                return
            if not data:
                return
            for number in data:
                is_first = seen.number is None
                if number in handlers and not seen.take(number):
                    if is_first:
                        deadline = time.monotonic() + save_s
                        say(f"{signal.Signals(number).name}: saving before the next step; a second one ends the run at once")
                elif number in _STOPS and not ended.wait(grace_s):
                    end(number, message)

    watcher = threading.Thread(target=watch, name="fastprep-interrupt", daemon=True)
    before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    for number in handlers:
        signal.signal(number, ask)
    watcher.start()
    try:
        yield notice
    finally:
        ended.set()
        for number, handler in handlers.items():
            if signal.getsignal(number) is ask:
                signal.signal(number, handler)
        signal.set_wakeup_fd(before)
        theirs.close()
        watcher.join()
        ours.close()
