"""What is asked for ahead of remote files, so that requests are under way while batches are made."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.dataset import Dataset
from fastprep.sampling import Sampler
from fastprep.sampling.sampler import Since
from fastprep.system import begin_in_children

AHEAD_BYTES = 128 << 20
"""Bytes that are asked for beyond what the steps under way need, about: several times bandwidth times delay."""

_SHARE_OF_CACHE = 0.75  # that what is asked for may take with what is being read
_TOGETHER_BYTES = 8 << 20  # of steps that are asked for together, so that requests in file order are not small
_MOST_EPOCHS = 4  # that are remembered: an epoch is read once, and few are read at a time


class AskAhead:
    """Which samples the store is asked for when the batches of a step are about to be made; each is asked for once an epoch.

    Where samples are shuffled in windows, these are the blocks of the window, those of the next one in proportion to how far the
    step is in its own, and some more; otherwise the samples of the steps that follow. The first step of an iteration asks for all
    that it needs itself, and then for what lies ahead.

    Parameters
    ----------
    sampler : Sampler
    n_bytes : int
        Bytes of the files of the dataset.
    cache_bytes : int or None
        Bytes that the mirrors of the files may hold; None for no bound.
    """

    def __init__(self, sampler: Sampler, n_bytes: int, cache_bytes: int | None) -> None:
        self._sampler = sampler
        room = n_bytes if cache_bytes is None else int(cache_bytes * _SHARE_OF_CACHE)
        windows = sampler.windows
        if windows is None:
            size = max(1, n_bytes * sampler.batch_size // sampler.n_samples)
            self._n_ahead = min(AHEAD_BYTES, room // 4) // size
            self._n_beyond = 0
            self._n_together = max(1, min(self._n_ahead // 2, _TOGETHER_BYTES // size))
        else:
            self._n_blocks = len(windows.starts) - 1
            size = max(1, n_bytes // self._n_blocks)
            self._n_ahead = -(-AHEAD_BYTES // size)
            # blocks of the window before are let go of after those that are ahead, because they were used later
            n_blocks, in_window = room // size, windows.blocks_per_window
            self._n_beyond = -1 if n_blocks < in_window else max(0, n_blocks - 2 * in_window)
        begin_in_children(self)

    def begin(self) -> None:
        """Begin anew, with a lock that no other thread holds."""
        self._lock = threading.Lock()
        self._asked: dict[int, int] = {}  # by epoch: the block, or the step, up to which was asked for

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_lock", "_asked")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        begin_in_children(self)

    def ask(self, dataset: Dataset, epoch: int, steps: range, since: Since) -> None:
        """Ask for what is due before some steps are made, without waiting for it.

        Other threads that are about to make steps wait until all of it is asked for: what they would miss they would ask for
        themselves, image by image.
        """
        with self._lock:
            due = list(self._due(epoch, steps, since))
            if due:
                dataset.complete(np.concatenate(due))
            for samples in due:
                dataset.ask_for(samples)

    def _due(self, epoch: int, steps: range, since: Since) -> Iterator[NDArray[np.int64]]:
        """Yield the samples that are due, in parts that are asked for one after another."""
        if self._n_beyond < 0:  # a window is larger than the cache
            return
        windowed = self._sampler.windows is not None
        first, stop = self._blocks(epoch, steps, since) if windowed else self._steps(steps)
        asked = self._asked.get(epoch, 0)
        self._asked[epoch] = max(asked, stop)
        while len(self._asked) > _MOST_EPOCHS:
            del self._asked[min(self._asked)]
        first = max(first, asked)
        if windowed:
            for number in range(first, stop):
                yield self._sampler.samples_of_block(epoch, number)
        else:
            for step in range(first, stop, self._n_together):
                several = range(step, min(step + self._n_together, stop))
                yield self._sampler.samples_of(epoch, self._sampler.numbers_of_steps(epoch, several, since)[0])

    def _steps(self, steps: range) -> tuple[int, int]:
        """Return the first step to ask for, and the one up to which is asked for: several together."""
        stop = (steps[-1] + 1 + self._n_ahead) // self._n_together * self._n_together
        return steps[0], min(len(self._sampler), max(steps[-1] + 1, stop))

    def _blocks(self, epoch: int, steps: range, since: Since) -> tuple[int, int]:
        """Return the first block of the window of steps, and the block up to which is asked for, in the order of the epoch."""
        begin, end = self._sampler.seen(steps[0], since), self._sampler.seen(steps[-1] + 1, since)
        first, _, _ = self._sampler.blocks_around(epoch, begin)
        _, stop, n_next = self._sampler.blocks_around(epoch, max(begin, end - 1))
        return first, min(self._n_blocks, stop + min(n_next + self._n_ahead, self._n_beyond))


def asking_for(dataset: Dataset, sampler: Sampler) -> AskAhead | None:
    """Return what asks for the bytes of a dataset ahead; None if no file of it is remote."""
    files = dataset.remote_files
    if not files:
        return None
    bounds = [bound for file in files if (bound := file.cache_bytes) is not None]
    return AskAhead(sampler, sum(file.size for file in files), min(bounds, default=None))
