"""What people write: a row by h5py, simplejpeg, a part resized by OpenCV, in a pool of threads, into buffers used again."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor

import h5py
import jpegs
import numpy as np
from protocol import Options, run


def make(path, options: Options):
    import simplejpeg

    images = h5py.File(path, "r")["images"]
    slots = [(crops := jpegs.Crops(options.mirror, seed), crops.empty(options.batch)) for seed in range(options.threads + 2)]
    pool = ThreadPoolExecutor(options.threads)
    generator = np.random.default_rng(0)

    def prepare(slot, numbers):
        crops, target = slot
        for out, number in zip(target, numbers, strict=False):
            crops.put(out, simplejpeg.decode_jpeg(images[number]))
        return target[: len(numbers)], numbers

    def epoch():
        order, pending = generator.permutation(len(images)).tolist(), deque()
        for k, first in enumerate(range(0, len(order), options.batch)):
            pending.append(pool.submit(prepare, slots[k % len(slots)], order[first : first + options.batch]))
            if len(pending) == len(slots) - 1:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    return epoch


if __name__ == "__main__":
    packages = ["h5py", "simplejpeg", "opencv-python-headless"]
    run(make, "h5py + simplejpeg + OpenCV", packages=packages, crops=["jpeg"], note="shuffled, buffers reused")
