"""Batches that are standardised on a device, on every schedule of the stand-in for a GPU."""

import fake_cupy
import numpy as np
import pytest
from crop_cases import assert_same_bits, random_table
from fake_cupy import Schedule
from made_batches import check_loader_on_device, make
from warp_cases import oracle, some_table

from fastprep import CutMix, RandomCrop, RandomErasing, RandomResizedCrop, TenCrop, kernels
from fastprep.kernels import CropSpec, WarpSpec
from fastprep.kernels.device import DeviceMemory, Gpu
from fastprep.pipeline.backends import CpuBackend
from fastprep.pipeline.cuda import CudaBackend, NotFiniteOnDevice
from fastprep.transforms import BlendTable, TransformTable

N = 5
DTYPES, LAYOUTS = ("float32", "float16", "bfloat16"), ("channels_last", "channels_first")


def table_of(rng, geometry):
    """Return a table of crops alone, or one of a geometry that changes colours and erases, too."""
    if geometry == "plain":
        return TransformTable(random_table(rng, N, N, 6, 7, 4, 4))
    case = {"shape": (N, 6, 7, 3), "size": (4, 4), "n_out": N, "picked": None, "colors": True, "erasures": True}
    return some_table(rng, {**case, "geometry": geometry})


def spec_of(geometry, source="uint8", **options):
    arguments = {"mean": [1, 2, 3], "scale": 0.5, "standardize": True, **options}
    if geometry == "plain":
        return CropSpec((6, 7, 3), source, (4, 4), **arguments)
    return WarpSpec((6, 7, 3), source, (4, 4), geometry=geometry, has_colors=True, erase_value=[0.25, 1, 2], **arguments)


@pytest.mark.parametrize("geometry", ["plain", "crop", "box", "matrix"])
@pytest.mark.parametrize("eagerness", [0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_batch_is_right_on_every_schedule(dtype, eagerness, geometry):
    rng = np.random.default_rng(3)
    spec = spec_of(geometry, dtype=dtype, layout="channels_first" if geometry == "box" else "channels_last")
    with fake_cupy.installed(Schedule(eagerness)) as machine:
        backend = CudaBackend(spec, Gpu(0), N, N)
        backend.reserve(1, has_blends=True)
        before = machine.calls.copy()
        for k in range(4):
            images = rng.integers(0, 256, (N, 6, 7, 3), dtype=np.uint8)
            blends = BlendTable(np.float32([0.5, 0.25, 1, 0, 0.75]), np.zeros((N, 4), np.int32)) if k % 2 else None
            case = images, table_of(rng, geometry), blends
            read = make(backend, *case, machine)
            machine.finish_device(0)
            assert_same_bits(read[0], make(CpuBackend(spec), *case))
        assert machine.calls["RawModule"] == before["RawModule"] == 4
        assert machine.calls["hostAlloc"] == before["hostAlloc"]
        assert machine.calls["malloc"] == before["malloc"] + 4  # of buffers, which these calls have each their own of


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("seed", range(8))
def test_batches_that_are_made_at_the_same_time_have_memory_of_their_own(dtype, seed):
    """Another thread makes a batch while the operations of one are queued, of which some may be done."""
    rng = np.random.default_rng(seed)
    spec = spec_of("plain", dtype=dtype)
    cases = [(rng.integers(0, 256, (N, 6, 7, 3), dtype=np.uint8), table_of(rng, "plain"), None) for _ in range(2)]
    read = []
    with fake_cupy.installed(Schedule(0.5, seed=seed)) as machine:
        backend = CudaBackend(spec, Gpu(0), N, N)
        backend.reserve(2)

        def make_another(name):
            if name == "Event.record":
                machine.before_call = lambda name: None
                read.append(make(backend, *cases[1], machine))

        machine.before_call = make_another
        read.append(make(backend, *cases[0], machine))
        machine.finish_device(0)
    for (got,), case in zip(read, reversed(cases), strict=True):
        assert_same_bits(got, make(CpuBackend(spec), *case))


@pytest.mark.parametrize("geometry", ["crop", "box", "matrix"])
@pytest.mark.parametrize(("dtype", "layout"), [("float32", "channels_first"), ("float16", "channels_last")])
def test_kernels_on_arrays_equal_the_oracle(geometry, dtype, layout, rng):
    images = rng.integers(0, 256, (N, 6, 7, 3)).astype(np.float32)
    table = table_of(rng, geometry)
    options = {
        "mean": [1, 2, 3],
        "scale": 1 / 57,
        "dtype": dtype,
        "layout": layout,
        "erase_value": [0, 1, 2],
        "standardize": True,
    }
    wanted = oracle(images, table, (4, 4), **options)
    with fake_cupy.installed() as machine:
        assert_same_bits(kernels.warp(images, table, (4, 4), **options, device="cuda").get(), wanted)
        given = Gpu(0).array(DeviceMemory(Gpu(0), wanted.nbytes), wanted.shape, wanted.dtype)
        assert kernels.warp(images, table, (4, 4), **options, device="cuda", out=given) is given
        assert_same_bits(given.get(), wanted)
        wrong = Gpu(0).array(DeviceMemory(Gpu(0), wanted.nbytes), (N, 1, *wanted.shape[1:]), wanted.dtype)
        with pytest.raises(ValueError, match=rf"out must be a .*{dtype} array of shape"):
            kernels.warp(images, table, (4, 4), **options, device="cuda", out=wrong)
        crops = random_table(rng, N, 7, 6, 7, 4, 4)
        got = kernels.crop(images, crops, (4, 4), images[0], dtype=dtype, layout=layout, standardize=True, device="cuda").get()
        assert_same_bits(got, kernels.crop(images, crops, (4, 4), images[0], dtype=dtype, layout=layout, standardize=True))
        assert machine.error is None


@pytest.mark.parametrize("geometry", ["plain", "matrix"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_image_with_a_number_that_is_not_finite_is_named(dtype, geometry, rng):
    images = np.ones((N, 6, 7, 3), np.float32)
    images[3, 2, 2] = np.inf
    crops = np.array([[k, 0, 0, 0] for k in range(N)], np.int32)
    table = TransformTable(crops)
    if geometry == "matrix":
        maps = np.tile(np.eye(3, 4, dtype=np.float32), (N, 1, 1))
        table = TransformTable(crops, None, np.tile(np.eye(2, 3), (N, 1, 1)), maps, np.tile(np.int32([0, 0, 4, 4]), (N, 1)))
    spec = spec_of(geometry, "float32", dtype=dtype, check_finite=True)
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
        {"crop": RandomCrop(7, mirror=True), "dtype": "float16"},
        {"crop": RandomResizedCrop(8), "erase": RandomErasing(0.7), "blend": CutMix(1.0), "num_classes": 30, "mean": None},
        {"crop": TenCrop(6), "layout": "channels_first", "dtype": "bfloat16"},
    ],
)
@pytest.mark.parametrize("eagerness", [0, 0.5])
def test_a_loader_makes_the_batches_of_the_cpu_and_compiles_before_the_first(make_file, options, eagerness):
    path, _, _ = make_file(n=11)
    check_loader_on_device(path, {**options, "standardize": True}, eagerness, 4 if "blend" in options else 3)
