"""Blocks of remote files, fetched by many requests at a time, each tried again until a deadline."""

from __future__ import annotations

import datetime
import errno
import logging
import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from fastprep.errors import ChangedError
from fastprep.remote.failures import UnreachableError, as_system_error, lacks_credentials, may_pass, one_line
from fastprep.remote.in_flight import MOST, InFlight
from fastprep.system import begin_in_children, submit_without_context

REQUEST_BYTES = 4 << 20
"""Bytes of a request, about; half as many again at most."""

DEADLINE_S = 60.0
"""Seconds after which a request that does not succeed is an error, unless `retry_config` has a `retry_timeout`."""

_AFTERMATH_S = 5.0
_CREDENTIALS_S = 5.0  # a machine that is none of a cloud's has no service for them, and one of a cloud's may be slow
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 5.0
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Fetcher:
    """The threads that wait for answers. After a fork there are new ones.

    Parameters
    ----------
    options : mapping
        Storage options, of which `retry_config` may have a `retry_timeout`, a timedelta or a number of seconds.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        limit = (options.get("retry_config") or {}).get("retry_timeout", DEADLINE_S)
        self.deadline_s = limit.total_seconds() if isinstance(limit, datetime.timedelta) else float(limit)
        self.n_requests = self.n_retries = self.n_bytes = 0
        self.n_blocks_read = self.n_blocks_fetched = 0  # the former with those that were there
        self._gave_up_at = -math.inf
        self._is_closed = threading.Event()
        begin_in_children(self)

    def begin(self) -> None:
        """Begin without threads."""
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self.in_flight = InFlight()

    def submit(self, function: Callable[[], _T]) -> Future[_T]:
        """Call a function in one of the threads, as soon as there is a place for its request."""
        in_flight, is_closed = self.in_flight, self._is_closed

        def call() -> _T:
            with in_flight.place():
                if is_closed.is_set():
                    raise UnreachableError(errno.ECANCELED, "nobody waits for this request any more")
                return function()

        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(MOST, "fastprep-fetch")
            return submit_without_context(self._pool, call)

    def answer(self, ask: Callable[[], _T], what: str) -> _T:
        """Return what a request returns, which is sent again after a fault, until the deadline.

        Parameters
        ----------
        ask : callable
            Sends the request and reads the whole answer.
        what : str
            Address and range, for errors.

        Raises
        ------
        FileNotFoundError, PermissionError
            If there is no such file, or it may not be read.
        ChangedError
            If the file has changed.
        UnreachableError
            If no answer came within the deadline, or the store refuses the request.
        """
        began, wait, n_tries = time.monotonic(), _FIRST_WAIT_S, 0
        # where the store has just been given up, what is still in the queue is asked for once only
        limit = self.deadline_s if began - self._gave_up_at > _AFTERMATH_S else 0.0
        while True:
            n_tries += 1
            try:
                with self._lock:
                    self.n_requests += 1
                    self.n_retries += n_tries > 1
                return ask()
            except Exception as error:
                if isinstance(error, ChangedError | ValueError):
                    raise
                if not may_pass(error):
                    raise as_system_error(error, what) from None
                passed = time.monotonic() - began
                pause = wait * random.uniform(0.5, 1.0)  # so that many readers do not come back at one moment
                most = min(limit, _CREDENTIALS_S) if lacks_credentials(error) else limit
                if passed + pause > most or self._is_closed.wait(pause):
                    self._gave_up_at = time.monotonic()
                    if lacks_credentials(error):
                        raise as_system_error(error, what) from None
                    times = f"{n_tries} tries in {passed:.0f} s"
                    raise UnreachableError(errno.ETIMEDOUT, f"{what}: {times} failed, the last one: {one_line(error)}") from None
                self.in_flight.failed()
                wait = min(2 * wait, _LONGEST_WAIT_S)
                _log.info("%s: asking again: %s", what, one_line(error))

    def count(self, n_bytes: int, n_blocks: int) -> None:
        """Count bytes that came, and the blocks that they fill."""
        with self._lock:
            self.n_bytes += n_bytes
            self.n_blocks_fetched += n_blocks
        self.in_flight.came(n_bytes)

    def count_read(self, n_blocks: int) -> None:
        """Count blocks that are read, whether they were there or not."""
        with self._lock:
            self.n_blocks_read += n_blocks

    def rest(self) -> None:
        """Let the threads end when they have done what they were asked for; there are new ones as soon as they are needed."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """End waits, and let threads end."""
        self._is_closed.set()
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
