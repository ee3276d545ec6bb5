"""The comparison of a loader with what people write by hand: what is timed, and what the table says."""

import itertools

import numpy as np
import pytest

from fastprep.diagnostics import comparison
from fastprep.diagnostics.by_hand import Job


@pytest.fixture
def job(make_file):
    path, _, _ = make_file(n=8)
    return Job(str(path), 4, 9, np.zeros(3, "float32"))


def test_rates_are_images_by_the_clock_without_those_before_it(job):
    ticks = itertools.count()
    rates = comparison.compare_rates(job, False, rounds=3, seconds=4, clock=lambda: float(next(ticks)))
    assert rates == dict.fromkeys(["fastprep", "numpy by hand, images in memory", "a loop over images, as in the tutorial"], 4.0)
    # each of the three is timed thrice: two batches that do not count and four that do, and a look at the clock before both
    assert next(ticks) == 3 * 3 * (1 + 2 + 1 + 4)


def test_a_rate_is_the_median_of_the_rounds(job, monkeypatch):
    rates = iter([0, 5, 0, 60, 0, 1, 0, 70, 0, 9, 0, 80])  # what is taken before each timing does not count
    monkeypatch.setattr(comparison, "by_hand", lambda with_tensorflow: {"other": lambda job: itertools.repeat([0])})
    monkeypatch.setattr(comparison, "_take", lambda *arguments: next(rates))
    assert comparison.compare_rates(job, False, rounds=3) == {"fastprep": 5, "other": 70}


def test_the_table_says_how_long_an_accelerator_waits(job):
    *_, head, first, second, third = comparison.table({"fastprep": 25_000.0, "a loop": 2_500.4, "none": 10_000.0}, job)
    assert head == "          images/s  waiting"
    assert first == "fastprep    25,000       0%"
    assert second == "a loop       2,500      75%"
    assert third == "none        10,000       0%"


def test_the_table_says_if_none_is_too_slow(job):
    said = "All are fast enough for images this small; docs/benchmarks.md has larger ones."
    assert comparison.table({"fastprep": 25_000.0, "none": 10_000.0}, job)[-1] == said
    assert said not in comparison.table({"fastprep": 25_000.0, "none": 9_999.0}, job)


def test_the_table_fits_a_terminal():
    job = Job("fastprep-demo/cells-256/train.h5", 128, 227, np.zeros(1, "float32"))
    rates = dict.fromkeys(["fastprep", "a loop over images, as in the tutorial"], 1_000_000.0)
    assert max(map(len, comparison.table(rates, job))) < 80
