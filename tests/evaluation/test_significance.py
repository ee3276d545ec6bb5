"""Confidence intervals and paired tests, against published numbers and against counting in the most obvious form."""

import itertools
import math

import numpy as np
import pytest

from fastprep.evaluation.significance import compare, interval


@pytest.mark.parametrize(
    ("n_right", "n", "ends"),
    [  # Robert G. Newcombe, Statistics in Medicine 17, 1998, table I, method 3: four decimals
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_intervals_of_a_published_comparison_of_methods(n_right, n, ends):
    assert interval(n_right, n) == pytest.approx(ends, abs=5e-5)
    low, high = interval(n - n_right, n)
    assert (1 - high, 1 - low) == pytest.approx(ends, abs=5e-5)


def test_the_ends_solve_the_equation_that_defines_them():
    for n_right, n in ((3, 10), (500, 656), (999_999, 1_000_000)):
        for end in interval(n_right, n):
            assert abs(n_right / n - end) == pytest.approx(1.959963984540054 * math.sqrt(end * (1 - end) / n), rel=1e-6)


def obvious_p(only_first, only_second):
    """The share of all throws of so many coins that are at least as uneven."""
    n = only_first + only_second
    uneven = abs(only_first - only_second)
    throws = [sum(coins) for coins in itertools.product((0, 1), repeat=n)]
    return np.mean([abs(heads - (n - heads)) >= uneven for heads in throws])


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (1, 0), (0, 1), (5, 5), (2, 9), (11, 1), (6, 7), (0, 12)])
def test_p_is_the_share_of_throws_of_coins(only_first, only_second):
    first = np.array([True] * only_first + [False] * only_second + [True] * 7 + [False] * 4)
    second = np.array([False] * only_first + [True] * only_second + [True] * 7 + [False] * 4)
    found = compare(first, second)
    assert (found.only_first, found.only_second) == (only_first, only_second)
    assert found.p == pytest.approx(obvious_p(only_first, only_second), rel=1e-12)
    assert compare(second, first).p == found.p


def test_large_counts_neither_overflow_nor_vanish():
    first = np.repeat([True, False], [51_000, 49_000])
    p = compare(first, ~first).p
    z = (1000 - 0.5) / math.sqrt(25_000)  # the normal approximation with its correction
    assert p == pytest.approx(math.erfc(z / math.sqrt(2)), rel=1e-3)
