"""How many chunks an automatic window has, and the estimate of how well windows mix the labels."""

import numpy as np
import pytest

from fastprep.sampling import Sampler, mixing
from fastprep.sampling.mixing import automatic_window, measure_mix

N, BLOCK = 20_000, 1_000
STARTS = np.append(np.arange(0, N, BLOCK), N)
SORTED = np.repeat(np.arange(10), N // 10)
MIB = 2**20


def different_labels(labels, starts, window, batch_size=128):
    """Return the mean number of different labels in the batches of an epoch."""
    sampler = Sampler(len(labels), batch_size, True, 3, (0, 1), True, window, starts)
    return np.mean([len(np.unique(labels[sampler.samples(0, step)])) for step in range(len(sampler))])


@pytest.mark.parametrize(
    ("labels", "count"),
    [
        (SORTED, lambda y: len(np.unique(y))),
        (SORTED >= 5, lambda y: len(np.unique(y))),
        (np.eye(10, dtype=np.float32)[SORTED], lambda y: len(np.unique(y.argmax(1)))),
        (SORTED[:, None].astype(np.uint8), lambda y: len(np.unique(y))),
    ],
    ids=["classes", "two classes", "one-hot rows", "a column"],
)
@pytest.mark.parametrize("blocks", [1, 3, 10])
def test_the_estimate_is_what_an_epoch_has(labels, count, blocks):
    mix = measure_mix(labels, STARTS, blocks, 128)
    for window, estimate in ((blocks * BLOCK, mix.in_window), (0, mix.in_full_shuffle)):
        sampler = Sampler(N, 128, True, 3, (0, 1), True, window, STARTS)
        found = np.mean([count(labels[sampler.samples(0, step)]) for step in range(len(sampler))])
        # the epoch has one window for each set of blocks, the estimate 32 random ones: with few windows they differ
        assert estimate == pytest.approx(found, rel=0.25)
    assert 0 < mix.share <= 1


def test_numbers_that_are_no_classes_are_judged_by_parts_of_their_range():
    values = np.linspace(0, 1, N)
    assert measure_mix(values, STARTS, 1, 128).share < 0.2
    assert measure_mix(np.random.default_rng(0).permutation(values), STARTS, 1, 128).share > 0.95


def test_a_batch_larger_than_a_window_reaches_over_several():
    few = np.append(np.arange(0, N, 8), N)
    assert measure_mix(SORTED, few, 1, 128).in_window > 6  # 16 blocks


@pytest.mark.parametrize("labels", [None, np.zeros((N, 4, 4)), np.zeros((N, 2)), np.zeros(N - 1), np.full(N, "cat")])
def test_other_labels_are_not_judged(labels):
    assert measure_mix(labels, STARTS, 1, 128) is None


def test_the_estimate_does_not_grow_with_the_dataset():
    starts = np.arange(0, 10**9 + 1, 10**6)
    labels = np.broadcast_to(np.int8(1), (10**9,))
    assert measure_mix(labels, starts, 1000, 128).share == 1


def test_windows_that_mix_stay_at_2048_samples():
    small = np.append(np.arange(0, N, 8), N)
    for labels in (SORTED, None):
        assert automatic_window(labels, small, 8 * MIB, 128) == 2048  # whatever memory that takes
        assert automatic_window(labels, small, 1, 128) == 2048


@pytest.mark.parametrize("labels", [SORTED, None, np.random.default_rng(0).permutation(SORTED)], ids=["sorted", "none", "random"])
def test_windows_have_several_blocks_as_long_as_memory_allows_it(labels):
    assert automatic_window(labels, STARTS, MIB, 128) == N
    assert automatic_window(labels, STARTS, 52 * MIB, 128) in (9_000, N)  # 1,040 MiB in all: half of the bound for each window
    assert automatic_window(labels, STARTS, 1024 * MIB, 128) == 2048


def test_windows_of_sorted_classes_grow_until_they_mix(monkeypatch):
    labels, starts = np.repeat(np.arange(1000), 100), np.arange(0, 100_001, 50)
    window = automatic_window(labels, starts, MIB // 8, 128)
    full = different_labels(labels, starts, 0)
    assert different_labels(labels, starts, 2048) < 0.5 * full
    assert different_labels(labels, starts, window) >= 0.9 * full
    assert 2048 < window < len(labels)
    monkeypatch.setattr(mixing, "WINDOW_BYTES", 100 * MIB // 8)  # 50 blocks for each of two windows
    assert automatic_window(labels, starts, MIB // 8, 128) == 50 * 50
