"""How quick a run is, and what it waits for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from fastprep.diagnostics.rates import advice, measure
from fastprep.loader import Loader

BOUND = 0.1  # part of the time of training spent waiting for images from which on a run is called input-bound


@dataclass
class Meter:
    """Time, images and waiting of the training steps, validation and saving left out.

    Attributes
    ----------
    seconds, waited : float
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
        """Part of the time spent waiting, 0..1."""
        return min(1.0, self.waited / self.seconds) if self.seconds else 0.0

    def __str__(self) -> str:
        return f"{self.rate:,.0f} images/s, {self.share:.0%} waiting for input"

    def add(self, other: Meter) -> None:
        """Add what another one has measured."""
        self.seconds += other.seconds
        self.waited += other.waited
        self.images += other.images
        self.disk += other.disk


class Stopwatch:
    """Measures the steps of training from `start` on.

    Parameters
    ----------
    loader : Loader
        Of the images of training.
    """

    def __init__(self, loader: Loader, clock: Callable[[], float] = time.perf_counter) -> None:
        self._loader, self._clock = loader, clock
        self.start()

    def start(self) -> None:
        """Begin anew."""
        self._before = self._now()

    def read(self) -> Meter:
        """Return what was measured since the start."""
        seconds, waited, images, disk = (now - then for now, then in zip(self._now(), self._before, strict=True))
        return Meter(seconds, waited, int(images), int(disk))

    def _now(self) -> tuple[float, float, int, int]:
        stats = self._loader.stats()
        return self._clock(), stats["wait_s"], stats["samples"], _bytes_from_disk()


def summary(meter: Meter, loader: Loader, make_loader: Callable[[int], Loader]) -> str:
    """Say whether a run had to wait for its images, and if so, for what.

    Parameters
    ----------
    meter : Meter
        Of the whole run.
    loader : Loader
        Of the images of training.
    make_loader : callable
        Takes the number of threads, returns such a loader; for measuring, if there is something to find out.

    Returns
    -------
    str
        One or several lines.
    """
    said = f"{meter.rate:,.0f} images/s; {meter.share:.1%} of the training steps' time went into waiting for images"
    if meter.share < BOUND:
        return f"{said}: not input-bound, the network is what takes the time"
    said = f"{said}: input-bound"
    n_bytes = sum(os.path.getsize(path) for path in loader.files) * meter.images / loader.n_samples
    if meter.disk > n_bytes / 2:
        return f"{said}, by the disk: {meter.disk / meter.seconds / 1e6:,.0f} MB/s came from there and not from memory"
    rates = measure(make_loader, rounds=1, n_images=256)
    if loader.stats()["device"] != "cpu":
        said = f"{said}, by reading and decoding, or by the link to the device"
    else:
        what = "reading and decoding" if rates.share_read >= 0.5 else "cropping"
        share = max(rates.share_read, 1 - rates.share_read)
        said = f"{said}, by {what}: {share:.0%} of a thread's time"
    said += f"; one thread makes {rates.values['loader, 1 thread']:,.0f} images/s by itself"
    said += f", {loader._pool.n_threads} had {len(os.sched_getaffinity(0))} processors to share with the network"
    return "\n".join([said, *(f"* {hint}" for hint in advice(loader, rates))])


def _bytes_from_disk() -> int:
    try:
        with open("/proc/self/io", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("read_bytes"))
    except (OSError, StopIteration):
        return 0
