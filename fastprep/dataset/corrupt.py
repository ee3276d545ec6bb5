"""Samples that can't be read, and which are read in their place."""

from __future__ import annotations

import logging
import threading

import numpy as np
from numpy.typing import NDArray

from fastprep.errors import DataError
from fastprep.system import begin_in_children

_log = logging.getLogger(__name__)


class Corrupt:
    """What `on_corrupt="skip"` knows. A damaged block of images is replaced by the next one that is not.

    Which one that is depends on the file alone, and not on what was read before: so batches stay the same for any order and any
    number of threads.

    Parameters
    ----------
    n_samples : int
    """

    def __init__(self, n_samples: int) -> None:
        self.n_samples = n_samples
        self.problems: list[str] = []
        self._blocks = np.zeros((0, 2), np.int64)  # first sample of each damaged block, and the one after its last; in order
        self._last: DataError | None = None
        begin_in_children(self)

    def begin(self) -> None:
        """Make the lock, which does not survive a fork."""
        self._lock = threading.Lock()

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_lock": None}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        begin_in_children(self)

    @property
    def n_known(self) -> int:
        """Samples that are known to be damaged."""
        return int((self._blocks[:, 1] - self._blocks[:, 0]).sum())

    def note(self, first: int, stop: int, error: DataError) -> None:
        """Take note that samples first..stop-1 can't be read.

        Raises
        ------
        DataError
            If none is left that can.
        """
        with self._lock:
            if first not in self._blocks[:, 0]:
                self._last = error  # before the blocks: `replace` raises it once these are all
                blocks = np.concatenate([self._blocks, [[first, stop]]])
                self._blocks = blocks[np.argsort(blocks[:, 0])]
                self.problems.append(str(error))
                _log.warning("on_corrupt='skip': samples %d to %d are replaced by others: %s", first, stop - 1, error)
        if self.n_known >= self.n_samples:
            raise error

    def replace(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the samples; for each of those that are known to be damaged, the one a block later, until that is not.

        Raises
        ------
        DataError
            If none is left that can be read.
        """
        firsts, stops = self._blocks.T
        while len(firsts):
            block = np.searchsorted(firsts, samples, side="right") - 1
            bad = (block >= 0) & (samples < stops[block])
            if not bad.any():
                break
            if self._last is not None and self.n_known >= self.n_samples:  # there is none left to go on to
                raise self._last
            samples = np.where(bad, (samples + stops[block] - firsts[block]) % self.n_samples, samples)
        return samples
