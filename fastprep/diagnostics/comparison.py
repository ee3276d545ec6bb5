"""The rate of a loader beside those of what people write by hand, on one file and in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from fastprep.diagnostics.by_hand import Job, by_hand
from fastprep.loader import Loader
from fastprep.transforms import RandomCrop

ACCELERATOR = 10_000
"""Images a second that the accelerator of a comparison takes."""


def compare_rates(
    job: Job,
    with_tensorflow: bool,
    rounds: int = 5,
    seconds: float = 0.2,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Time batches of random mirrored crops, made by fastprep and by hand, in turn.

    Parameters
    ----------
    job : Job
    with_tensorflow : bool
        Whether tf.data takes part.
    rounds : int
        Number of timings of each.
    seconds : float
        Length of a timing. Half as much goes before it, so that batches prepared while others had their turn do not count.
    clock : callable

    Returns
    -------
    dict of float
        Images a second, medians over the rounds; fastprep first, the others as `by_hand` has them.
    """
    rates: dict[str, list[float]] = {}
    crop = RandomCrop(job.size, mirror=True)
    with closing(Loader(job.path, job.batch_size, crop, shuffle=True, mean=job.mean, labels=None, device="cpu")) as loader:
        contenders = {"fastprep": _endless(loader)} | {name: way(job) for name, way in by_hand(with_tensorflow).items()}
        for batches in contenders.values():
            next(batches)  # opens, reads or compiles
        for _ in range(rounds):
            for name, batches in contenders.items():
                _take(batches, job, seconds / 2, clock)
                rates.setdefault(name, []).append(_take(batches, job, seconds, clock))
    return {name: statistics.median(values) for name, values in rates.items()}


def table(rates: dict[str, float], job: Job) -> list[str]:
    """Return a table of the rates, and of the share of an epoch that an accelerator would wait for images."""
    width = max(map(len, rates))
    lines = [
        f"Speed here, for batches of {job.batch_size} random mirrored crops of {job.size}x{job.size} pixels,",
        f"float32 without the mean, from {job.path}; and the share",
        f"of an epoch that an accelerator of {ACCELERATOR:,} images/s would wait for them:",
        "",
        f"{'':{width}}  images/s  waiting",
    ]
    for name, rate in rates.items():
        lines.append(f"{name:{width}}  {rate:8,.0f}  {max(0.0, 1 - rate / ACCELERATOR):7.0%}")
    if min(rates.values()) >= ACCELERATOR:
        lines.append("All are fast enough for images this small; docs/benchmarks.md has larger ones.")
    return lines


def _endless(loader: Loader) -> Iterator[Any]:
    while True:
        yield from loader


def _take(batches: Iterator[Any], job: Job, seconds: float, clock: Callable[[], float]) -> float:
    """Take batches for so many seconds or more, and return the images a second."""
    n, began, took = 0, clock(), 0.0
    while took < seconds:
        n += len(next(batches))
        took = clock() - began
    return n / took
