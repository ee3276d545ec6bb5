"""Crop tables are checked exactly once on every way to a kernel, and constants are the same in Python, C and CUDA."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from fastprep import kernels, transforms
from fastprep.diagnostics.gpu import measure
from fastprep.kernels import CropSpec, _cpu, cuda
from fastprep.kernels.device import Gpu
from fastprep.pipeline import BufferPool
from fastprep.pipeline.backends import CpuBackend
from fastprep.pipeline.companions import Rows
from fastprep.pipeline.cuda import CudaBackend

SPEC = CropSpec((6, 7, 3), "uint8", (4, 3), mean=[1, 2, 3])
IMAGES = np.zeros((2, 6, 7, 3), np.uint8)
GOOD = np.array([[1, 2, 4, 3], [0, 0, 0, 0]], np.int32)
BAD = {
    "slot": ([2, 0, 0, 0], r"slot in the crop table must lie in 0\.\.1, found 0\.\.2"),
    "y": ([0, 3, 0, 0], r"y in the crop table must lie in 0\.\.2, found 0\.\.3"),
    "x": ([0, 0, -1, 0], r"x in the crop table must lie in 0\.\.4, found -1\.\.4"),
    "flags": ([0, 0, 0, 4], r"flags in the crop table must lie in 0\.\.3, found 0\.\.4"),
}


def out(table):
    return np.empty(SPEC.out_shape(len(table)), np.float32)


def on_backend(backend, table):
    pool = BufferPool(len(table) * SPEC.crop_bytes, 1, memory=backend.memory)
    try:
        backend.make(lambda sink: Rows(np.arange(2), None, None), 2, table, pool.lease)
    finally:
        backend.close()


WAYS = {
    "crop() on the CPU": lambda table: kernels.crop(IMAGES, table, (4, 3)),
    "crop() on CUDA": lambda table: kernels.crop(IMAGES, table, (4, 3), device="cuda"),
    "plan() of a launch": lambda table: cuda.plan(IMAGES, table, (4, 3)),
    "a sink": lambda table: SPEC.cpu_sink(table, 2, out(table)),
    "a batch on the CPU": lambda table: on_backend(CpuBackend(SPEC), table),
    "a batch on CUDA": lambda table: on_backend(CudaBackend(SPEC, Gpu(0), 2, 8), table),
    "a measurement": lambda table: measure(Gpu(0), SPEC, 2, table, rounds=1),
}


@pytest.mark.parametrize("row", BAD)
@pytest.mark.parametrize("way", WAYS)
def test_a_table_that_leads_outside_is_refused_on_every_way(stand_in, way, row):
    values, message = BAD[row]
    with pytest.raises(ValueError, match=message):
        WAYS[way](np.vstack([GOOD, np.array([values], np.int32)]))


@pytest.mark.parametrize("way", WAYS)
def test_a_table_is_checked_once(stand_in, monkeypatch, way):
    calls, original = [], CropSpec.checked_table
    monkeypatch.setattr("fastprep.diagnostics.gpu.PLAIN_BYTES", 4096)
    monkeypatch.setattr(CropSpec, "checked_table", lambda *arguments: calls.append(1) or original(*arguments))
    WAYS[way](GOOD)
    assert len(calls) == 1


def test_flags_of_a_table_are_the_same_in_python_c_and_cuda():
    in_python = {"mirrored": transforms.MIRRORED, "flipped": transforms.FLIPPED, "transposed": transforms.TRANSPOSED}
    for kernel, names in (("crop.cu", "mirrored flipped"), ("warp.cu", "mirrored flipped transposed")):
        source = Path(cuda.__file__).with_name(kernel).read_text()
        flags = {name.lower(): int(value) for name, value in re.findall(r"\b(MIRRORED|FLIPPED|TRANSPOSED) = (\d+)", source)}
        assert flags == {name: in_python[name] for name in names.split()}
    assert {name: in_python[name] for name in ("mirrored", "flipped")} == _cpu.FLAGS


def test_a_spec_that_has_made_sinks_can_be_pickled():
    SPEC.cpu_sink(GOOD, 2, out(GOOD))
    twin = pickle.loads(pickle.dumps(SPEC))
    assert (twin.image_shape, twin.size, twin.dtype) == (SPEC.image_shape, SPEC.size, SPEC.dtype)
    np.testing.assert_array_equal(twin.mean_rows, SPEC.mean_rows)
    twin.cpu_sink(GOOD, 2, out(GOOD))
