"""A file to read, and a table of ratios at the end. Rounds are interleaved: every contender runs once in each."""

from __future__ import annotations

import os
import platform
import statistics
import time
from dataclasses import dataclass

import numpy as np
import pytest
from protocol import warm

from fastprep.h5 import write_images

N_IMAGES = int(os.environ.get("FASTPREP_BENCH_IMAGES", "2048"))
ROUNDS = int(os.environ.get("FASTPREP_BENCH_ROUNDS", "7"))


@dataclass(frozen=True)
class Table:
    """Medians and spreads of one measurement, as ratios to the anchor's median.

    Attributes
    ----------
    values : dict of list of float
        Of each contender, one for each round, in `unit`.
    unit : {"images/s", "seconds"}
        Of seconds less is better.
    left_out : dict of str
        Contenders that could not take part, and why.
    """

    title: str
    values: dict[str, list[float]]
    anchor: str
    unit: str
    left_out: dict[str, str]


_tables: list[Table] = []
_lines: list[str] = []


@pytest.fixture(scope="session")
def n_images():
    """How many images a file has."""
    return N_IMAGES


@pytest.fixture(scope="session")
def line_at_the_end():
    """Return a function that takes a line for the end, before the tables."""
    return _lines.append


@pytest.fixture(scope="session")
def image_file(tmp_path_factory):
    """Path of a contiguous uint8 file; what the images show does not matter where nothing is compressed."""
    path = tmp_path_factory.mktemp("bench") / "images.h5"
    generator = np.random.default_rng(0)
    images = (generator.integers(0, 256, (256, 256, 3), dtype=np.uint8) for _ in range(N_IMAGES))
    write_images(path, images, np.arange(N_IMAGES) % 2)
    yield path
    path.unlink()


@pytest.fixture
def interleaved(benchmark, request):
    """Return a function that times contenders in turn, and notes the medians' ratios for the table at the end.

    Its arguments are a title, the contenders' epochs (functions of no arguments that return how many images they delivered),
    and the name of the anchor; then, by name:

    path : the file they read, by default that of `images`
    counts : how many images a contender's epoch has, for those that have other than N_IMAGES
    unit, left_out : see `Table`

    pytest-benchmark times the first contender; the others run in its setup, just before it in every round.
    """

    def measure(title, epochs, anchor, *, path=None, counts=None, unit="images/s", left_out=None):
        path = request.getfixturevalue("image_file") if path is None else path
        expected = dict.fromkeys(epochs, N_IMAGES) | (counts or {})
        seconds = {name: [] for name in epochs}
        first, *others = epochs

        def others_first():
            for name in others:
                warm(path)
                began = time.perf_counter()
                assert epochs[name]() == expected[name]
                seconds[name].append(time.perf_counter() - began)
            warm(path)

        def timed():
            began = time.perf_counter()
            assert epochs[first]() == expected[first]
            seconds[first].append(time.perf_counter() - began)

        for epoch in epochs.values():
            epoch()
        benchmark.pedantic(timed, setup=others_first, rounds=ROUNDS)
        rates = {name: [expected[name] / s for s in values] for name, values in seconds.items()}
        values = seconds if unit == "seconds" else rates
        benchmark.extra_info.update({name: statistics.median(of_rounds) for name, of_rounds in values.items()})
        _tables.append(Table(title, values, anchor, unit, left_out or {}))

    return measure


def pytest_terminal_summary(terminalreporter):
    for line in _lines:
        terminalreporter.write_line(line)
    for table in _tables:
        medians = {name: statistics.median(values) for name, values in table.values.items()}
        reference = medians[table.anchor]
        digits = 3 if table.unit == "seconds" else 0
        terminalreporter.write_sep("-", table.title)
        terminalreporter.write_line(f"{'':32}{table.unit:>12}{'of ' + table.anchor:>28}{'spread over rounds':>24}")
        for name in sorted(medians, key=medians.get, reverse=table.unit != "seconds"):
            ratio, low, high = (v / reference for v in (medians[name], min(table.values[name]), max(table.values[name])))
            numbers = f"{medians[name]:>12,.{digits}f}{ratio:>27.2f}x{low:>16.2f} - {high:.2f}"
            terminalreporter.write_line(f"{name:32}{numbers}")
        for name, reason in table.left_out.items():
            terminalreporter.write_line(f"{name:32}left out: {reason}")
    if _tables:
        terminalreporter.write_line(f"{N_IMAGES} images, {ROUNDS} rounds, {os.cpu_count()} processors, {platform.platform()}")
