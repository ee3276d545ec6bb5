"""How many chunks are shuffled together, and how well that mixes the labels of a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastprep.sampling import hashing
from fastprep.sampling.order import permute

WINDOW_SAMPLES = 2048
"""Samples that an automatic window has at least."""
WINDOW_BLOCKS = 32
"""Blocks that an automatic window has at least, where `WINDOW_BYTES` allows it."""
WINDOW_BYTES = 1 << 30
"""Bytes of decoded images up to which an automatic window grows: those of two windows, or of the whole dataset."""
GOOD_SHARE = 0.9
"""Share of the labels of a full shuffle below which a window is said not to mix."""
FEW_BLOCKS = 3
"""A window of so many blocks, or fewer, is never used without a word."""

_TARGET_SHARE = 0.95  # an automatic window grows until it has this share: above `GOOD_SHARE`, since both are estimates
_N_BATCHES, _LARGEST_BATCH = 32, 512  # batches that are drawn for an estimate, and the samples in one
_N_BINS = 32  # parts of the range of labels that are not classes
_WINDOWS, _EVERYTHING, _ORDER = 11, 12, 13  # streams of the draws; other than those of any epoch's order


@dataclass(frozen=True)
class Mix:
    """Estimate of how well windows mix.

    Attributes
    ----------
    in_window, in_full_shuffle : float
        Mean number of different labels in a batch.
    batch_size : int
        Samples in such a batch; at most 512.
    """

    in_window: float
    in_full_shuffle: float
    batch_size: int

    @property
    def share(self) -> float:
        """Labels of a batch as a share of those that it would have in a full shuffle, 0..1."""
        return min(1.0, self.in_window / self.in_full_shuffle)


def measure_mix(labels: NDArray | None, starts: NDArray[np.int64], blocks_per_window: int, batch_size: int) -> Mix | None:
    """Estimate how many different labels batches have if blocks are shuffled, and then the samples in windows of blocks.

    Parameters
    ----------
    labels : ndarray, shape (N, ...), or None
        Classes, one-hot rows, or numbers; the range of numbers that are not classes is divided into 32 parts of equal frequency.
    starts : ndarray of int64, shape (n_blocks + 1,)
        First sample of each block, then N.
    blocks_per_window : int
    batch_size : int

    Returns
    -------
    Mix or None
        None if there is no label of that kind for each sample.

    Notes
    -----
    The batches are drawn from windows of random blocks, by the hashes of `fastprep.sampling.hashing`. So the result depends on
    the arguments alone, and takes the same time for any number of samples.
    """
    n_samples, n_blocks = int(starts[-1]), len(starts) - 1
    if labels is None or len(labels) != n_samples or n_samples == 0:
        return None
    size = min(batch_size, _LARGEST_BATCH, n_samples)
    # a batch that is larger than a window reaches over several
    n_chosen = min(n_blocks, max(blocks_per_window, -(-size // largest_block(starts))))
    full = [_choose(n_samples, size, hashing.key(_EVERYTHING, k)) for k in range(_N_BATCHES)]
    windowed = [_choose_in_window(starts, n_chosen, size, k) for k in range(_N_BATCHES)]
    classify = _classifier(labels[np.concatenate(full)])
    if classify is None:
        return None
    return Mix(_mean_number(windowed, labels, classify), _mean_number(full, labels, classify), size)


def automatic_window(
    labels: NDArray | None,
    starts: NDArray[np.int64],
    block_bytes: int,
    batch_size: int,
    *,
    counted: int | None = None,
    decoded: int | None = None,
) -> int:
    """Return how many samples to shuffle together: as few blocks as mix well, as long as they take no more than 1 GiB.

    Parameters
    ----------
    labels : ndarray, shape (N, ...), or None
    starts : ndarray of int64, shape (n_blocks + 1,)
        First sample of each block, then N.
    block_bytes : int
        Size of the largest block, decoded.
    batch_size : int
    counted : int or None
        Samples by which a window's blocks are counted: those of the largest block of the whole dataset, where `starts` are those
        of draws from it. None: of the largest block of `starts`.
    decoded : int or None
        Images that are decoded with the largest block, of which the dataset may have a part. None: all are in the dataset.

    Returns
    -------
    int
        At least `WINDOW_SAMPLES`, whatever memory that takes, and a multiple of the samples of the largest block if it is more.
        Of a part of a file, at least so many blocks as of the whole file.
    """
    n_blocks, largest = len(starts) - 1, counted or largest_block(starts)
    least = -(-WINDOW_SAMPLES // (decoded or largest))
    most = n_blocks if n_blocks * block_bytes <= WINDOW_BYTES else max(least, WINDOW_BYTES // 2 // block_bytes)
    blocks = min(most, max(least, WINDOW_BLOCKS))
    while blocks < most:
        mix = measure_mix(labels, starts, blocks, batch_size)
        if mix is None or mix.share >= _TARGET_SHARE:
            break
        blocks = min(2 * blocks, most)
    if decoded is not None and decoded != largest:
        return blocks * largest
    return max(WINDOW_SAMPLES, blocks * largest) if blocks > least else WINDOW_SAMPLES


def largest_block(starts: NDArray[np.int64]) -> int:
    """Return the number of samples in the largest block."""
    return int(np.diff(starts).max())


def _choose(n_values: int, size: int, stream: int) -> NDArray[np.int64]:
    """Return `size` different numbers of 0..n_values-1."""
    return permute(np.arange(size, dtype=np.int64), n_values, stream)


def _choose_in_window(starts: NDArray[np.int64], blocks_per_window: int, size: int, number: int) -> NDArray[np.int64]:
    """Return samples of one batch out of a window of random blocks; fewer than `size` if the window has no more."""
    blocks = _choose(len(starts) - 1, blocks_per_window, hashing.key(_WINDOWS, number))
    ends = np.cumsum(np.diff(starts)[blocks])
    positions = _choose(int(ends[-1]), min(size, int(ends[-1])), hashing.key(_ORDER, number))
    k = np.searchsorted(ends, positions, side="right")
    return starts[blocks[k]] + positions - np.where(k > 0, ends[k - 1], 0)


def _classifier(shown: NDArray) -> Callable[[NDArray], NDArray] | None:
    """Return what turns labels like these into classes; None if they are not one number, or one class, for each sample."""
    if shown.dtype.kind not in "iufb":
        return None
    if shown[0].size != 1:
        is_one_hot = shown.ndim == 2 and bool(np.isin(shown, (0, 1)).all() and (shown.sum(axis=1) == 1).all())
        return (lambda labels: labels.argmax(axis=1)) if is_one_hot else None
    if np.array_equal(shown, np.rint(shown)):
        return lambda labels: labels
    edges = np.quantile(shown, np.linspace(0, 1, _N_BINS + 1)[1:-1])
    return lambda labels: np.searchsorted(edges, labels)


def _mean_number(batches: list[NDArray[np.int64]], labels: NDArray, classify: Callable[[NDArray], NDArray]) -> float:
    return float(np.mean([len(np.unique(classify(labels[batch]))) for batch in batches]))
