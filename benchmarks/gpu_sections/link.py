"""Copies to the device, as parts of what the link can carry: a large one, batches of images, on one stream and on two."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np

from gpu_sections.device import Bench, in_turn
from gpu_sections.environment import nvidia_smi
from gpu_sections.rows import Job, Row

_GENERATIONS = {1: 2.0, 2: 4.0, 3: 7.877, 4: 15.754, 5: 31.508, 6: 60.5}
"""GB/s over eight lanes, one way, after the line code: 8b/10b in 1 and 2, 128b/130b in 3 to 5, 242 of 256 bytes in 6."""


def link_rate(text: str | None) -> float | None:
    """Return what a PCIe link carries one way, in bytes a second; None if it is not known.

    Parameters
    ----------
    text : str or None
        Generation and width, as nvidia-smi prints them: "5, 16".
    """
    found = re.fullmatch(r"(\d+), (\d+)", text or "")
    if found is None or int(found[1]) not in _GENERATIONS:
        return None
    return _GENERATIONS[int(found[1])] * 1e9 * int(found[2]) / 8


def pinned_rate(bench: Bench, n: int = 4) -> float:
    """Return the bytes a second of one large copy from pinned memory."""
    pinned = bench.gpu.pinned(bench.job.sizes.plain_bytes)
    pinned[:] = 1  # bring its pages in
    target = bench.array((len(pinned),), "uint8")
    took = bench.seconds({"copy": lambda: bench.gpu.copy(target, pinned, bench.stream)}, n)
    return len(pinned) / statistics.median(took["copy"])


def run(job: Job) -> Iterator[Row]:
    """Measure the copies, and ask for the link while it is in use: it is slower when it is idle."""
    with Bench(job) as bench:
        best = pinned_rate(bench)
        for _ in range(64):
            bench.copy()
        text = nvidia_smi(bench, "pcie.link.gen.current,pcie.link.width.current")
        bench.stream.synchronize()
        limit = link_rate(text)
        name = f"pinned, one copy of {job.sizes.plain_bytes >> 20} MiB"
        if limit is None:
            yield Row(name, {"GB/s": best / 1e9, "": "the link is not known"})
        else:
            yield Row(name, {"GB/s": best / 1e9, "of the link": best / limit, "": f"PCIe {text.replace(', ', ' x')}"})
        for name, rate in _batches(bench).items():
            yield Row(name, {"GB/s": rate / 1e9, "of that copy": rate / best})


def _batches(bench: Bench) -> dict[str, float]:
    """Return bytes a second of copies of batches of images."""
    sizes, gpu = bench.job.sizes, bench.gpu
    n_bytes = sizes.batch * int(np.prod(sizes.image))
    sources = [gpu.pinned(n_bytes) for _ in range(4)]
    ordinary = np.ones(n_bytes, np.uint8)
    targets = [bench.array((n_bytes,), "uint8") for _ in sources]
    streams = [bench.stream, gpu.stream()]
    for source in sources:
        source[:] = 1
    turns = [lambda k=k: gpu.copy(targets[k], sources[k], bench.stream) for k in range(len(sources))]
    took = bench.seconds({"one": in_turn(turns)}, 8)
    two = [lambda k=k: gpu.copy(targets[k], sources[k], streams[k % 2]) for k in range(len(sources))]
    with gpu.current():
        return {
            "pinned, batches of images": n_bytes / statistics.median(took["one"]),
            "pinned, batches on two streams, host's clock": n_bytes / _by_the_host(bench, in_turn(two), streams),
            "not pinned, batches, host's clock": n_bytes
            / _by_the_host(bench, lambda: gpu.copy(targets[0], ordinary, bench.stream), streams),
        }


def _by_the_host(bench: Bench, queue: Callable[[], None], streams: list, n: int = 8) -> float:
    seconds = []
    for _ in range(bench.job.rounds + 1):
        began = time.perf_counter()
        for _ in range(n):
            queue()
        for stream in streams:
            stream.synchronize()
        seconds.append((time.perf_counter() - began) / n)
    return statistics.median(seconds[1:])
