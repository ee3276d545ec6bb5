"""Throughput of a run, and the stage that limits it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from fastprep.diagnostics.rates import advice, measure
from fastprep.h5 import size_at
from fastprep.loader import Loader
from fastprep.system import usable_processors

BOUND = 0.1  # a run that spends at least this share of its training time waiting for images is called input-bound


@dataclass
class Meter:
    """Measurements of the training steps, without validation and saving.

    Attributes
    ----------
    seconds, waited : float
        Time of the steps, and the part of it spent waiting for images, in seconds.
    images : int
    disk : int
        Bytes that came from a disk and not from memory, as Linux counts them for this process.
    """

    seconds: float = 0.0
    waited: float = 0.0
    images: int = 0
    disk: int = 0

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / self.seconds if self.seconds else 0.0

    @property
    def share(self) -> float:
        """Share of the time spent waiting, 0..1."""
        return min(1.0, self.waited / self.seconds) if self.seconds else 0.0

    def __str__(self) -> str:
        return f"{self.rate:,.0f} images/s, {self.share:.0%} waiting for input"

    def add(self, other: Meter) -> None:
        """Add the measurements of another meter."""
        self.seconds += other.seconds
        self.waited += other.waited
        self.images += other.images
        self.disk += other.disk


class Stopwatch:
    """Stopwatch for the steps of training, which runs from `start` on.

    Parameters
    ----------
    loader : Loader
        Loader of the training images.
    clock : callable
        Returns the time in seconds.
    """

    def __init__(self, loader: Loader, clock: Callable[[], float] = time.perf_counter) -> None:
        self._loader, self._clock = loader, clock
        self.start()

    def start(self) -> None:
        """Restart at zero."""
        self._before = self._now()

    def read(self) -> Meter:
        """Return the measurements since the start."""
        seconds, waited, images, disk = (now - then for now, then in zip(self._now(), self._before, strict=True))
        return Meter(seconds, waited, int(images), int(disk))

    def _now(self) -> tuple[float, float, int, int]:
        stats = self._loader.stats()
        return self._clock(), stats["wait_s"], stats["samples"], _bytes_from_disk()


def summary(meter: Meter, loader: Loader, make_loader: Callable[[int], Loader]) -> str:
    """Describe whether a run had to wait for its images, and if so, for which stage.

    Parameters
    ----------
    meter : Meter
        Measurements of the whole run.
    loader : Loader
        Loader of the training images.
    make_loader : callable
        Takes the number of threads and returns a loader like that of training. It is called if a measurement is needed.

    Returns
    -------
    str
        One or several lines.
    """
    text = f"{meter.rate:,.0f} images/s; {meter.share:.1%} of the training steps' time went into waiting for images"
    if meter.share < BOUND:
        return f"{text}: not input-bound, the network is what takes the time"
    text = f"{text}: input-bound"
    n_bytes = sum(size_at(path) for path in loader.files) * meter.images / loader._dataset.n_in_files
    if meter.disk > n_bytes / 2:
        return f"{text}, by the disk: {meter.disk / meter.seconds / 1e6:,.0f} MB/s came from there and not from memory"
    rates = measure(make_loader, rounds=1, n_images=256)
    if loader.stats()["device"] != "cpu":
        text = f"{text}, by reading and decoding, or by the link to the device"
    else:
        stage = "reading and decoding" if rates.share_read >= 0.5 else "cropping"
        share = max(rates.share_read, 1 - rates.share_read)
        text = f"{text}, by {stage}: {share:.0%} of a thread's time"
    text += f"; one thread makes {rates.values['loader, 1 thread']:,.0f} images/s by itself"
    text += f", {loader._pool.n_threads} had {usable_processors()} processors to share with the network"
    return "\n".join([text, *(f"* {hint}" for hint in advice(loader, rates))])


def _bytes_from_disk() -> int:
    try:
        with open("/proc/self/io", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("read_bytes"))
    except (OSError, StopIteration):
        return 0
