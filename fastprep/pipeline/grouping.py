"""Small batches, several of which are made at a time: what a batch takes besides its images then comes once for all of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastprep.dataset import map_outputs
from fastprep.dataset.nested import leaves
from fastprep.pipeline.batch import Batch
from fastprep.pipeline.buffers import ALIGNMENT
from fastprep.sampling import Sampler
from fastprep.system import usable_processors
from fastprep.transforms import Augmentation

MOST_BATCHES = 32
MOST_BYTES = 12 << 20
"""Bytes of a group at most; a loader with one thread has five such buffers."""
TARGET_S = 0.004
"""Seconds that a group may take. Where batches take longer, as on a slow disk, nobody is to wait for several of them."""
MOST_GROWTH = 1.5
"""How many times as long a batch is taken to last after one that lasted longer. Where many threads share few processors,
each waits for the others, and that is no reason for smaller groups."""
FEWEST_BATCHES = 4
"""Batches of a group at least near the end of an epoch, where all threads are to have something to do: a group takes as long as
some batches, whatever is in it."""
SHORTEST_S = 1e-5
"""Seconds that a batch lasts at least, from which that growth begins."""


class Grouping:
    """How many batches are made at a time, by how long the last ones took.

    Parameters
    ----------
    most : int
        Batches in a group at most; 1 for no groups.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._batch_s = math.inf

    def size(self, n_left: int, n_threads: int) -> int:
        """Return the number of batches in the next group of an epoch.

        Parameters
        ----------
        n_left : int
            Batches that are left of the epoch.
        n_threads : int
            Threads that share them.
        """
        if self.most == 1:
            return 1
        return max(1, min(self.most, _share(n_left, n_threads), int(TARGET_S / self._batch_s) if self._batch_s else self.most))

    def note(self, n_batches: int, seconds: float) -> None:
        """Note how long a group took. Threads may do so at the same time, and one of the two is then forgotten."""
        self._batch_s = min(seconds / n_batches, MOST_GROWTH * max(self._batch_s, SHORTEST_S))


def most_in_group(
    batch_bytes: int, n_threads: int, augmentation: Augmentation, sampler: Sampler, has_sizes: bool, *of_samples: Any
) -> int:
    """Return how many batches may be made at a time on the CPU.

    Parameters
    ----------
    batch_bytes : int
        Size of x of a whole batch.
    n_threads : int
    augmentation : Augmentation
    sampler : Sampler
    has_sizes : bool
        Whether images have different sizes.
    *of_samples : ndarray, or a tuple or dict of such, or None
        Labels and weights, each with a row for each sample; other things are none that can be divided.

    Returns
    -------
    int
        1 where batches are made one by one: they are large, few, blended, or of images that are decoded together.
    """
    is_divisible = all(isinstance(values, np.ndarray) for values in leaves(*of_samples) if values is not None)
    suits = augmentation.blend is None and sampler.block_starts is None and is_divisible and not has_sizes
    if not suits or batch_bytes % ALIGNMENT:  # each batch of a group has to begin where consumers take it
        return 1
    return max(1, min(MOST_BATCHES, MOST_BYTES // batch_bytes, _share(len(sampler), useful_threads(n_threads))))


def useful_threads(n_threads: int) -> int:
    """Return how many of some threads may be at work on groups of batches: these wait for processors, and not for disks."""
    return min(n_threads, usable_processors())


def divide(group: Batch, counts: Sequence[int], n_crops: int) -> list[Batch]:
    """Return the batches of a group, which share its buffer.

    Parameters
    ----------
    group : Batch
        Of one input.
    counts : sequence of int
        Samples of each batch.
    n_crops : int
        Rows of each sample.
    """
    stops = list(itertools.accumulate(counts))
    samples = [slice(stop - n, stop) for n, stop in zip(counts, stops, strict=True)]
    rows = samples if n_crops == 1 else [slice(own.start * n_crops, own.stop * n_crops) for own in samples]
    row_bytes = group.x[:1].nbytes
    replaced = [own if own is not None and own.any() else None for own in _each(group.replaced, samples)]
    parts = zip(_each(group.x, rows), _each(group.y, rows), _each(group.weights, rows), replaced, rows, strict=True)
    return [Batch(x, y, weights, group.lease, kept, (), own.start * row_bytes) for x, y, weights, kept, own in parts]


def _each(values: Any, parts: list[slice]) -> list[Any]:
    """Return the rows of each part of labels or weights, in their structure; None for each, where there are none."""
    if values is None:
        return [None] * len(parts)
    if isinstance(values, np.ndarray):
        return [values[part] for part in parts]
    return [map_outputs(lambda own, part=part: own[part], values) for part in parts]


def _share(n_left: int, n_threads: int) -> int:
    """Return how many batches a thread may take at a time, so that all have something to do until the end of the epoch.

    Each takes its part of what is left (guided self-scheduling; Polychronopoulos and Kuck 1987).
    """
    return max(-(-n_left // n_threads), min(FEWEST_BATCHES, n_left))
