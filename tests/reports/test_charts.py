"""Charts: every number has its place inside, whatever the numbers are, and a thousand epochs do not make a large page."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastprep.reports.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Line, chart_of_epochs
from fastprep.reports.scales import scale_of, whole_numbers

NUMBERS = st.one_of(st.none(), st.floats(), st.floats(0, 1))


def points_of(chart):
    lines = re.findall(r'points="([^"]*)"', chart)
    pairs = [tuple(map(float, pair.split(","))) for line in lines for pair in line.split()]
    return pairs + [tuple(map(float, pair)) for pair in re.findall(r'cx="([^"]*)" cy="([^"]*)"', chart)]


@given(st.lists(NUMBERS, min_size=1, max_size=80), st.booleans(), st.booleans(), st.booleans())
def test_any_numbers_lie_inside_the_axes(values, may_be_log, is_percent, from_zero):
    chart = chart_of_epochs("x", [Line("y", values)], may_be_log=may_be_log, is_percent=is_percent, from_zero=from_zero, best=1)
    known = [value for value in values if value is not None and math.isfinite(value) and abs(value) < 1e100]
    assert bool(chart) == bool(known)
    for x, y in points_of(chart):
        assert LEFT - 0.1 <= x <= WIDTH - RIGHT + 0.1
        assert TOP - 0.1 <= y <= HEIGHT - BOTTOM + 0.1
    assert "nan" not in chart


@pytest.mark.parametrize(
    ("values", "options", "ticks"),
    [
        ([0.0, 1.0], {}, ["0", "0.25", "0.5", "0.75", "1"]),
        ([0.613, 0.905], {"is_percent": True}, ["60%", "70%", "80%", "90%", "100%"]),
        ([0.9951, 0.9979], {"is_percent": True}, ["99.5%", "99.6%", "99.7%", "99.8%"]),
        ([440.0, 500.0], {"from_zero": True}, ["0", "200", "400", "600"]),
        ([1e-6, 1e-3], {"may_be_log": True}, ["1e-06", "1e-05", "0.0001", "0.001"]),
        ([0.1, 4.0], {"may_be_log": True}, ["0.1", "0.2", "0.5", "1", "2"]),
        ([0.5], {}, ["0.2", "0.4", "0.6", "0.8"]),
        ([0.0], {}, ["0", "0.2", "0.4", "0.6"]),
        ([12000.0, 48000.0], {}, ["10,000", "20,000", "30,000", "40,000", "50,000"]),
    ],
)
def test_ticks_are_round_numbers(values, options, ticks):
    scale = scale_of(values, **options)
    assert [scale.label(tick) for tick in scale.ticks] == ticks


@pytest.mark.parametrize(
    ("last", "ticks"),
    [(1, [1]), (2, [1, 2]), (30, [1, 5, 10, 15, 20, 25, 30]), (75, [1, 20, 40, 60]), (1000, [1, 200, 400, 600, 800, 1000])],
)
def test_epochs_have_whole_numbers(last, ticks):
    assert list(whole_numbers(1, last).ticks) == ticks


def test_gaps_part_a_line_and_the_highest_and_lowest_of_many_stay():
    parted = chart_of_epochs("x", [Line("y", [1, 2, None, 3, math.nan, 4, 5])])
    assert parted.count("<polyline") == 2
    assert parted.count("<circle") == 5
    values = [0.5] * 5000
    values[1234], values[4321] = 1.0, 0.0
    chart = chart_of_epochs("x", [Line("y", values)])
    assert len(chart) < 10_000
    heights = [y for _, y in points_of(chart)]
    assert (min(heights), max(heights)) == (TOP, HEIGHT - BOTTOM)


def test_a_point_tells_its_number():
    assert "<title>validation, epoch 2: 75.00%</title>" in chart_of_epochs(
        "x", [Line("validation", [0.5, 0.75])], is_percent=True
    )
