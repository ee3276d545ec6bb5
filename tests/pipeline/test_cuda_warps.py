"""Images that are resized, mapped, recoloured and erased on a device, on every schedule of the stand-in for a GPU."""

import fake_cupy
import numpy as np
import pytest
from crop_cases import assert_same_bits
from fake_cupy import Schedule
from made_batches import check_loader_on_device, make
from warp_cases import oracle, some_table

from fastprep import kernels
from fastprep.kernels import WarpSpec
from fastprep.kernels.device import DeviceMemory, Gpu
from fastprep.pipeline.backends import CpuBackend
from fastprep.pipeline.cuda import CudaBackend, NotFiniteOnDevice
from fastprep.transforms import (
    BlendTable,
    ColorJitter,
    CutMix,
    MixUp,
    RandomAffine,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    TransformTable,
    TrivialAugment,
)

N = 5
GEOMETRIES = ("crop", "box", "matrix")


def spec_of(geometry, **options):
    return WarpSpec(
        (6, 7, 3), "uint8", (4, 4), mean=[1, 2, 3], scale=0.5, geometry=geometry, fill=[7, 8, 9], has_colors=True,
        erase_value=0.25, **options,
    )  # fmt: skip


def table_of(rng, geometry):
    case = {"shape": (N, 6, 7, 3), "size": (4, 4), "n_out": N, "picked": None, "colors": True, "erasures": True}
    return some_table(rng, {**case, "geometry": geometry})


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("eagerness", [0, 0.1, 0.5, 0.9])
def test_every_warped_and_blended_batch_is_right_on_every_schedule(eagerness, geometry):
    rng = np.random.default_rng(3)
    spec = spec_of(geometry, dtype="float16", layout="channels_first" if geometry == "box" else "channels_last")
    with fake_cupy.installed(Schedule(eagerness)) as machine:
        backend = CudaBackend(spec, Gpu(0), N, N)
        backend.reserve(1, has_blends=True)
        n_compiled = machine.calls["RawModule"]
        for k in range(4):
            images = rng.integers(0, 256, (N, 6, 7, 3), dtype=np.uint8)
            blends = BlendTable(np.float32([0.5, 0.25, 1, 0, 0.75]), np.zeros((N, 4), np.int32)) if k % 2 else None
            case = images, table_of(rng, geometry), blends
            read = make(backend, *case, machine)
            machine.finish_device(0)
            assert_same_bits(read[0], make(CpuBackend(spec), *case))
        assert machine.calls["RawModule"] == n_compiled == 2


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("source", ["uint8", "uint16", "float64"])
def test_warp_on_a_device_equals_the_oracle(geometry, source, rng):
    images = rng.integers(0, 256 if source == "uint8" else 65536, (N, 6, 7, 3)).astype(source)
    table = table_of(rng, geometry)
    options = {"mean": [1, 2, 3], "scale": 1 / 57, "dtype": "bfloat16", "fill": [7, 8, 9], "erase_value": [0, 1, 2]}
    wanted = oracle(images, table, (4, 4), **options)
    stored = np.ascontiguousarray(images.transpose(0, 3, 1, 2)[:, ::-1])
    with fake_cupy.installed() as machine:
        assert_same_bits(kernels.warp(images, table, (4, 4), **options, device="cuda").get(), wanted)
        given = Gpu(0).array(DeviceMemory(Gpu(0), wanted.nbytes), wanted.shape, wanted.dtype)
        got = kernels.warp(stored, table, (4, 4), **options, device="cuda", order="CHW", channels=(2, 1, 0), out=given)
        assert got is given
        assert_same_bits(got.get(), wanted)
        assert machine.error is None


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_tables_are_checked_before_anything_is_launched(geometry, rng):
    table = table_of(rng, geometry)
    table.crops[1, 0] = N
    images = np.zeros((N, 6, 7, 3), np.uint8)
    with fake_cupy.installed() as machine:
        with pytest.raises(ValueError, match=r"slot in the transform table must lie in 0\.\.4"):
            make(CudaBackend(spec_of(geometry), Gpu(0), N, N), images, table, None, machine)
        with pytest.raises(ValueError, match="slot in the transform table"):
            kernels.warp(images, table, (4, 4), device="cuda")
        assert machine.calls["launch"] == 0


def test_an_image_with_a_result_that_is_not_finite_is_named():
    images = np.ones((N, 6, 7, 3), np.float32)
    images[3, 2, 2] = np.inf
    spec = WarpSpec((6, 7, 3), "float32", (4, 4), geometry="box", check_finite=True)
    crops = np.array([[k, 0, 0, 4] for k in range(N)], np.int32)
    table = TransformTable(crops, np.tile([0.0, 0, 6, 7], (N, 1)))
    with fake_cupy.installed() as machine:
        backend = CudaBackend(spec, Gpu(0), N, N)
        with pytest.raises(NotFiniteOnDevice) as error:
            make(backend, images, table, None, machine)
        assert error.value.slot == 3
        images[3] = 1
        make(backend, images, table, None, machine)


@pytest.mark.parametrize(
    "options",
    [
        {
            "crop": RandomResizedCrop(8),
            "color": ColorJitter(brightness=0.4, hue=0.1),
            "erase": RandomErasing(p=0.7),
            "mean": None,
        },
        {"crop": RandomAffine(8, degrees=30, translate=(0.1, 0.1)), "blend": MixUp(0.4), "num_classes": 30, "mean": None},
        {"crop": RandomCrop(7, turn=True), "mean": None},
        {"crop": RandomResizedCrop(7, turn=True), "policy": TrivialAugment(fill=9), "mean": None},
        {"crop": RandomCrop(7, mirror=True), "blend": CutMix(1.0), "num_classes": 30, "mean": "file"},
    ],
)
@pytest.mark.parametrize("eagerness", [0, 0.5])
def test_a_loader_makes_the_batches_of_the_cpu_and_compiles_before_the_first(make_file, options, eagerness):
    path, _, _ = make_file(n=11)
    check_loader_on_device(path, options, eagerness, 2 if "blend" in options else 1)
