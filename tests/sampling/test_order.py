"""Orders are permutations: each sample comes once over all shards, and the order is the same for any batch size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastprep.sampling import hashing, order


def epoch_of(n, batch_size, shard=(0, 1), **options):
    steps = order.n_steps(n, batch_size, shard)
    parts = [order.step_samples(n, batch_size, s, shard=shard, **options) for s in range(steps)]
    assert all(len(p) == batch_size for p in parts[:-1])
    return np.concatenate([np.empty(0, np.int64), *parts])


@pytest.mark.parametrize("n", [*range(1, 70), 1000, 4096, 4097])
def test_permute_is_a_permutation(n):
    assert sorted(order.permute(np.arange(n), n, hashing.key(1, n)).tolist()) == list(range(n))


def test_permutations_are_spread_evenly():
    """Each of the 24 orders of four samples comes about equally often, over seeds."""
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(2400):
        key = tuple(order.permute(np.arange(4), 4, hashing.key(seed, 0)).tolist())
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 24
    # chi-square with 23 degrees of freedom exceeds 50 with probability 1e-3; the seeds are fixed
    assert sum((c - 100) ** 2 / 100 for c in counts.values()) < 50


def test_neighbours_in_the_file_do_not_stay_neighbours():
    n = 10_000
    permuted = order.permute(np.arange(n), n, hashing.key(5))
    assert abs(np.corrcoef(np.arange(n), permuted)[0, 1]) < 0.03
    assert (np.abs(np.diff(permuted)) == 1).sum() < 10  # 2 expected


@given(
    n=st.integers(1, 300), batch_size=st.integers(1, 50), world=st.integers(1, 5), shuffle=st.booleans(), epoch=st.integers(0, 9)
)
def test_every_sample_exactly_once_over_all_shards(n, batch_size, world, shuffle, epoch):
    options = {"shuffle": shuffle, "seed": 4, "epoch": epoch}
    shards = [epoch_of(n, batch_size, (rank, world), **options) for rank in range(world)]
    assert sorted(np.concatenate(shards).tolist()) == list(range(n))
    whole = epoch_of(n, batch_size, **options)
    np.testing.assert_array_equal(whole, epoch_of(n, 7, **options))
    for rank, shard in enumerate(shards):
        np.testing.assert_array_equal(shard, whole[rank::world])
    if not shuffle:
        np.testing.assert_array_equal(whole, np.arange(n))


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = {tuple(epoch_of(50, 8, shuffle=True, seed=s, epoch=e).tolist()) for s in range(5) for e in range(5)}
    assert len(orders) == 25


def test_the_remainder_can_be_dropped():
    assert order.n_steps(23, 5) == 5
    assert order.n_steps(23, 5, drop_remainder=True) == 4
    assert order.n_steps(23, 5, shard=(0, 2)) == 3
    assert order.n_steps(3, 5, drop_remainder=True) == 0
    assert [order.n_steps(21, 5, shard=(rank, 2), drop_remainder=True) for rank in range(2)] == [2, 2]
    assert [order.n_steps(9, 5, shard=(rank, 2), drop_remainder=True) for rank in range(2)] == [0, 0]  # rank 0 could fill one


def test_a_stretch_of_a_huge_order_costs_nothing():
    n = 10**12
    samples = order.step_samples(n, 256, n // 256 - 1, shuffle=True, seed=1, epoch=1)
    assert len(set(samples.tolist())) == 256
    assert samples.min() >= 0
    assert samples.max() < n


def test_orders_stay_what_they_were_in_the_first_release():
    """A change here changes every user's epochs: it needs a line in the changelog."""
    assert epoch_of(10, 4, shuffle=True, seed=7, epoch=3).tolist() == [0, 7, 4, 9, 6, 5, 8, 3, 2, 1]


# --- windows of blocks


@st.composite
def windows(draw):
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=25))
    return order.Windows(np.cumsum([0, *sizes]), draw(st.integers(1, 30)))


@given(windows=windows(), batch_size=st.integers(1, 20), world=st.integers(1, 3), epoch=st.integers(0, 3))
def test_windows_give_every_sample_once_and_no_block_in_two_windows(windows, batch_size, world, epoch):
    n = int(windows.starts[-1])
    options = {"shuffle": True, "seed": 2, "epoch": epoch, "windows": windows}
    whole = epoch_of(n, n, **options)
    assert sorted(whole.tolist()) == list(range(n))
    np.testing.assert_array_equal(whole, epoch_of(n, batch_size, **options))
    for rank in range(world):
        np.testing.assert_array_equal(epoch_of(n, batch_size, (rank, world), **options), whole[rank::world])
    block_of = np.searchsorted(windows.starts, whole, side="right") - 1
    seen, place = set(), 0
    while place < n:
        window, length = [], 0
        while place + length < n and (len(window) < windows.blocks_per_window or block_of[place + length] in window):
            if block_of[place + length] not in window:
                window.append(int(block_of[place + length]))
            length += 1
        assert not seen & set(window)
        assert length == sum(windows.starts[b + 1] - windows.starts[b] for b in window)  # whole blocks
        seen |= set(window)
        place += length


@given(windows=windows(), stride=st.integers(1, 40))
def test_each_block_but_the_first_windows_is_due_once(windows, stride):
    n = int(windows.starts[-1])
    stream = order.epoch_stream(1, 0)
    due = [windows.share_of_next(p, min(p + stride, n), stream) for p in range(0, n, stride)]
    blocks, _ = windows._shuffled(stream)
    assert np.concatenate(due).tolist() == blocks[windows.blocks_per_window :].tolist()


def test_windows_shuffle_blocks_and_samples():
    windows = order.Windows(np.arange(0, 3201, 32), 10)
    one, two = (epoch_of(3200, 3200, shuffle=True, seed=1, epoch=e, windows=windows) for e in (0, 1))
    assert not np.array_equal(one, two)
    for samples in (one, two):
        assert abs(np.corrcoef(np.arange(320), samples[:320])[0, 1]) < 0.2
        assert len(set((samples[:128] // 32).tolist())) == 10  # a batch mixes all blocks of its window
