"""The machine's limit: fill as many bytes as the crops have, each thread its share of every batch."""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
from protocol import CROPS, Options, run


def make(path, options: Options):
    with h5py.File(path, "r") as file:
        n_images = len(file["images"])
    n_crops = 10 if options.ten else 1
    target = np.ones((options.batch * n_crops, options.size, options.size, 3), np.float32)
    pool = ThreadPoolExecutor(options.threads)

    def fill(rows):
        ctypes.memset(rows.ctypes.data, 1, rows.nbytes)  # ctypes releases the GIL

    def epoch():
        for first in range(0, n_images, options.batch):
            n = min(options.batch, n_images - first)
            rows = target[: n * n_crops]
            if options.threads == 1:
                fill(rows)
            else:
                list(pool.map(fill, np.array_split(rows, options.threads)))
            yield rows, range(first, first + n)

    return epoch


if __name__ == "__main__":
    run(make, "memset of the output", crops=CROPS, note="no pixels; the limit", pixels=False)
