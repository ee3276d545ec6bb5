"""A terminal for a command to write to."""

import contextlib
import os
import pty
import threading


class Terminal:
    """A context manager with the side of the command, `fd`; after it, `shown` is what the command has written.

    It is read all the time: a terminal that nobody reads holds a few KiB, and then whoever writes waits.
    """

    def __enter__(self):
        self._ours, self.fd = pty.openpty()
        self._parts = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def _read(self):
        with contextlib.suppress(OSError):  # EIO: no process has the other side open any more
            while part := os.read(self._ours, 1 << 16):
                self._parts.append(part)

    def __exit__(self, *_):
        os.close(self.fd)
        self._reader.join()
        os.close(self._ours)
        self.shown = b"".join(self._parts).decode()
