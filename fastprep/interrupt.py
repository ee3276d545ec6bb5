"""Ends that leave nothing half-written: SIGTERM and SIGHUP that end as Ctrl-C does, and none has to wait for TensorFlow."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def as_by_ctrl_c() -> Iterator[None]:
    """Let SIGTERM (of a scheduler, say) and SIGHUP (of a terminal that is closed) raise KeyboardInterrupt, too.

    Otherwise they end the process at once, and half-written files stay. One that is ignored, as nohup does with SIGHUP, stays so.
    The exit status to end with is `status_of` what was raised.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        for other in before:  # once is enough: a second one would interrupt the cleaning up
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt(number)

    before = {number: signal.getsignal(number) for number in _STOPS[1:]}
    before = {number: handler for number, handler in before.items() if handler is signal.SIG_DFL}
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def status_of(interrupt: KeyboardInterrupt) -> int:
    """Return the exit status of a process that was interrupted: 128 and the signal's number, as shells have it."""
    return 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)


@contextlib.contextmanager
def stop_soon(folder: Path, message: str, grace_s: float = 1.0) -> Iterator[None]:
    """End the process soon after Ctrl-C, or a signal that means the same (`as_by_ctrl_c`), even while TensorFlow computes.

    Python raises KeyboardInterrupt in the main thread only when it is back from a training step, which may take many
    seconds. The system's signal handler, though, writes into a socket at once (`signal.set_wakeup_fd`); a thread waits
    there, gives the main thread a moment, and then ends the process.

    Parameters
    ----------
    folder : Path
        Its half-written files (see `fastprep.atomic`) are removed; all others are whole.
    message : str
        Last words on standard error.
    grace_s : float
        How long the main thread may take to end by itself.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    ended = threading.Event()

    def watch() -> None:
        while data := ours.recv(16):
            if (stops := [number for number in data if number in _STOPS]) and not ended.wait(grace_s):
                for part in folder.glob(".*.part*"):
                    part.unlink(missing_ok=True)
                os.write(2, f"\n{message}\n".encode())
                os._exit(status_of(KeyboardInterrupt(stops[0])))

    watcher = threading.Thread(target=watch, name="fastprep-interrupt", daemon=True)
    before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(before)
        theirs.close()
        watcher.join()
        ours.close()
