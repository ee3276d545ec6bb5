"""The crop kernel alone, one thread, on images of other types and with a mean image, beside what their bytes cost.

That is a memset of each result, and a copy of what its crop needs of the image into memory that stays in the cache.
There are as many images as results, so that they come from memory, or from a cache that is larger than all of them.
"""

import ctypes
import itertools
import os
from functools import partial

import numpy as np
import pytest

from fastprep import RandomCrop
from fastprep._sink import hand_over
from fastprep.kernels import CropSpec
from fastprep.kernels._cpu import supported_versions
from fastprep.pipeline import BufferPool
from fastprep.pipeline.buffers import as_array

LIMIT = "memset and reading"
N = 64


class Batch:
    """Images, room for their crops, and what is done to these."""

    def __init__(self, spec):
        self.spec = spec
        images = np.random.default_rng(0).integers(0, 256, (N, *spec.image_shape), dtype=np.uint8)
        self._images = images.astype(spec.source_dtype)
        self._bytes = self._images.reshape(-1).view(np.uint8)
        self._offsets = np.arange(N, dtype=np.int64) * self._images[0].nbytes
        self._lease = BufferPool(N * spec.crop_bytes, 1).lease()  # which keeps the memory
        self.out = as_array(self._lease, spec.out_shape(N), spec.out_dtype)
        self._scratch = np.empty(self._images[0].nbytes, np.uint8)

    def make(self, sink):
        hand_over(self._bytes, self._offsets, np.arange(N), sink)
        return N

    def limit(self):
        target, source, needed = self.out.ctypes.data, self._bytes.ctypes.data, self._images[0, : self.spec.size[0]].nbytes
        for number in range(N):
            ctypes.memset(target + number * self.spec.crop_bytes, 1, self.spec.crop_bytes)
            ctypes.memmove(self._scratch.ctypes.data, source + int(self._offsets[number]), needed)
        return N


CASES = [("uint8", "channels"), ("uint8", "image"), *((t, "channels") for t in ("uint16", "int16", "float32", "float64"))]


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize(("source", "mean"), CASES, ids=["-".join(case) for case in CASES])
def test_random_patches(interleaved, monkeypatch, source, mean, layout):
    values = {"channels": [106.1, 116.0, 125.0], "image": np.random.default_rng(1).uniform(0, 255, (256, 256, 3))}
    spec = CropSpec((256, 256, 3), source, (227, 227), values[mean], None, "float32", layout)
    batch = Batch(spec)
    table = RandomCrop(227).table(256, 256, np.arange(N), 0, 0)
    epochs = {LIMIT: batch.limit}
    for version, (name, flags) in itertools.product(supported_versions(), {"straight": 0, "mirrored": 1}.items()):
        monkeypatch.setenv("FASTPREP_CPU_KERNEL", version)
        crops = table + np.array([0, 0, 0, flags], np.int32)
        epochs[f"{version}, {name}"] = partial(batch.make, spec.cpu_sink(crops, N, batch.out))
    title = f"kernel alone, 227x227x3, {source}, mean of {mean}, {layout.replace('_', ' ')}"
    interleaved(title, epochs, LIMIT, path=os.devnull, counts=dict.fromkeys(epochs, N))
