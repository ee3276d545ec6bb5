"""DALI's operator on the device for the same crops, by the clock of the host: DALI has a stream and a schedule of its own."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastprep.transforms import MIRRORED
from gpu_sections.device import Bench
from gpu_sections.kernel import MEAN
from gpu_sections.others import Batches, compare
from gpu_sections.rows import Job, LeftOut, Row, ratios


def run(job: Job) -> Iterator[Row]:
    """Time DALI's operator beside fastprep's kernel, both by the clock of the host."""
    try:
        import nvidia.dali  # noqa: F401
    except ImportError as error:
        raise LeftOut(f"DALI is not installed ({error})") from error
    if job.is_dry:
        raise LeftOut("DALI can't read the stand-in's memory")
    with Bench(job) as bench:
        batches = Batches(job, bench.n_sets(job.sizes.batch * job.sizes.crop**2 * job.sizes.image[2] * 4))
        images = [bench.gpu.upload(images) for images in batches.images]
        outs = [bench.array(batches.wanted.shape, "float32") for _ in images]
        launch = bench.launches(batches.spec, images, batches.tables, outs)
        pipeline = _pipeline(bench, batches, images)
        right = compare(np.stack([np.asarray(x) for x in pipeline.run()[0].as_cpu()]), batches.wanted)
        seconds: dict[str, list[float]] = {"fastprep": [], "DALI": []}
        for turn in range(job.rounds + 1):
            for name, queue in (("fastprep", launch), ("DALI", pipeline.run)):
                with bench.gpu.current(), bench.stream:
                    began = time.perf_counter()
                    for _ in range(job.sizes.queued):
                        queue()
                    bench.gpu.synchronize()
                    if turn:
                        seconds[name].append((time.perf_counter() - began) / job.sizes.queued)
    ratio, spread = ratios(seconds["DALI"], seconds["fastprep"])
    values = {"us": statistics.median(seconds["DALI"]) * 1e6, "x as long as fastprep": ratio, spread: "", "": right}
    yield Row("crop_mirror_normalize, by the host's clock", values)


def _pipeline(bench: Bench, batches: Batches, images: list[Any]) -> Any:
    from nvidia.dali import fn, pipeline_def, types

    room = np.array([batches.height - batches.size, batches.width - batches.size], np.float32)
    places = [(table[:, 1:3] / room).astype(np.float32) for table in batches.tables]
    flags = [(table[:, 3] & MIRRORED).astype(np.int32) for table in batches.tables]
    sets = list(zip(images, places, flags, strict=True))

    def arguments(number: int) -> Any:
        _, place, flag = sets[number % len(sets)]
        return place[:, 0], place[:, 1], flag

    n = len(flags[0])

    @pipeline_def(batch_size=n, num_threads=4, device_id=bench.gpu.number, prefetch_queue_depth=2)
    def pipeline() -> Any:
        source = fn.external_source(
            lambda number: sets[number % len(sets)][0], device="gpu", layout="HWC", no_copy=True, batch=True
        )
        y, x, mirror = fn.external_source(arguments, num_outputs=3, batch=True)
        return fn.crop_mirror_normalize(
            source,
            crop=(batches.size, batches.size),
            crop_pos_y=y,
            crop_pos_x=x,
            mirror=mirror,
            mean=list(MEAN),
            std=[1.0] * len(MEAN),
            dtype=types.FLOAT,
            output_layout="HWC",
        )

    made = pipeline()
    made.build()
    return made
