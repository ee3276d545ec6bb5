"""Late readers: a consumer that lets go of each batch when its reading is queued, long before it is done.

Its stream is kept busy, so that it comes to a batch when the loader has already asked for its buffer again. With a fence each
batch is still there. The control is without one, and must show wrong batches: else nothing was tested.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from typing import Any

from numpy.typing import NDArray

from fastprep import RandomCrop
from fastprep.pipeline.fences import DeviceFence, Fence, StreamFence
from gpu_sections.device import Bench
from gpu_sections.loader import endless, open_loader
from gpu_sections.rows import Job, Row

N_BATCHES = 24
LAG_S = 0.02  # how long the consumer's stream is busy before each reading
WORKERS = 2


class NoFence:
    """The fence that was left out."""

    def wait(self, stream: Any = None) -> None:
        """Wait for nothing."""


FENCES: dict[str, Callable[[Bench, Any], Fence]] = {
    "fence of the reader's stream": lambda bench, reader: StreamFence(bench.gpu, reader.ptr),
    "fence of the whole device": lambda bench, reader: DeviceFence(bench.gpu),
}
CONTROL = "control, no fence"


def options_of(job: Job) -> dict[str, Any]:
    """Return the arguments of both loaders: small crops, as all batches that were read are kept on the device."""
    n_crops = job.sizes.crop // 2
    return {"crop": RandomCrop(n_crops, mirror=True), "workers": WORKERS, "prefetch": 1}


def expected(job: Job, n: int = N_BATCHES) -> Iterator[tuple[NDArray, NDArray]]:
    """Iterate over the right batches (x, y), which the CPU makes, over as many epochs as it takes."""
    with open_loader(job, "cpu", **options_of(job)) as loader:
        for k in range(n):
            yield loader.batch(k // len(loader), k % len(loader))


def read_late(bench: Bench, reader: Any, fence: Fence, lag: int, n: int = N_BATCHES) -> list[Any]:
    """Return copies of so many batches, each queued on the reader's stream behind `lag` plain copies."""
    with open_loader(bench.job, str(bench.gpu), **options_of(bench.job)) as loader:
        shape = (bench.job.sizes.batch, *loader.output_shape)
        kept = [bench.array(shape, "float32") for _ in range(n)]
        batches = endless(loader, fence)
        for target in kept:
            x = next(batches)
            for _ in range(lag):
                bench.copy(reader)
            bench.gpu.copy_on_device(target, x, reader)
            del x  # so that the loader may have it back when the next one is asked for
        batches.close()
        reader.synchronize()
    return kept


def n_wrong(job: Job, kept: list[Any]) -> int:
    """Count the batches that are not what they must be."""
    return sum(x.get().tobytes() != wanted.tobytes() for x, (wanted, _) in zip(kept, expected(job, len(kept)), strict=True))


def lag_of(bench: Bench) -> int:
    """Return how many plain copies keep the stream busy for `LAG_S`."""
    if bench.job.is_dry:
        return 1  # the stand-in does everything as late as it may
    return math.ceil(LAG_S / statistics.median(bench.seconds({"copy": bench.copy})["copy"]))


def run(job: Job) -> Iterator[Row]:
    """Read with each fence, and without any."""
    with Bench(job) as bench:
        lag = lag_of(bench)
        for name, make in {**FENCES, CONTROL: lambda bench, reader: NoFence()}.items():
            with bench.gpu.current():
                reader = bench.gpu.stream()
                wrong = n_wrong(job, read_late(bench, reader, make(bench, reader), lag))
            yield Row(name, {"batches": N_BATCHES, "wrong": wrong}, ok=wrong > 0 if name == CONTROL else wrong == 0)
