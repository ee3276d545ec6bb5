"""A file to read, and a table of ratios at the end. Rounds are interleaved: every contender runs once in each."""

from __future__ import annotations

import os
import platform
import statistics
import time

import numpy as np
import pytest

from fastprep.h5 import write_images

N_IMAGES = int(os.environ.get("FASTPREP_BENCH_IMAGES", "2048"))
ROUNDS = int(os.environ.get("FASTPREP_BENCH_ROUNDS", "7"))

_tables: list[tuple[str, dict[str, list[float]], str]] = []


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Path of a contiguous uint8 file; what the pictures show does not matter where nothing is compressed."""
    path = tmp_path_factory.mktemp("bench") / "pictures.h5"
    generator = np.random.default_rng(0)
    images = (generator.integers(0, 256, (256, 256, 3), dtype=np.uint8) for _ in range(N_IMAGES))
    write_images(path, images, np.arange(N_IMAGES) % 2)
    yield path
    path.unlink()


@pytest.fixture
def interleaved(benchmark, pictures):
    """Return a function that times contenders in turn, and notes the medians' ratios for the table at the end.

    pytest-benchmark times the first contender; the others run in its setup, just before it in every round.
    """

    def measure(title, epochs, anchor):
        seconds = {name: [] for name in epochs}
        first, *others = epochs

        def others_first():
            for name in others:
                _warm(pictures)
                began = time.perf_counter()
                assert epochs[name]() == N_IMAGES
                seconds[name].append(time.perf_counter() - began)
            _warm(pictures)

        def timed():
            began = time.perf_counter()
            assert epochs[first]() == N_IMAGES
            seconds[first].append(time.perf_counter() - began)

        for epoch in epochs.values():
            epoch()
        benchmark.pedantic(timed, setup=others_first, rounds=ROUNDS)
        rates = {name: [N_IMAGES / s for s in values] for name, values in seconds.items()}
        benchmark.extra_info.update({name: statistics.median(values) for name, values in rates.items()})
        _tables.append((title, rates, anchor))

    return measure


def _warm(path):
    # on virtual machines pages that were idle for a minute may have left the page cache
    with open(path, "rb", buffering=0) as file:
        while file.read(1 << 24):
            pass


def pytest_terminal_summary(terminalreporter):
    for title, rates, anchor in _tables:
        reference = statistics.median(rates[anchor])
        terminalreporter.write_sep("-", title)
        terminalreporter.write_line(f"{'':32}{'of ' + anchor:>28}{'spread over rounds':>24}")
        for name, values in sorted(rates.items(), key=lambda item: -statistics.median(item[1])):
            ratio, low, high = (v / reference for v in (statistics.median(values), min(values), max(values)))
            terminalreporter.write_line(f"{name:32}{ratio:>27.2f}x{low:>16.2f} - {high:.2f}")
    if _tables:
        terminalreporter.write_line(f"{N_IMAGES} pictures, {ROUNDS} rounds, {os.cpu_count()} processors, {platform.platform()}")
