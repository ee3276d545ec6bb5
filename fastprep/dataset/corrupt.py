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
    problems : list of str
        Error text of each damaged block.
    """

    def __init__(self, n_samples: int) -> None:
        self.n_samples = n_samples
        self.problems: list[str] = []
        self._blocks = np.zeros((0, 2), np.int64)  # first sample of each damaged block, and the one after its last; in order
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

    @property
    def n_known(self) -> int:
        """Number of samples that are known to be damaged."""
        return int((self._blocks[:, 1] - self._blocks[:, 0]).sum())

    def record(self, first: int, stop: int, error: DataError) -> None:
        """Record that samples first..stop-1 can't be read.

        Raises
        ------
        DataError
            If no sample is left that can be read.
        """
        with self._lock:
            if first not in self._blocks[:, 0]:
                self._last = error  # before the blocks: `replace` raises it when the blocks cover all samples
                blocks = np.concatenate([self._blocks, [[first, stop]]])
                self._blocks = blocks[np.argsort(blocks[:, 0])]
                self.problems.append(str(error))
                _log.warning("on_corrupt='skip': samples %d to %d are replaced by others: %s", first, stop - 1, error)
        if self.n_known >= self.n_samples:
            raise error

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
        firsts, stops = self._blocks.T
        while len(firsts):
            block = np.searchsorted(firsts, samples, side="right") - 1
            bad = (block >= 0) & (samples < stops[block])
            if not bad.any():
                break
            if self._last is not None and self.n_known >= self.n_samples:  # no intact block is left
                raise self._last
            samples = np.where(bad, (samples + stops[block] - firsts[block]) % self.n_samples, samples)
        return samples
