"""Which samples, in which order: pure functions of (seed, epoch), computed for any stretch of an epoch on its own."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fastprep.sampling import hashing

_ROUNDS = 8


def n_steps(n_samples: int, batch_size: int, shard: tuple[int, int] = (0, 1), drop_remainder: bool = False, seen: int = 0) -> int:
    """Count the batches of an epoch, or of what is left of one.

    Parameters
    ----------
    n_samples : int
        Samples of the whole dataset.
    batch_size : int
    shard : (rank, world)
    drop_remainder : bool
        Leave out what does not fill a batch of every shard, so that all shards have the same number of batches.
    seen : int
        Samples of the epoch, over all shards, that need not come any more.

    Returns
    -------
    int
    """
    if drop_remainder:
        return (n_samples - seen) // (batch_size * shard[1])
    return -(-shard_size(n_samples - seen, shard) // batch_size)


def shard_size(n_samples: int, shard: tuple[int, int]) -> int:
    """Count the samples of one shard: shard r of w takes positions r, r+w, r+2w, ... of the epoch's order."""
    rank, world = shard
    return len(range(rank, n_samples, world))


class Windows:
    """Blocks of samples that are read together, and how many of them make a window of the shuffled order.

    Parameters
    ----------
    starts : ndarray of int64, shape (blocks + 1,)
        Block b holds samples starts[b]..starts[b + 1]-1.
    blocks_per_window : int
    """

    def __init__(self, starts: NDArray[np.int64], blocks_per_window: int) -> None:
        self.starts, self.blocks_per_window = starts, blocks_per_window
        self._shuffles: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}

    def look_up(self, positions: NDArray[np.int64], stream: int) -> NDArray[np.int64]:
        """Look positions up in a permutation that shuffles the blocks, and then the samples inside each window of blocks.

        Parameters
        ----------
        positions : ndarray of int64, shape (n,)
            0..n_samples-1.
        stream : int
            Key of the permutation, see `fastprep.sampling.hashing.key`.

        Returns
        -------
        ndarray of int64, shape (n,)
            Between the first and the last position of a window, each of its blocks' samples comes exactly once.
        """
        blocks, ends = self._shuffled(stream)
        result = np.empty_like(positions)
        window_of = self._window_of(positions, ends)
        for window in np.unique(window_of):
            first = window * self.blocks_per_window
            begin = int(ends[first - 1]) if first else 0
            stop = int(ends[min(first + self.blocks_per_window, len(blocks)) - 1])
            here = window_of == window
            place = begin + permute(positions[here] - begin, stop - begin, hashing.key(stream, 1, int(window)))
            slot = np.searchsorted(ends, place, side="right")
            result[here] = self.starts[blocks[slot]] + place - np.where(slot > 0, ends[slot - 1], 0)
        return result

    def share_of_next(self, position: int, stop: int, stream: int) -> NDArray[np.int64]:
        """Return the part of the next window's blocks that is due while positions up to `stop` of this window are read.

        Parameters
        ----------
        position, stop : int
            A stretch of positions; the window is that of the first.
        stream : int
            Key of the permutation.

        Returns
        -------
        ndarray of int64
            Blocks; over all stretches of a window, each block of the next one.
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

    def _window_of(self, positions: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(ends, positions, side="right") // self.blocks_per_window

    def _shuffled(self, stream: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the blocks in the order of an epoch, and the position after the last sample of each."""
        known = self._shuffles.get(stream)
        if known is None:
            n_blocks = len(self.starts) - 1
            blocks = permute(np.arange(n_blocks), n_blocks, hashing.key(stream, 0))
            known = blocks, np.cumsum(np.diff(self.starts)[blocks])
            self._shuffles = {**dict(list(self._shuffles.items())[-2:]), stream: known}  # this epoch and those next to it
        return known


def epoch_stream(seed: int, epoch: int) -> int:
    """Return the key of the order of an epoch."""
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
        Samples of the whole dataset.
    batch_size : int
    step : int
        0..n_steps-1; the last one may be partial.
    shuffle : bool
        False: file order.
    seed, epoch : int
        The order is a pure function of them.
    shard : (rank, world)
        The order of the whole dataset does not depend on it; over all ranks every sample comes exactly once.
    windows : Windows or None
        Shuffle blocks and then samples inside windows; None: all samples alike.
    seen : int
        Steps count from here on: the first `seen` samples of the epoch's order came before, by however many shards.

    Returns
    -------
    ndarray of int64, shape (batch_size,), less for the last batch
    """
    rank, world = shard
    stop = min((step + 1) * batch_size, shard_size(n_samples - seen, shard))
    positions = seen + np.arange(step * batch_size, stop, dtype=np.int64) * world + rank
    if not shuffle:
        return positions
    stream = epoch_stream(seed, epoch)
    return permute(positions, n_samples, stream) if windows is None else windows.look_up(positions, stream)


def permute(positions: NDArray[np.int64], n_samples: int, stream: int) -> NDArray[np.int64]:
    """Look positions up in a pseudorandom permutation of 0..n_samples-1, without ever holding the permutation.

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
    A generalised Feistel cipher (Black, Rogaway: "Ciphers with arbitrary finite domains", CT-RSA 2002): the positions are laid
    out in rows and columns, and in turn each row is shifted by a hash of the column, and each column by a hash of the
    row. The rectangle is hardly larger than n_samples; a result outside is put through again. Memory and time do not grow
    with n_samples.
    """
    columns = math.isqrt(n_samples - 1) + 1
    rows = -(-n_samples // columns)
    keys = [hashing.key(stream, round_number) for round_number in range(_ROUNDS)]
    result = np.array(positions, np.int64)
    outside = np.ones(result.shape, bool)
    while outside.any():
        row, column = np.divmod(result[outside], columns)
        for shift_row, shift_column in zip(keys[::2], keys[1::2], strict=True):
            row = (row + hashing.draw(shift_row, column, rows)) % rows
            column = (column + hashing.draw(shift_column, row, columns)) % columns
        result[outside] = row * columns + column
        outside = result >= n_samples
    return result
