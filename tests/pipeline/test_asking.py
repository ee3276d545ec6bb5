"""What is asked for ahead of remote files: all of an epoch, once, and what is needed first before the rest."""

import pickle

import numpy as np
import pytest

from fastprep.pipeline import asking
from fastprep.pipeline.asking import AskAhead
from fastprep.sampling import Sampler
from fastprep.sampling.sampler import WHOLE_EPOCH

N, BATCH, PER_BLOCK = 1000, 16, 20


class Asked:
    """A dataset that notes what is asked for."""

    def __init__(self):
        self.parts = []

    def complete(self, samples):
        """A file that is asked for is complete before that."""

    def ask_for(self, samples):
        self.parts.append(samples)

    def all(self):
        return np.concatenate([np.empty(0, np.int64), *self.parts])


def sampler_of(shuffle=True, window=100, shard=(0, 1)):
    starts = np.arange(0, N + 1, PER_BLOCK)
    return Sampler(N, BATCH, shuffle, 7, shard, False, window, starts if window else None)


@pytest.fixture(autouse=True)
def little_ahead(monkeypatch):
    monkeypatch.setattr(asking, "AHEAD_BYTES", 5000)  # of files of 100,000: 50 samples


@pytest.mark.parametrize("size", [1, 3])
def test_each_block_of_an_epoch_is_asked_for_once_and_before_it_is_needed(size):
    sampler, asked = sampler_of(), Asked()
    ahead = AskAhead(sampler, 100_000, None)
    for first in range(0, len(sampler), size):
        steps = range(first, min(first + size, len(sampler)))
        ahead.ask(asked, 3, steps, WHOLE_EPOCH)
        needed, _ = sampler.numbers_of_steps(3, steps)
        assert np.isin(needed, asked.all()).all()
    assert sorted(asked.all()) == list(range(N))
    assert all(len(part) == PER_BLOCK for part in asked.parts)


def test_the_window_comes_first_and_then_so_much_of_the_next_one():
    sampler, asked = sampler_of(), Asked()
    AskAhead(sampler, 100_000, None).ask(asked, 0, range(1), WHOLE_EPOCH)
    window = np.concatenate([sampler.samples(0, step) for step in range(7)])[:100]
    assert sorted(np.concatenate(asked.parts[:5])) == sorted(window)
    assert len(asked.parts) == 5 + 1 + 3  # the window, the part of the next one that is due, and 5,000 bytes


def test_steps_that_come_late_ask_for_nothing_again():
    sampler, asked = sampler_of(), Asked()
    ahead = AskAhead(sampler, 100_000, None)
    ahead.ask(asked, 0, range(8, 9), WHOLE_EPOCH)
    n = len(asked.parts)
    ahead.ask(asked, 0, range(7, 8), WHOLE_EPOCH)
    assert len(asked.parts) == n
    ahead.ask(asked, 1, range(1), WHOLE_EPOCH)  # another epoch does
    assert len(asked.parts) > n


def test_after_pickling_it_begins_anew():
    asked, again = Asked(), Asked()
    ahead = AskAhead(sampler_of(), 100_000, None)
    ahead.ask(asked, 0, range(1), WHOLE_EPOCH)
    pickle.loads(pickle.dumps(ahead)).ask(again, 0, range(1), WHOLE_EPOCH)
    assert again.all().tolist() == asked.all().tolist()


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("shard", [(0, 1), (1, 2)])
def test_without_windows_the_samples_of_the_next_steps_are_asked_for(shuffle, shard):
    sampler, asked = sampler_of(shuffle, 0, shard), Asked()
    ahead = AskAhead(sampler, 100_000, None)
    for step in range(len(sampler)):
        ahead.ask(asked, 2, range(step, step + 1), WHOLE_EPOCH)
        n_steps = len(asked.all()) / BATCH  # three steps of 1,600 bytes are 5,000
        assert min(step + 1 + 3 - 1, len(sampler)) - 1 < n_steps <= step + 1 + 3
    order = np.concatenate([sampler.samples(2, step) for step in range(len(sampler))])
    assert asked.all().tolist() == order.tolist()


def test_small_batches_in_file_order_are_asked_for_several_together(monkeypatch):
    monkeypatch.setattr(asking, "_TOGETHER_BYTES", 6400)
    monkeypatch.setattr(asking, "AHEAD_BYTES", 16_000)
    sampler, asked = sampler_of(shuffle=False, window=0), Asked()
    ahead = AskAhead(sampler, 100_000, None)
    for step in range(len(sampler)):
        ahead.ask(asked, 0, range(step, step + 1), WHOLE_EPOCH)
    assert [len(part) // BATCH for part in asked.parts] == [4] * 15 + [2]
    assert asked.all().tolist() == list(range(N))


def test_a_resumed_epoch_asks_for_what_is_left_of_it():
    sampler, asked = sampler_of(), Asked()
    since = sampler.resume(500)
    ahead = AskAhead(sampler, 100_000, None)
    for step in range(since.step, len(sampler)):
        ahead.ask(asked, 0, range(step, step + 1), since)
    left = np.concatenate([sampler.samples(0, step, since) for step in range(since.step, len(sampler))])
    assert np.isin(left, asked.all()).all()
    assert len(asked.all()) == 500


@pytest.mark.parametrize(("cache_bytes", "n_parts"), [(12_000, 0), (20_000, 5), (30_000, 5 + 1), (40_000, 5 + 1 + 3)])
def test_a_small_cache_is_asked_for_less(cache_bytes, n_parts):
    """What lies ahead must not push out what is being read, nor itself: blocks of 2,000 bytes in windows of five."""
    asked = Asked()
    AskAhead(sampler_of(), 100_000, cache_bytes).ask(asked, 0, range(1), WHOLE_EPOCH)
    assert len(asked.parts) == n_parts
