"""Corrupt samples: which can't be read, and which ones replace them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fastprep._sink import Sink
from fastprep.errors import DataError
from fastprep.system import begin_in_children

_log = logging.getLogger(__name__)


class Unreadable(Exception):
    """Error of samples first..stop-1, which can't be read."""

    def __init__(self, first: int, stop: int, error: DataError) -> None:
        super().__init__(str(error))
        self.first, self.stop, self.error = first, stop, error


Sinks = tuple[Sink, ...]
"""The sink of the images, and those of what is read with them."""

Read = Callable[[NDArray[np.int64], NDArray[np.int64], Sinks], None]
"""Function that hands samples to the slots of sinks, and raises `Unreadable`."""


class Corrupt:
    """Record of the samples that can't be read, for `on_corrupt="skip"`.

    A damaged block of images is replaced by the next intact one. Which one that is depends on the file alone, and not on what was
    read before. So batches stay the same for any order and any number of threads.

    Parameters
    ----------
    n_samples : int
    by_sample : bool
        Whether each damaged sample is replaced by the next intact one instead. It has to be where a sample has several parts,
        such as an image and a mask, which lie in blocks of different sizes.

    Attributes
    ----------
    n_known : int
        Number of samples that are known to be damaged.
    problems : list of str
        Error text of each damaged block.
    """

    def __init__(self, n_samples: int, by_sample: bool = False) -> None:
        self.n_samples, self.by_sample = n_samples, by_sample
        self.problems: list[str] = []
        self.n_known = 0
        # runs of damaged blocks of one size that follow on each other: first sample, the one after the last, size of a block
        self._runs = np.zeros((0, 3), np.int64)
        self._last: DataError | None = None
        begin_in_children(self)

    def begin(self) -> None:
        """Make a new lock; the old one may be held by a thread that does not survive a fork."""
        self._lock = threading.Lock()

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_lock": None}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        begin_in_children(self)

    def read(self, read: Read, samples: NDArray[np.int64], sinks: Sinks) -> NDArray[np.int64]:
        """Hand samples to sinks, others in the place of those that can't be read, and return those that were read.

        Parameters
        ----------
        read : function
        samples : ndarray of int64, shape (n,)
            Slot k is for `samples[k]`.
        sinks : tuple of Sink

        Returns
        -------
        ndarray of int64, shape (n,)

        Raises
        ------
        DataError
            If no sample is left that can be read.
        """
        slots = np.arange(len(samples), dtype=np.int64)
        while True:
            samples = self.replace(samples)
            try:
                read(samples, slots, sinks)
            except Unreadable as error:
                self.record(error.first, error.stop, error.error)
                bad = np.flatnonzero((samples >= error.first) & (samples < error.stop))[:1]
                self._find_intact(read, samples[bad], slots[bad], sinks)
            else:
                return samples

    def _find_intact(self, read: Read, sample: NDArray[np.int64], slot: NDArray[np.int64], sinks: Sinks) -> None:
        """Record what is damaged from a sample on, up to its replacement. One by one: not with a whole batch for each of them."""
        while True:
            sample = self.replace(sample)
            try:
                read(sample, slot, sinks)
            except Unreadable as error:
                self.record(error.first, error.stop, error.error)
            else:
                return

    def record(self, first: int, stop: int, error: DataError) -> None:
        """Record that samples first..stop-1 can't be read.

        Raises
        ------
        DataError
            If no sample is left that can be read.
        """
        with self._lock:
            if new := self._unknown(first, stop):
                error.__cause__ = error.__context__ = None  # their frames, and its own, hold the memory of a batch
                self._last = error.with_traceback(None)  # before the runs: `replace` raises it when they cover all samples
                for start, end in new:
                    self._runs = self._joined(start, end)
                    self.n_known += end - start
                self.problems.append(str(error))
                _log.warning("on_corrupt='skip': samples %d to %d are replaced by others: %s", first, stop - 1, error)
        if self.n_known >= self.n_samples:
            raise error

    def _unknown(self, first: int, stop: int) -> list[tuple[int, int]]:
        """Return which parts of first..stop-1 are in no run yet; each is the first sample and the one after the last.

        Blocks are known as a whole, or not at all.
        """
        if not self.by_sample:
            run = int(np.searchsorted(self._runs[:, 0], first, side="right")) - 1
            return [] if run >= 0 and first < self._runs[run, 1] else [(first, stop)]
        parts = []
        for start, end in self._runs[:, :2].tolist():
            if first < end and start < stop:
                if first < start:
                    parts.append((first, start))
                first = end
        return [*parts, (first, stop)] if first < stop else parts

    def _joined(self, first: int, stop: int) -> NDArray[np.int64]:
        """Return the runs with another block, joined to its neighbours if they have blocks of its size."""
        runs, size = self._runs, 1 if self.by_sample else stop - first
        place = int(np.searchsorted(runs[:, 0], first))
        before = place > 0 and tuple(runs[place - 1, 1:]) == (first, size)
        after = place < len(runs) and (runs[place, 0], runs[place, 2]) == (stop, size)
        run = [runs[place - 1, 0] if before else first, runs[place, 1] if after else stop, size]
        return np.concatenate([runs[: place - before], [run], runs[place + after :]])

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which samples are known to be damaged: bool, shape (n_samples,)."""
        is_known = np.zeros(self.n_samples, np.bool_)
        for first, stop in self._runs[:, :2].tolist():
            is_known[first:stop] = True
        return is_known

    def replace(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the samples, each damaged one replaced by the sample in the same place of the next intact block.

        Parameters
        ----------
        samples : ndarray of int64, shape (n,)

        Returns
        -------
        ndarray of int64, shape (n,)

        Raises
        ------
        DataError
            If no sample is left that can be read.
        """
        firsts, stops, sizes = self._runs.T
        while len(firsts):
            run = np.searchsorted(firsts, samples, side="right") - 1
            bad = (run >= 0) & (samples < stops[run])
            if not bad.any():
                break
            if self._last is not None and self.n_known >= self.n_samples:  # no intact block is left
                raise self._last
            n_blocks = -(-(stops[run] - samples) // sizes[run])  # of the run, from that of the sample on
            samples = np.where(bad, (samples + n_blocks * sizes[run]) % self.n_samples, samples)
        return samples
