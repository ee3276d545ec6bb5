"""DALI without a GPU: bytes in memory, decoders.image_random_crop, which decodes a part only, an antialiased resize, mean."""

from __future__ import annotations

import boxes
import jpegs
import numpy as np
from check import MEANS
from protocol import Options, run


def make(path, options: Options):
    from nvidia.dali import fn, pipeline_def, types

    rows, generator = jpegs.rows(path), np.random.default_rng(0)
    state = {}

    def restart():
        order = generator.permutation(len(rows))
        state["batches"] = iter([order[first : first + options.batch] for first in range(0, len(order), options.batch)])

    def source():
        numbers = next(state["batches"])
        return [rows[number] for number in numbers.tolist()], numbers

    @pipeline_def(batch_size=options.batch, num_threads=options.threads, device_id=None, prefetch_queue_depth=2)
    def pipeline():
        encoded, numbers = fn.external_source(source, num_outputs=2, no_copy=True)
        limits = {"random_area": boxes.SCALE, "random_aspect_ratio": boxes.RATIO, "num_attempts": boxes.TRIES}
        parts = fn.decoders.image_random_crop(encoded, device="cpu", **limits)
        resized = fn.resize(parts, size=(boxes.SIZE, boxes.SIZE), interp_type=types.INTERP_LINEAR, antialias=True)
        mirror = fn.random.coin_flip() if options.mirror else 0
        mean = MEANS.tolist()
        return fn.crop_mirror_normalize(resized, mirror=mirror, mean=mean, dtype=types.FLOAT, output_layout="HWC"), numbers

    restart()
    pipe = pipeline()
    pipe.build()

    def epoch():
        while True:
            try:
                crops, numbers = pipe.run()
            except StopIteration:
                break
            yield crops.as_tensor(), np.asarray(numbers.as_tensor()).ravel()
        restart()
        pipe.reset()

    return epoch


if __name__ == "__main__":
    run(make, "DALI on the CPU", packages=["nvidia-dali-cuda120"], crops=["jpeg"], note="shuffled, bytes in memory")
