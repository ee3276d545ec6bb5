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
    blocks = samples // per_block
    order = np.argsort(blocks, kind="stable")
    begins = np.flatnonzero(np.diff(blocks[order], prepend=-1))
    # threads that read batches of the same window begin with different blocks, so that none waits for what another one decodes
    order = np.roll(order, -begins[int(samples[0]) % len(begins)]) if len(samples) else order
    begins = np.flatnonzero(np.diff(blocks[order], prepend=-1))
    return blocks[order[begins]], np.append(begins, len(samples)), order


def by_block(samples: NDArray[np.int64], per_block: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield each block that holds some of the samples, with the positions of those samples."""
    blocks, begins, order = grouped(samples, per_block)
    for k, block in enumerate(blocks.tolist()):
        yield block, order[begins[k] : begins[k + 1]]
