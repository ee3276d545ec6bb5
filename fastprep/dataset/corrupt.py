"""Corrupt samples: which can't be read, and which ones replace them."""

from __future__ import annotations

import logging
import threading

import numpy as np
from numpy.typing import NDArray

from fastprep.errors import DataError
from fastprep.system import begin_in_children

_log = logging.getLogger(__name__)


class Corrupt:
    """Record of the samples that can't be read, for `on_corrupt="skip"`.

    A damaged block of images is replaced by the next intact one. Which one that is depends on the file alone, and not on what was
    read before. So batches stay the same for any order and any number of threads.

    Parameters
    ----------
    n_samples : int

    Attributes
    ----------
    n_known : int
        Number of samples that are known to be damaged.
    problems : list of str
        Error text of each damaged block.
    """

    def __init__(self, n_samples: int) -> None:
        self.n_samples = n_samples
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

    def record(self, first: int, stop: int, error: DataError) -> None:
        """Record that samples first..stop-1 can't be read.

        Raises
        ------
        DataError
            If no sample is left that can be read.
        """
        with self._lock:
            if not self._contains(first):
                self._last = error  # before the runs: `replace` raises it when they cover all samples
                self._runs = self._joined(first, stop)
                self.n_known += stop - first
                self.problems.append(str(error))
                _log.warning("on_corrupt='skip': samples %d to %d are replaced by others: %s", first, stop - 1, error)
        if self.n_known >= self.n_samples:
            raise error

    def _contains(self, sample: int) -> bool:
        run = int(np.searchsorted(self._runs[:, 0], sample, side="right")) - 1
        return run >= 0 and sample < self._runs[run, 1]

    def _joined(self, first: int, stop: int) -> NDArray[np.int64]:
        """Return the runs with another block, joined to its neighbours if they have blocks of its size."""
        runs, size = self._runs, stop - first
        place = int(np.searchsorted(runs[:, 0], first))
        before = place > 0 and tuple(runs[place - 1, 1:]) == (first, size)
        after = place < len(runs) and (runs[place, 0], runs[place, 2]) == (stop, size)
        run = [runs[place - 1, 0] if before else first, runs[place, 1] if after else stop, size]
        return np.concatenate([runs[: place - before], [run], runs[place + after :]])

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
