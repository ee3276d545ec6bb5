"""SPDL: whole batches by numpy out of a memory map, shuffled, in a thread pool, into buffers that are used again.

The end of a pipeline is noticed by polling ten times a second. That is left out: each epoch takes the batches it knows of,
and its pipeline is stopped on the side.
"""

from __future__ import annotations

import itertools
import queue
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from patches import Patches, mapped
from protocol import Options, run


def make(path, options: Options):
    from spdl.pipeline import PipelineBuilder

    images = mapped(path)
    free = queue.SimpleQueue()
    for seed in range(options.threads + 3):  # one in the consumer's hands, two that are ready
        patches = Patches(*images.shape[1:3], options.mirror, options.ten, seed)
        free.put((patches, patches.empty(options.batch)))
    generator = np.random.default_rng(0)
    # not the pipeline's threads, which hand batches over, and must not wait with `load` for a buffer to come back
    pool = ThreadPoolExecutor(options.threads)

    def load(numbers):
        patches, target = slot = free.get()
        patches.fill(target[: len(numbers)], (images[number] for number in numbers.tolist()))
        return slot, numbers

    def epoch():
        order = generator.permutation(len(images))
        batches = [order[first : first + options.batch] for first in range(0, len(order), options.batch)]
        builder = (
            PipelineBuilder().add_source(batches).pipe(load, executor=pool, concurrency=options.threads, output_order="input")
        )
        pipeline = builder.add_sink(2).build(num_threads=1, use_thread_output_queue=True)
        pipeline.start()
        for slot, numbers in itertools.islice(pipeline.get_iterator(), len(batches)):
            yield slot[1][: len(numbers)], numbers
            free.put(slot)
        threading.Thread(target=pipeline.stop).start()

    return epoch


if __name__ == "__main__":
    run(make, "SPDL threads + numpy", packages=["spdl", "numpy"], note="shuffled, memory map, buffers reused")
