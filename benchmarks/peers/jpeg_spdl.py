"""SPDL's pipeline: batches in its thread pool, decoded by simplejpeg and resized by OpenCV, bytes in memory, buffers used again.

SPDL's own decoder wants FFmpeg's libraries on the system. As in `spdl_threads`, a pipeline is stopped on the side.
"""

from __future__ import annotations

import itertools
import queue
import threading
from concurrent.futures import ThreadPoolExecutor

import jpegs
import numpy as np
from protocol import Options, run


def make(path, options: Options):
    import simplejpeg
    from spdl.pipeline import PipelineBuilder

    rows, generator = jpegs.rows(path), np.random.default_rng(0)
    free = queue.SimpleQueue()
    for seed in range(options.threads + 3):  # one in the consumer's hands, two that are ready
        crops = jpegs.Crops(options.mirror, seed)
        free.put((crops, crops.empty(options.batch)))
    pool = ThreadPoolExecutor(options.threads)

    def load(numbers):
        crops, target = slot = free.get()
        for out, number in zip(target, numbers.tolist(), strict=False):
            crops.put(out, simplejpeg.decode_jpeg(rows[number]))
        return slot, numbers

    def epoch():
        order = generator.permutation(len(rows))
        batches = [order[first : first + options.batch] for first in range(0, len(order), options.batch)]
        builder = PipelineBuilder().add_source(batches).pipe(load, executor=pool, concurrency=options.threads)
        pipeline = builder.add_sink(2).build(num_threads=1, use_thread_output_queue=True)
        pipeline.start()
        for slot, numbers in itertools.islice(pipeline.get_iterator(), len(batches)):
            yield slot[1][: len(numbers)], numbers
            free.put(slot)
        threading.Thread(target=pipeline.stop).start()

    return epoch


if __name__ == "__main__":
    packages = ["spdl", "simplejpeg", "opencv-python-headless"]
    run(make, "SPDL + simplejpeg + OpenCV", packages=packages, crops=["jpeg"], note="shuffled, bytes in memory")
