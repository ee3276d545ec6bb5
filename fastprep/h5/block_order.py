"""Samples of a batch, sorted by the blocks that hold them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def grouped(samples: NDArray[np.int64], per_block: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Sort samples by the block that holds them.

    Returns
    -------
    blocks : ndarray of int64, shape (n,)
        Each block that holds some of the samples.
    begins : ndarray of int64, shape (n + 1,)
    order : ndarray of int64
        Positions of samples: those of block k are order[begins[k] : begins[k + 1]].
    """
    if len(samples) == 0:
        return samples, np.zeros(1, np.int64), samples
    blocks = samples // per_block
    order = np.argsort(blocks, kind="stable")
    begins = _begins(blocks[order])
    # threads that read batches of the same window begin with different blocks, so that none waits for what another one decodes
    first = begins[int(samples[0]) % (len(begins) - 1)]
    order = np.concatenate([order[first:], order[:first]])
    blocks = blocks[order]
    begins = _begins(blocks)
    return blocks[begins[:-1]], begins, order


def _begins(blocks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each run of equal numbers begins, and the end."""
    is_begin = np.ones(len(blocks) + 1, bool)
    np.not_equal(blocks[1:], blocks[:-1], out=is_begin[1:-1])
    return np.flatnonzero(is_begin)


def by_block(samples: NDArray[np.int64], per_block: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield each block that holds some of the samples, with the positions of those samples."""
    blocks, begins, order = grouped(samples, per_block)
    for k, block in enumerate(blocks.tolist()):
        yield block, order[begins[k] : begins[k + 1]]
