"""Ctrl-C that does not have to wait for TensorFlow."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def stop_soon(folder: Path, message: str, grace_s: float = 1.0) -> Iterator[None]:
    """End the process soon after Ctrl-C even while TensorFlow computes.

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
            if signal.SIGINT in data and not ended.wait(grace_s):
                for part in folder.glob(".*.part*"):
                    part.unlink(missing_ok=True)
                os.write(2, f"\n{message}\n".encode())
                os._exit(130)  # 128 + SIGINT, as shells have it

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
