"""The order of samples: pure functions of (seed, epoch), which can be computed for any part of an epoch alone."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fastprep.sampling import _hashes, hashing

_ROUNDS = 8


def n_steps(n_samples: int, batch_size: int, shard: tuple[int, int] = (0, 1), drop_remainder: bool = False, seen: int = 0) -> int:
    """Return the number of batches of an epoch, or of the rest of an epoch.

    Parameters
    ----------
    n_samples : int
        Number of samples in the whole dataset.
    batch_size : int
        Samples in a batch of one shard.
    shard : (int, int)
        (rank, world).
    drop_remainder : bool
        Leave out samples that do not fill a batch of every shard, so that all shards have the same number of batches.
    seen : int
        Number of samples of the epoch, over all shards, that have been read before.

    Returns
    -------
    int
    """
    if drop_remainder:
        return (n_samples - seen) // (batch_size * shard[1])
    return -(-shard_size(n_samples - seen, shard) // batch_size)


def shard_size(n_samples: int, shard: tuple[int, int]) -> int:
    """Return the number of samples of a shard: shard r of w takes positions r, r+w, r+2w, ... of the epoch's order."""
    rank, world = shard
    return len(range(rank, n_samples, world))


class Windows:
    """Windows of the shuffled order, each of several blocks of samples that are read together.

    Parameters
    ----------
    starts : ndarray of int64, shape (blocks + 1,)
        Block b has the samples starts[b]..starts[b + 1]-1.
    blocks_per_window : int
        Number of blocks in a window.
    """

    def __init__(self, starts: NDArray[np.int64], blocks_per_window: int) -> None:
        self.starts, self.blocks_per_window = starts, blocks_per_window
        self._shuffles: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}

    def look_up(self, positions: NDArray[np.int64], stream: int) -> NDArray[np.int64]:
        """Look positions up in a permutation that shuffles the blocks, and then the samples in each window of blocks.

        Parameters
        ----------
        positions : ndarray of int64, shape (n,)
            0..n_samples-1.
        stream : int
            Key of the permutation, see `fastprep.sampling.hashing.key`.

        Returns
        -------
        ndarray of int64, shape (n,)
            Sample ids. The positions of a window hold each sample of its blocks exactly once.
        """
        blocks, ends = self._shuffled(stream)
        result = np.empty_like(positions)
        window_of = self._window_of(positions, ends)
        for window in np.unique(window_of):
            first = window * self.blocks_per_window
            begin = int(ends[first - 1]) if first else 0
            stop = int(ends[min(first + self.blocks_per_window, len(blocks)) - 1])
            members = window_of == window
            shuffled = begin + permute(positions[members] - begin, stop - begin, hashing.key(stream, 1, int(window)))
            k = np.searchsorted(ends, shuffled, side="right")  # each position is in the k-th block of the epoch
            result[members] = self.starts[blocks[k]] + shuffled - np.where(k > 0, ends[k - 1], 0)
        return result

    def share_of_next(self, position: int, stop: int, stream: int) -> NDArray[np.int64]:
        """Return the blocks of the next window that are to be decoded while some positions of this window are read.

        Parameters
        ----------
        position, stop : int
            The positions position..stop-1 are read.
        stream : int
            Key of the permutation.

        Returns
        -------
        ndarray of int64
            Numbers of blocks. All positions of a window together give each block of the next window once.
        """
        blocks, ends = self._shuffled(stream)
        due = [np.empty(0, np.int64)]
        first_window, last_window = self._window_of(np.array([position, stop - 1]), ends)
        for window in range(first_window, last_window + 1):
            first = window * self.blocks_per_window
            begin = int(ends[first - 1]) if first else 0
            length = int(ends[min(first + self.blocks_per_window, len(blocks)) - 1]) - begin
            following = blocks[first + self.blocks_per_window : first + 2 * self.blocks_per_window]
            low, high = (len(following) * min(max(p - begin, 0), length) // length for p in (position, stop))
            due.append(following[low:high])
        return np.concatenate(due)

    def around(self, position: int, stream: int) -> tuple[int, int, int]:
        """Return which blocks matter at a position.

        Parameters
        ----------
        position : int
        stream : int
            Key of the permutation.

        Returns
        -------
        first, stop : int
            The window of the position has the blocks first..stop-1 in the order of the epoch, see `samples_at`.
        n_next : int
            Number of blocks of the next window, in proportion to how far the position is in its own.
        """
        blocks, ends = self._shuffled(stream)
        first = int(self._window_of(np.array([position]), ends)[0]) * self.blocks_per_window
        stop = min(first + self.blocks_per_window, len(blocks))
        begin = int(ends[first - 1]) if first else 0
        n_following = min(self.blocks_per_window, len(blocks) - stop)
        return first, stop, -(-n_following * (position + 1 - begin) // (int(ends[stop - 1]) - begin))

    def samples_at(self, number: int, stream: int) -> NDArray[np.int64]:
        """Return the samples of the block that comes at a place of the order of an epoch, from 0."""
        block = self._shuffled(stream)[0][number]
        return np.arange(self.starts[block], self.starts[block + 1])

    def _window_of(self, positions: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(ends, positions, side="right") // self.blocks_per_window

    def _shuffled(self, stream: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the blocks in the order of an epoch, and the position after the last sample of each."""
        known = self._shuffles.get(stream)
        if known is None:
            n_blocks = len(self.starts) - 1
            blocks = permute(np.arange(n_blocks), n_blocks, hashing.key(stream, 0))
            known = blocks, np.cumsum(np.diff(self.starts)[blocks])
            self._shuffles = {**dict(list(self._shuffles.items())[-2:]), stream: known}  # this epoch and its neighbours
        return known


def epoch_stream(seed: int, epoch: int) -> int:
    """Return the key of an epoch's order."""
    return hashing.key(seed, epoch)


def step_samples(
    n_samples: int,
    batch_size: int,
    step: int,
    *,
    shuffle: bool = False,
    seed: int = 0,
    epoch: int = 0,
    shard: tuple[int, int] = (0, 1),
    windows: Windows | None = None,
    seen: int = 0,
) -> NDArray[np.int64]:
    """Return the sample ids of one batch.

    Parameters
    ----------
    n_samples : int
        Number of samples in the whole dataset.
    batch_size : int
        Samples in a batch of one shard.
    step : int
        0..n_steps-1; the last batch may be partial.
    shuffle : bool
        False: file order.
    seed, epoch : int
        The order is a pure function of them.
    shard : (int, int)
        (rank, world). The order of the whole dataset does not depend on it; over all ranks, every sample comes exactly once.
    windows : Windows or None
        Shuffle blocks, and then the samples in each window. None: shuffle all samples together.
    seen : int
        The first `seen` samples of the epoch's order have been read before, by any number of shards; steps count from there.

    Returns
    -------
    ndarray of int64, shape (batch_size,), fewer for the last batch
    """
    positions = step_positions(n_samples, batch_size, step, shard, seen)
    if not shuffle:
        return positions
    stream = epoch_stream(seed, epoch)
    return permute(positions, n_samples, stream) if windows is None else windows.look_up(positions, stream)


def step_positions(
    n_samples: int, batch_size: int, step: int, shard: tuple[int, int] = (0, 1), seen: int = 0, n_steps: int = 1
) -> NDArray[np.int64]:
    """Return the positions of a batch, or of several that follow each other, in the order of their epoch; see `step_samples`."""
    rank, world = shard
    stop = min((step + n_steps) * batch_size, shard_size(n_samples - seen, shard))
    first = seen + rank
    return np.arange(first + step * batch_size * world, first + stop * world, world, dtype=np.int64)


def permute(positions: NDArray[np.int64], n_samples: int, stream: int) -> NDArray[np.int64]:
    """Look positions up in a pseudorandom permutation of 0..n_samples-1, which is never in memory as a whole.

    Parameters
    ----------
    positions : ndarray of int64, any shape
        0..n_samples-1.
    n_samples : int
        1..2**62.
    stream : int
        Key of the permutation, see `fastprep.sampling.hashing.key`.

    Returns
    -------
    ndarray of int64, same shape

    Notes
    -----
    A generalised Feistel cipher (Black, Rogaway: "Ciphers with arbitrary finite domains", CT-RSA 2002). A position is a row and
    a column of a rectangle; in each round, a hash of the column is added to the row, or a hash of the row to the column. The
    rectangle is hardly larger than n_samples, and a result that lies outside is encrypted again. Neither memory nor time grow
    with n_samples.
    """
    columns = math.isqrt(n_samples - 1) + 1
    result = np.array(positions, np.int64, order="C")
    _hashes.permute(result.reshape(-1), n_samples, columns, _round_keys(stream))  # a view, since a new array is contiguous
    return result


@lru_cache(maxsize=64)
def _round_keys(stream: int) -> NDArray[np.uint64]:
    keys = np.array([hashing.key(stream, round_number) for round_number in range(_ROUNDS)], np.uint64)
    keys.flags.writeable = False  # whoever asks gets the same array
    return keys
