"""The loader from the file to the device, with 1 to 16 workers, beside a plain copy of as many bytes, and on the CPU."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastprep import RandomCrop
from fastprep.h5 import write_images
from fastprep.loader import Loader
from fastprep.pipeline.fences import Fence, StreamFence
from gpu_sections.device import Bench
from gpu_sections.kernel import MEAN
from gpu_sections.link import pinned_rate
from gpu_sections.rows import Job, Row

WORKERS = (1, 2, 4, 8, 16)


def image_file(job: Job) -> str:
    """Return a file of noise, which the first section that needs it writes; its labels are 0 to 9."""
    path = os.path.join(job.folder, "images.h5")
    if not os.path.exists(path):
        random, shape = np.random.default_rng(0), job.sizes.image
        images = (random.integers(0, 256, shape, dtype=np.uint8) for _ in range(job.sizes.file))
        write_images(path, images, np.arange(job.sizes.file) % 10)
    return path


def open_loader(job: Job, device: str, kind: type[Loader] = Loader, **options: Any) -> Loader:
    """Return a loader of random crops in shuffled order."""
    options = {"crop": RandomCrop(job.sizes.crop, mirror=True), "mean": MEAN, "shuffle": True, **options}
    return kind(image_file(job), job.sizes.batch, device=device, drop_remainder=True, **options)


def batches_for(loader: Loader, *fences: Fence) -> Iterator[Any]:
    """Iterate over x of the next epoch's batches, for a consumer with fences of its own.

    As with a library that gets a batch by DLPack, x is let go when the next one is asked for, be it read by then or not.
    """
    for batch in loader._epoch_iterator():
        batch.lease.hand_over(*fences)
        x = batch.x
        del batch
        yield x
        del x


def endless(loader: Loader, *fences: Fence) -> Iterator[Any]:
    """Iterate over x of one epoch after the other, see `batches_for`."""
    while True:
        yield from batches_for(loader, *fences)


def rate(loader: Loader, seconds: float, *fences: Fence) -> tuple[float, float]:
    """Return images a second, and processors kept busy, by epochs that take `seconds` or more together; the first is not counted.

    The first epoch opens files, allocates and fills the page cache.
    """
    for _ in batches_for(loader, *fences):
        pass
    n, began, cpu = 0, time.perf_counter(), time.process_time()
    while (took := time.perf_counter() - began) < seconds or not n:
        n += sum(len(x) for x in batches_for(loader, *fences))
    return n / took, (time.process_time() - cpu) / took


def run(job: Job) -> Iterator[Row]:
    """Measure each number of workers, on the device and on the CPU."""
    image_bytes = int(np.prod(job.sizes.image))
    with Bench(job) as bench:
        limit = pinned_rate(bench) / image_bytes
        yield Row("pinned copy of as many bytes", {"images/s": limit})
        fence = StreamFence(bench.gpu, bench.stream.ptr)
        for workers in WORKERS:
            with open_loader(job, str(bench.gpu), workers=workers) as loader:
                here, cores = rate(loader, job.sizes.seconds, fence)
            with open_loader(job, "cpu", workers=workers) as loader:
                there, _ = rate(loader, job.sizes.seconds)
            values = {"images/s": here, "of that copy": here / limit, "cores busy": cores, "x as on the CPU": here / there}
            yield Row(f"{workers} worker{'s' * (workers > 1)}", values)
