"""Samples of each step, and the chunks that hold them: the functions of `order`, applied to the arguments of one loader."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from fastprep.sampling import order
from fastprep.sampling.checks import check_integer
from fastprep.sampling.weighted import BlockDraws, WeightedDraws


class Since(NamedTuple):
    """A point in an epoch: before a step, and after so many samples over all shards."""

    step: int
    seen: int


WHOLE_EPOCH = Since(0, 0)


@dataclass(frozen=True, eq=False)
class Sampler:
    """The steps of all epochs of one loader.

    Parameters
    ----------
    n_samples : int
        Samples of all shards together.
    batch_size : int
    shuffle : bool
    seed : int
    shard : (int, int)
        (rank, world).
    drop_remainder : bool
    shuffle_window : int
        Samples that are shuffled together where images share chunks; 0 for all of them.
    block_starts : ndarray of int64, shape (n_blocks + 1,), or None
        First sample of each block that is decoded as a whole, and then n_samples; None if every image is read alone.
    block_order : ndarray of int64, shape (n_samples,), or None
        Samples in the order to which `block_starts` refers; None if that is their own order.
    draws : WeightedDraws or None
        Draws with replacement, which are the samples of an epoch; None for each sample once. They need `shuffle`.
    """

    n_samples: int
    batch_size: int
    shuffle: bool
    seed: int
    shard: tuple[int, int]
    drop_remainder: bool
    shuffle_window: int
    block_starts: NDArray[np.int64] | None
    block_order: NDArray[np.int64] | None = None
    draws: WeightedDraws | None = None

    def __len__(self) -> int:
        """Count the steps of an epoch."""
        return self._n_steps

    @cached_property
    def _n_steps(self) -> int:
        return order.n_steps(self.n_samples, self.batch_size, self.shard, self.drop_remainder)

    def check_not_empty(self) -> None:
        """Check that an epoch has a batch.

        Raises
        ------
        ValueError
            If it has none.
        """
        if len(self) == 0:
            rank, world = self.shard
            raise ValueError(
                f"there is no batch: shard {rank} of {world} of {self.n_samples} samples, batch_size {self.batch_size}, "
                f"drop_remainder {self.drop_remainder}"
            )

    @cached_property
    def windows(self) -> order.Windows | None:
        """Blocks that are shuffled together; None if samples are not shuffled, or all alike."""
        if self.block_starts is None or not self.shuffle or not self.shuffle_window:
            return None
        return order.Windows(self.block_starts, max(1, -(-self.shuffle_window // self._largest_block)))

    def samples(self, epoch: int, step: int, since: Since = WHOLE_EPOCH) -> NDArray[np.int64]:
        """Return the sample ids of one step; `since` is for an epoch in which a run was resumed, see `resume`.

        Raises
        ------
        IndexError
            If there is no such step.
        """
        return self.samples_of(epoch, self.numbers(epoch, step, since))

    def numbers(self, epoch: int, step: int, since: Since = WHOLE_EPOCH) -> NDArray[np.int64]:
        """Return the numbers by which the crops of one step are drawn, none of which comes twice in an epoch.

        They are the sample ids or, of draws with replacement, the numbers of the draws, so that a sample that is drawn twice is
        cropped in two ways.

        Raises
        ------
        ValueError
            If the step is not an integer.
        IndexError
            If there is no such step.
        """
        check_integer("step", step)
        if not since.step <= step < len(self):
            raise IndexError(f"step must lie in {since.step}..{len(self) - 1}, got {step}")
        return self._numbers_at(epoch, self._positions(step, since))

    def numbers_of_steps(self, epoch: int, steps: range, since: Since = WHOLE_EPOCH) -> tuple[NDArray[np.int64], list[int]]:
        """Return the numbers of several steps that exist and follow each other, and how many each step has; see `numbers`."""
        positions = self._positions(steps[0], since, len(steps))
        counts = [self.batch_size] * (len(steps) - 1)
        return self._numbers_at(epoch, positions), [*counts, len(positions) - sum(counts)]  # the last may have fewer

    def _positions(self, step: int, since: Since, n_steps: int = 1) -> NDArray[np.int64]:
        return order.step_positions(self.n_samples, self.batch_size, step - since.step, self.shard, since.seen, n_steps)

    def _numbers_at(self, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        if not self.shuffle:
            return positions
        if self.windows is None:
            if self.draws is not None:
                return positions  # the draws are random, and so is their order
            return order.permute(positions, self.n_samples, order.epoch_stream(self.seed, epoch))
        windows, numbers = self._windows_of(epoch)
        ranks = windows.look_up(positions, order.epoch_stream(self.seed, epoch))
        return ranks if numbers is None else numbers[ranks]

    def samples_of(self, epoch: int, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the sample ids of some of the numbers that `numbers` returns for an epoch."""
        return numbers if self.draws is None else self.draws.samples(numbers, order.epoch_stream(self.seed, epoch))

    def seen(self, step: int, since: Since = WHOLE_EPOCH) -> int:
        """Return how many samples of an epoch come before a step, over all shards."""
        return min(self.n_samples, since.seen + (step - since.step) * self._stride)

    def is_over(self, seen: int) -> bool:
        """Tell whether no shard has a step left of an epoch after `seen` samples were read, over all shards."""
        longest = (0, self.shard[1])  # the share of the first rank is the largest
        return order.n_steps(self.n_samples, self.batch_size, longest, self.drop_remainder, seen) == 0

    def resume(self, seen: int) -> Since:
        """Return where an epoch goes on after its first samples were read, by any number of shards and in batches of any size.

        The steps that are left are the last ones of the epoch, so that it ends with step ``len(self) - 1`` as any other. A shard
        that has none of them gets step ``len(self)``, while the others go on.

        Parameters
        ----------
        seen : int
            Samples of the epoch that were read, over all shards.

        Returns
        -------
        Since
        """
        if seen % self._stride == 0:  # as if the epoch had begun with these shards and batches
            return Since(seen // self._stride, seen)
        left = order.n_steps(self.n_samples, self.batch_size, self.shard, self.drop_remainder, seen)
        return Since(len(self) - left, seen)

    def n_blocks_to_keep(self, ahead: int) -> int:
        """Return how many decoded blocks must stay in memory, with `ahead` steps under way, so that none is decoded twice."""
        windows, stride = self.windows, self._stride
        if windows is not None:
            blocks, under_way = windows.blocks_per_window, ahead * stride * (len(windows.starts) - 1) / self.n_samples
            # the window being read, or several if the steps under way reach over them; the next one, which is fetched
            # meanwhile; and what the steps under way fetch beyond it
            return (1 + math.ceil(under_way / blocks)) * blocks + math.ceil(under_way)
        if self.shuffle or self.block_starts is None:
            return 0
        # in file order the steps under way share their first and last blocks with their neighbours; those of a part of a file
        # may have few samples each
        starts = self.block_starts
        spanned = np.searchsorted(starts, starts[:-1] + ahead * stride, side="right") - 1 - np.arange(len(starts) - 1)
        return ahead + 1 + int(spanned.max())

    def due(self, epoch: int, step: int, since: Since = WHOLE_EPOCH) -> NDArray[np.int64]:
        """Return one sample of each block of the next window that is to be decoded during a step.

        The blocks are spread over the steps, so that no step waits for all of them.
        """
        if self.windows is None:
            return np.empty(0, np.int64)
        windows, numbers = self._windows_of(epoch)
        first, stop = self.seen(step, since), self.seen(step + 1, since)
        ranks = windows.starts[windows.share_of_next(first, stop, order.epoch_stream(self.seed, epoch))]
        return ranks if numbers is None else self.samples_of(epoch, numbers[ranks])

    def blocks_around(self, epoch: int, position: int) -> tuple[int, int, int]:
        """Return the blocks of the window of a position, and how many of the next one are due; see `Windows.around`."""
        return self._windows_of(epoch)[0].around(position, order.epoch_stream(self.seed, epoch))

    def samples_of_block(self, epoch: int, number: int) -> NDArray[np.int64]:
        """Return the sample ids of the block that comes at a place of an epoch's order; see `blocks_around`."""
        windows, numbers = self._windows_of(epoch)
        ranks = windows.samples_at(number, order.epoch_stream(self.seed, epoch))
        return ranks if numbers is None else self.samples_of(epoch, numbers[ranks])

    def window_of(self, blocks: int) -> int:
        """Return the `shuffle_window` that gives windows of so many blocks."""
        return blocks * self._largest_block

    def describe(self) -> str:
        """Describe in words how samples are shuffled."""
        if not self.shuffle:
            return "file order"
        windows = self.windows
        drawn = "" if self.draws is None else "samples drawn by weight, with replacement"
        if windows is None:
            return drawn or "all samples shuffled"
        blocks, total = windows.blocks_per_window, len(windows.starts) - 1
        drawn = drawn and f"{drawn}; "
        if blocks >= total:
            return f"{drawn}all samples shuffled, every chunk in memory"
        return f"{drawn}chunks shuffled, then the samples in windows of {blocks} of {total} chunks"

    def fingerprint(self) -> dict[str, Any]:
        """Return the values that decide in which order the samples of all shards come; JSON can hold them."""
        windows = self.windows
        return {
            "n_samples": self.n_samples,
            "shuffle": self.shuffle,
            "chunks_per_window": None if windows is None else windows.blocks_per_window,
            "seed": self.seed,
            **({} if windows is None else {"chunks": self._chunks}),
            **({} if self.draws is None else {"sampling": self.draws.digest()}),
        }

    def _windows_of(self, epoch: int) -> tuple[order.Windows, NDArray[np.int64] | None]:
        """Return the windows of an epoch, and the numbers in the order to which they refer; None for 0, 1, 2, ..."""
        if self._block_draws is None:
            return cast(order.Windows, self.windows), self.block_order
        return self._block_draws.epoch(order.epoch_stream(self.seed, epoch))

    @cached_property
    def _block_draws(self) -> BlockDraws | None:
        if self.draws is None or self.windows is None:
            return None
        return BlockDraws(self.draws, self.windows.starts, self.block_order, self.windows.blocks_per_window)

    @cached_property
    def _chunks(self) -> str:
        """What tells these blocks, whose bounds decide about the order, from others."""
        digest = hashlib.blake2b(cast(NDArray[np.int64], self.block_starts).tobytes(), digest_size=8)
        if self.block_order is not None:
            digest.update(self.block_order.tobytes())
        return (
            f"{len(cast(NDArray[np.int64], self.block_starts)) - 1} of up to {self._largest_block} images, {digest.hexdigest()}"
        )

    @cached_property
    def _largest_block(self) -> int:
        return int(np.diff(cast(NDArray[np.int64], self.block_starts)).max())

    @property
    def _stride(self) -> int:
        return self.batch_size * self.shard[1]  # samples of a step over all shards
