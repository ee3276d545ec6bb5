"""Batches that a backend makes of images in memory."""

import fake_cupy
import numpy as np
from crop_cases import assert_same_bits
from fake_cupy import Schedule

from fastprep._sink import hand_over
from fastprep.loader import Loader
from fastprep.pipeline import BufferPool
from fastprep.pipeline.companions import Rows


def make(backend, images, table, blends, machine=None):
    """Return a batch of a backend, or, for a device of the stand-in, the list in which it will be once a consumer has read it."""

    def read(sink):
        offsets = np.arange(len(images), dtype=np.int64) * images[0].nbytes
        hand_over(images.reshape(-1).view(np.uint8), offsets, np.arange(len(images), dtype=np.int64), sink)
        return Rows(np.arange(len(images)), None, None)

    made = backend.make(
        read, len(images), table, BufferPool(backend.buffer_bytes(len(table)), 1, memory=backend.memory).lease, blends
    )
    return made.x.copy() if machine is None else machine.read_later(made.x)


def check_loader_on_device(path, options, eagerness, n_modules):
    """Check that a loader makes the batches of the CPU on a device of the stand-in, and compiles all modules before the first."""
    options = {"batch_size": 4, "shuffle": True, "seed": 3, "workers": 2, **options}
    with Loader(path, device="cpu", **options) as loader:
        wanted = [x.copy() for _ in range(2) for x, _ in loader]
    read, compiled = [], []
    with fake_cupy.installed(Schedule(eagerness)) as machine:
        with Loader(path, device="cuda", **options) as loader:
            for _ in range(2):
                for x, _y in loader:
                    compiled.append(machine.calls["RawModule"])
                    read.append(machine.read_later(x))
                    del x
        machine.finish_device(0)
    assert len(read) == len(wanted)
    for (got,), want in zip(read, wanted, strict=True):
        assert_same_bits(got, want)
    assert compiled == [n_modules] * len(read)
