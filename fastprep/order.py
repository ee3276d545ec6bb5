"""Which samples, in which order: pure functions of (seed, epoch), computed for any stretch of an epoch on its own."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fastprep import rng

_ROUNDS = 8


def n_steps(n_samples: int, batch_size: int, shard: tuple[int, int] = (0, 1), drop_remainder: bool = False) -> int:
    """Count the batches of an epoch.

    Parameters
    ----------
    n_samples : int
        Samples of the whole dataset.
    batch_size : int
    shard : (rank, world)
    drop_remainder : bool
        Leave out a last batch that is not full.

    Returns
    -------
    int
    """
    mine = shard_size(n_samples, shard)
    return mine // batch_size if drop_remainder else -(-mine // batch_size)


def shard_size(n_samples: int, shard: tuple[int, int]) -> int:
    """Count the samples of one shard: shard r of w takes positions r, r+w, r+2w, ... of the epoch's order."""
    rank, world = shard
    return len(range(rank, n_samples, world))


def step_samples(
    n_samples: int,
    batch_size: int,
    step: int,
    *,
    shuffle: bool = False,
    seed: int = 0,
    epoch: int = 0,
    shard: tuple[int, int] = (0, 1),
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

    Returns
    -------
    ndarray of int64, shape (batch_size,), less for the last batch
    """
    rank, world = shard
    stop = min((step + 1) * batch_size, shard_size(n_samples, shard))
    positions = np.arange(step * batch_size, stop, dtype=np.int64) * world + rank
    return permute(positions, n_samples, rng.key(seed, epoch)) if shuffle else positions


def permute(positions: NDArray[np.int64], n_samples: int, stream: int) -> NDArray[np.int64]:
    """Look positions up in a pseudorandom permutation of 0..n_samples-1, without ever holding the permutation.

    Parameters
    ----------
    positions : ndarray of int64, any shape
        0..n_samples-1.
    n_samples : int
        1..2**62.
    stream : int
        Key of the permutation, see `fastprep.rng.key`.

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
    keys = [rng.key(stream, round_number) for round_number in range(_ROUNDS)]
    result = np.array(positions, np.int64)
    outside = np.ones(result.shape, bool)
    while outside.any():
        row, column = np.divmod(result[outside], columns)
        for shift_row, shift_column in zip(keys[::2], keys[1::2], strict=True):
            row = (row + rng.draw(shift_row, column, rows)) % rows
            column = (column + rng.draw(shift_column, row, columns)) % columns
        result[outside] = row * columns + column
        outside = result >= n_samples
    return result
