"""Hashes are those of the definition, in plain Python: nothing that was ever drawn changes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastprep.sampling import hashing, order

MASK = 2**64 - 1
GAMMA = 0x9E3779B97F4A7C15
KEYS = st.integers(0, MASK)
COUNTERS = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5)


def mixed(z):
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def hashed(stream, counter):
    return mixed(mixed((counter * GAMMA + stream) & MASK))


def drawn(stream, counter, n_values):
    return (hashed(stream, counter) >> 32) * n_values >> 32


@given(parts=st.lists(st.integers(-(2**70), 2**70), max_size=5))
def test_keys_are_those_of_the_definition(parts):
    state = 0
    for part in parts:
        state = mixed((state + GAMMA + part) & MASK)
    assert hashing.key(*parts) == state


@given(stream=KEYS, counters=COUNTERS, n_values=st.integers(1, 2**32))
def test_integers_are_those_of_the_definition(stream, counters, n_values):
    found = hashing.draw(stream, np.array(counters, np.int64), n_values)
    assert found.tolist() == [drawn(stream, counter, n_values) for counter in counters]
    assert found.dtype == np.int64


@given(stream=KEYS, counters=COUNTERS, seed=st.integers(0, 2**32))
def test_each_counter_may_have_its_own_number_of_values(stream, counters, seed):
    n_values = np.random.default_rng(seed).integers(1, 2**32, len(counters), endpoint=True)
    found = hashing.draw(stream, np.array(counters, np.int64), n_values)
    assert found.tolist() == [drawn(stream, counter, int(n)) for counter, n in zip(counters, n_values, strict=True)]


@given(streams=st.lists(KEYS, max_size=3), counters=COUNTERS)
def test_numbers_of_several_streams_are_those_of_the_definition(streams, counters):
    found = hashing.uniforms(streams, np.array(counters, np.int64))
    assert found.shape == (len(streams), len(counters))
    assert found.tolist() == [[(hashed(stream, counter) >> 11) * 2.0**-53 for counter in counters] for stream in streams]
    for stream, numbers in zip(streams, found, strict=True):
        np.testing.assert_array_equal(hashing.uniform(stream, np.array(counters, np.int64)), numbers)


@pytest.mark.parametrize("dtype", ["int32", "uint8", "uint64", "int64"])
def test_the_type_and_the_order_of_counters_do_not_matter(dtype):
    counters = np.arange(200).astype(dtype)
    wanted = [drawn(7, counter, 1000) for counter in range(200)]
    assert hashing.draw(7, counters, 1000).tolist() == wanted
    assert hashing.draw(7, counters[::-3], 1000).tolist() == wanted[::-3]


@given(counters=COUNTERS, streams=st.tuples(KEYS, KEYS, KEYS, KEYS), n_values=st.integers(1, 2**31))
def test_rows_of_several_draws_are_those_of_the_definition(counters, streams, n_values):
    own = np.arange(1, len(counters) + 1)
    draws = [(1, streams[0], n_values, 1), (2, streams[1], own, 1), (3, streams[2], 2, 1), (3, streams[3], 2, 2)]
    rows = hashing.draw_rows(np.array(counters, np.int64), draws)
    wanted = [
        [k, drawn(streams[0], c, n_values), drawn(streams[1], c, k + 1), drawn(streams[2], c, 2) + 2 * drawn(streams[3], c, 2)]
        for k, c in enumerate(counters)
    ]
    assert rows.dtype == np.int32
    assert rows.tolist() == wanted


def test_rows_of_many_draws_are_those_of_the_same_draws_one_by_one():
    counters = np.arange(10_000)  # enough for the lock to be given up meanwhile
    rows = hashing.draw_rows(counters, [(1, 7, 30, 1), (3, 8, 2, 4)])
    np.testing.assert_array_equal(rows[:, 0], counters)
    np.testing.assert_array_equal(rows[:, 1], hashing.draw(7, counters, 30))
    np.testing.assert_array_equal(rows[:, 2], 0)
    np.testing.assert_array_equal(rows[:, 3], 4 * hashing.draw(8, counters, 2))


@pytest.mark.parametrize(("column", "n_values"), [(4, 2), (-1, 2), (1, np.array([2, 3]))])
def test_draws_that_do_not_go_with_the_rows_are_an_error(column, n_values):
    with pytest.raises(ValueError, match=r"draws must be for columns 0\.\.3, with one number or 3, got column -?\d, \d"):
        hashing.draw_rows(np.arange(3), [(column, 1, n_values, 1)])


def test_many_numbers_at_once_are_those_drawn_a_few_at_a_time():
    counters, n_values = np.arange(10_000), np.arange(1, 10_001)
    parts = np.split(np.arange(10_000), 10)
    np.testing.assert_array_equal(
        hashing.draw(3, counters, n_values), np.concatenate([hashing.draw(3, counters[part], n_values[part]) for part in parts])
    )
    np.testing.assert_array_equal(hashing.uniform(3, counters), np.concatenate([hashing.uniform(3, part) for part in parts]))
    np.testing.assert_array_equal(
        order.permute(counters, 10_001, 5), np.concatenate([order.permute(part, 10_001, 5) for part in parts])
    )


def test_numbers_of_values_that_do_not_go_with_the_counters_are_an_error():
    with pytest.raises(ValueError, match="n_values must be one number, or one for each of 3 counters, got 2"):
        hashing.draw(0, np.arange(3), np.array([1, 2]))


@given(n_samples=st.integers(1, 2**62), stream=KEYS, seed=st.integers(0, 2**32))
def test_a_permutation_is_that_of_the_definition(n_samples, stream, seed):
    columns = math.isqrt(n_samples - 1) + 1
    rows = -(-n_samples // columns)
    keys = [hashing.key(stream, k) for k in range(8)]

    def moved(position):
        row, column = divmod(position, columns)
        for to_row, to_column in zip(keys[::2], keys[1::2], strict=True):
            row = (row + drawn(to_row, column, rows)) % rows
            column = (column + drawn(to_column, row, columns)) % columns
        position = row * columns + column
        return position if position < n_samples else moved(position)

    positions = np.random.default_rng(seed).integers(0, n_samples, (2, 3))
    found = order.permute(positions.T, n_samples, stream)
    assert found.tolist() == [[moved(int(position)) for position in three] for three in positions.T]
