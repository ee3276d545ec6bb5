"""The decoder alone: simplejpeg decodes whole images, from memory to memory that is used again. It delivers nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import jpegs
import numpy as np
from protocol import Options, run


def make(path, options: Options):
    import simplejpeg

    rows = [row.tobytes() for row in jpegs.rows(path)]
    pool = ThreadPoolExecutor(options.threads)

    def decode(part):
        out = np.empty((jpegs.HEIGHT, jpegs.WIDTH, 3), np.uint8)
        for row in part:
            simplejpeg.decode_jpeg(row, buffer=out)

    def epoch():
        size = options.batch // options.threads
        list(pool.map(decode, [rows[first : first + size] for first in range(0, len(rows), size)]))
        yield None, range(len(rows))

    return epoch


if __name__ == "__main__":
    note = "whole images, no crops; the limit of whoever decodes everything"
    run(make, "simplejpeg alone", packages=["simplejpeg"], crops=["jpeg"], note=note, pixels=False)
