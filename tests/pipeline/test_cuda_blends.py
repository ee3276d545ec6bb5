"""Batches that are blended on a device, on every schedule of the stand-in for a GPU."""

import fake_cupy
import numpy as np
import pytest
from fake_cupy import Schedule
from made_batches import make

from fastprep.kernels import CropSpec
from fastprep.kernels.device import Gpu
from fastprep.pipeline.backends import CpuBackend
from fastprep.pipeline.cuda import CudaBackend
from fastprep.transforms import BlendTable, TransformTable

N = 5


def batches(rng):
    for _ in range(6):
        crops = np.zeros((N, 4), np.int32)
        crops[:, 0], crops[:, 1:3] = rng.permutation(N), rng.integers(0, 3, (N, 2))
        rectangles = rng.integers(0, 3, (N, 4)).astype(np.int32)
        images = rng.integers(0, 256, (N, 6, 7, 3), dtype=np.uint8)
        shares = (rng.integers(0, 2**16 + 1, N) / 2**16).astype(np.float32)
        yield images, TransformTable(crops), BlendTable(shares, rectangles)


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("eagerness", [0, 0.1, 0.5, 0.9])
def test_every_blended_batch_is_right_on_every_schedule(eagerness, layout):
    rng = np.random.default_rng(3)
    spec = CropSpec((6, 7, 3), "uint8", (4, 4), mean=[1, 2, 3], dtype="bfloat16", layout=layout)
    with fake_cupy.installed(Schedule(eagerness)) as machine:
        backend = CudaBackend(spec, Gpu(0), N, N)
        backend.reserve(1, has_blends=True)
        n_compiled = machine.calls["RawModule"]
        for case in batches(rng):
            read = make(backend, *case, machine)
            machine.finish_device(0)
            assert read[0].tobytes() == make(CpuBackend(spec), *case).tobytes()
        assert machine.calls["RawModule"] == n_compiled == 2
