"""How many requests are sent at a time: more where that moves more bytes, fewer where the store fails."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

FIRST, FEWEST, MOST = 16, 4, 64
_GROWTH = 1.5
_GAIN = 1.1  # of the rate by which a larger number has to be better, because what is measured differs from round to round
_REST = 16  # rounds until a larger number is tried again: networks change


class InFlight:
    """Places for requests. Their number follows the rate in bytes per second, by trial.

    A round is as many answers as there are places, while more requests wait. After a round that moved clearly more bytes per
    second than those before, there are half as many places again; if that does not help, it is taken back and tried later.
    Where a quarter of a round's requests have to be sent again, there are half as many: a store that is asked for less may
    recover.

    Parameters
    ----------
    clock : callable
        Returns seconds.

    Attributes
    ----------
    n_places : int
        From `FEWEST` to `MOST`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.n_places = FIRST
        self._clock = clock
        self._n_taken = self._n_waiting = 0
        self._changed = threading.Condition()
        self._best, self._before, self._rest = 0.0, FIRST, 0
        self._begin_round()

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Wait for a place, and have it as long as the context lasts."""
        with self._changed:
            self._n_waiting += 1
            while self._n_taken >= self.n_places:
                self._changed.wait()
            self._n_waiting -= 1
            self._n_taken += 1
        try:
            yield
        finally:
            with self._changed:
                self._n_taken -= 1
                self._changed.notify()

    def came(self, n_bytes: int) -> None:
        """Take note of an answer."""
        with self._changed:
            if self._n_waiting == 0:  # what limits the rate is the reader, which tells nothing about the store
                self._begin_round()
                return
            self._n_answers += 1
            self._n_bytes += n_bytes
            if self._n_answers >= self.n_places:
                self._end_round()

    def failed(self) -> None:
        """Take note of a request that has to be sent again."""
        with self._changed:
            self._n_failed += 1
            if self._n_failed >= max(2, self.n_places // 4):
                self._settle(max(FEWEST, self.n_places // 2))

    def _begin_round(self) -> None:
        self._began, self._n_answers, self._n_bytes, self._n_failed = self._clock(), 0, 0, 0

    def _end_round(self) -> None:
        rate = self._n_bytes / max(1e-9, self._clock() - self._began)
        if self._rest > 0:
            self._rest -= 1
            self._begin_round()
        elif rate > self._best * _GAIN:
            self._best, self._before = rate, self.n_places
            self._set(min(MOST, int(self.n_places * _GROWTH)))
        else:
            self._settle(self._before)

    def _settle(self, n_places: int) -> None:
        self._best, self._before, self._rest = 0.0, n_places, _REST
        self._set(n_places)

    def _set(self, n_places: int) -> None:
        self.n_places = n_places
        self._changed.notify_all()
        self._begin_round()
