"""Draws with replacement: samples by their weights, each a pure function of (seed, epoch, number of the draw)."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.sampling import hashing
from fastprep.sampling.order import Windows
from fastprep.system import begin_in_children

_DRAWS = -1  # stream of the draws of an epoch; its order has streams with numbers from 0 on
_N_KEPT = 3  # epochs whose draws are kept by block: this one and its neighbours


class WeightedDraws:
    """Draws of samples with replacement: as many in an epoch as there are samples.

    Parameters
    ----------
    weights : ndarray of float64, shape (N,)
        Chance of each sample relative to the others: finite, not negative, and not all 0.

    Notes
    -----
    A draw is a number of 53 random bits, looked up in the running sum of the weights. That is added in order, so that the draws
    are the same on every machine.
    """

    def __init__(self, weights: NDArray[np.float64]) -> None:
        sums = np.cumsum(np.asarray(weights, np.float64) / np.max(weights))
        self._edges = sums / sums[-1]

    def __len__(self) -> int:
        return len(self._edges)

    def samples(self, numbers: NDArray[np.int64], stream: int) -> NDArray[np.int64]:
        """Return the samples of some draws of an epoch.

        Parameters
        ----------
        numbers : ndarray of int64, shape (n,)
            Numbers of the draws.
        stream : int
            Key of the epoch, see `fastprep.sampling.order.epoch_stream`.

        Returns
        -------
        ndarray of int64, shape (n,)
            Sample ids, none of which has the weight 0.
        """
        uniform = hashing.uniform(hashing.key(stream, _DRAWS), numbers)
        return np.searchsorted(self._edges, uniform, side="right")

    def digest(self) -> str:
        """Return what tells these weights from others."""
        return hashlib.blake2b(self._edges.tobytes(), digest_size=8).hexdigest()


class BlockDraws:
    """The draws of each epoch, ordered by the blocks that hold their samples, so that a block is decoded for many of its draws.

    A block whose samples are drawn more often than those of a block of an epoch without weights, as those of a rare class may be,
    is taken in several parts. Otherwise all draws of a class could be in one window. Together there are at most about twice as
    many parts as blocks.

    Parameters
    ----------
    draws : WeightedDraws
    starts : ndarray of int64, shape (n_blocks + 1,)
        Rank of the first sample of each block, then N.
    block_order : ndarray of int64, shape (N,), or None
        Samples by rank; None if they are their own ranks.
    blocks_per_window : int
    """

    def __init__(
        self, draws: WeightedDraws, starts: NDArray[np.int64], block_order: NDArray[np.int64] | None, blocks_per_window: int
    ) -> None:
        self._draws, self._largest = draws, int(np.diff(starts).max())
        self._blocks_per_window = blocks_per_window if blocks_per_window < len(starts) - 1 else 0  # 0: one window
        self._block = np.repeat(np.arange(len(starts) - 1), np.diff(starts))  # of each rank, and then of each sample
        if block_order is not None:
            by_rank, self._block = self._block, np.empty_like(self._block)
            self._block[block_order] = by_rank
        self._epochs: dict[int, tuple[Windows, NDArray[np.int64]]] = {}
        begin_in_children(self)

    def begin(self) -> None:
        """Make a new lock; the old one may be held by a thread that does not survive a fork."""
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_epochs": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        begin_in_children(self)

    def epoch(self, stream: int) -> tuple[Windows, NDArray[np.int64]]:
        """Return the windows of an epoch's draws, and the numbers of the draws in the order to which the windows refer."""
        with self._lock:  # all workers begin an epoch at once, and sorting millions of draws takes a moment
            known = self._epochs.get(stream)
            if known is None:
                starts, numbers, _ = self.by_block(stream)
                known = Windows(starts, self._blocks_per_window or len(starts) - 1), numbers
                self._epochs = {**dict(list(self._epochs.items())[1 - _N_KEPT :]), stream: known}
            return known

    def by_block(self, stream: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return the draws of an epoch by block: where each part of a block begins, the numbers of draws, and their samples."""
        samples = self._draws.samples(np.arange(len(self._draws), dtype=np.int64), stream)
        block = self._block[samples]
        numbers = np.argsort(block, kind="stable")
        counts = np.bincount(block)
        counts = counts[counts > 0]
        n_parts = -(-counts // self._largest)
        part = np.arange(n_parts.sum()) - np.repeat(np.cumsum(n_parts) - n_parts, n_parts)  # 0, 1, ... of each block
        counts, n_parts = np.repeat(counts, n_parts), np.repeat(n_parts, n_parts)
        sizes = (part + 1) * counts // n_parts - part * counts // n_parts
        return np.concatenate([[0], np.cumsum(sizes)]), numbers, samples[numbers]
