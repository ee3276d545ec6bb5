"""Which samples, in which order: pure functions of (seed, epoch), computed for any stretch of an epoch on its own."""

from __future__ import annotations

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
    A balanced Feistel network over the smallest 2**(2k) >= n_samples, made to fit by cycle walking: a result outside the
    range is put through again (Black, Rogaway: "Ciphers with arbitrary finite domains", CT-RSA 2002). Memory and time do
    not grow with n_samples; on average fewer than four passes are needed.
    """
    half_bits = max(1, -(-int(n_samples - 1).bit_length() // 2))
    half = np.uint64((1 << half_bits) - 1)
    shift = np.uint64(half_bits)
    keys = [np.uint64(rng.key(stream, r)) for r in range(_ROUNDS)]
    result = np.asarray(positions).astype(np.uint64)
    outside = np.ones(result.shape, bool)
    while outside.any():
        value = result[outside]
        left, right = value >> shift, value & half
        for round_key in keys:
            left, right = right, left ^ (rng.mix64(right + round_key) & half)
        result[outside] = left << shift | right
        outside = result >= np.uint64(n_samples)
    return result.astype(np.int64)
