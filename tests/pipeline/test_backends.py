"""Backends: which one is taken, what it says when it can't be, and loaders on a stand-in for a GPU."""

import errno
import logging
import multiprocessing
import os
import pickle
import sys

import fake_cupy
import numpy as np
import pytest
import reference
from conftest import host
from crop_cases import assert_same_bits, random_table

from fastprep import CenterCrop, RandomCrop, kernels
from fastprep.diagnostics.contents import Contents
from fastprep.diagnostics.drawings import Drawings
from fastprep.errors import DeviceUnavailableError
from fastprep.kernels import CropSpec
from fastprep.kernels.device import DeviceMemory, Gpu, device_number
from fastprep.loader import Loader
from fastprep.pipeline import choose
from fastprep.pipeline.backends import CpuBackend
from fastprep.pipeline.buffers import ALIGNMENT
from fastprep.pipeline.cuda import CudaBackend

pytestmark = pytest.mark.usefixtures("no_thread_left")

SPEC = CropSpec((12, 14, 3), "uint8", (5, 6))


@pytest.fixture
def path(make_file):
    return make_file()[0]


# --- which one


@pytest.mark.parametrize(("device", "number"), [("cpu", None), ("cuda", 0), ("cuda:0", 0), ("cuda:12", 12)])
def test_devices_by_name(device, number):
    assert device_number(device) == number


@pytest.mark.parametrize("device", ["auto", "gpu", "cuda:", "cuda:-1", "cuda:1 ", "CUDA", None, 0])
def test_what_is_no_device(device):
    with pytest.raises(ValueError, match=f'device must be "cpu", "cuda", or "cuda:" and a number, got {device!r}'):
        device_number(device)


def test_a_loader_refuses_what_is_no_device_before_it_opens_a_file():
    with pytest.raises(ValueError, match='device must be "auto", "cpu", "cuda", or "cuda:" and a number, got \'gpu\''):
        Loader("nowhere.h5", 4, None, device="gpu")


def test_auto_takes_a_gpu_that_answers_and_says_so(caplog, stand_in):
    with caplog.at_level(logging.INFO, "fastprep"):
        assert isinstance(choose("auto", SPEC, 1, 1), CudaBackend)
    assert caplog.messages == ["device='auto': batches are made on cuda:0"]


def no_use():
    raise DeviceUnavailableError("nobody wants it")


def test_auto_takes_the_device_of_the_consumer(caplog):
    with fake_cupy.installed(n_devices=3), caplog.at_level(logging.INFO, "fastprep"):
        assert isinstance(choose("auto", SPEC, 1, 1, no_use), CpuBackend)
        assert caplog.messages == ["device='auto': batches are made on the CPU: nobody wants it"]
        assert choose("auto", SPEC, 1, 1, lambda: 2).device == "cuda:2"
        assert choose("auto", SPEC, 1, 1, lambda: 3).device == "cpu"  # CUDA does not see it


def test_cuda_is_the_device_of_the_consumer_and_who_asks_for_a_device_gets_it():
    with fake_cupy.installed(n_devices=3):
        assert choose("cuda", SPEC, 1, 1, lambda: 2).device == "cuda:2"
        assert choose("cuda", SPEC, 1, 1, no_use).device == "cuda:0"
        assert choose("cuda:1", SPEC, 1, 1, no_use).device == "cuda:1"


def no_nvrtc(machine):
    def missing():
        raise RuntimeError("CuPy failed to load libnvrtc.so.12")

    machine.cupy.cuda.nvrtc.getSupportedArchs = missing


def no_builtins(machine):
    machine.compiler_log = "nvrtc: error: failed to open libnvrtc-builtins.so.12.9.\n  Make sure that it is installed correctly."


def only_newer_architectures(machine):
    machine.architectures = (100, 120)


@pytest.mark.parametrize(
    ("n_devices", "device", "spoil", "message"),
    [
        (0, "cuda", None, r"no NVIDIA driver, or no device, answers \(cudaErrorNoDevice.*"),
        (1, "cuda:1", None, "there is no device cuda:1: CUDA sees 1, counted from 0"),
        (1, "cuda", no_nvrtc, r"NVRTC, CUDA's compiler, can't be loaded \(CuPy failed to load libnvrtc.*cupy-cuda12x\[ctk\] or "),
        (
            1,
            "cuda",
            no_builtins,
            r"NVRTC 12.9, .* can't compile for cuda:0, .* 9.0 \(.*libnvrtc-builtins.so.12.9. Make sure .*; inst",
        ),
        (
            1,
            "cuda",
            only_newer_architectures,
            r"can't compile for cuda:0, of compute capability 9.0 \(nvrtc: error: invalid value",
        ),
    ],
)
def test_what_is_missing_is_named(caplog, n_devices, device, spoil, message):
    with fake_cupy.installed(n_devices=n_devices) as machine:
        if spoil:
            spoil(machine)
        with pytest.raises(DeviceUnavailableError, match=message):
            choose(device, SPEC, 1, 1)
        if device == "cuda":
            with caplog.at_level(logging.INFO, "fastprep"):
                assert choose("auto", SPEC, 1, 1).device == "cpu"
            assert "batches are made on the CPU: " in caplog.text


def test_without_cupy(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    for use in (
        lambda: Loader(path, 4, None, device="cuda"),
        lambda: kernels.crop(np.zeros((1, 2, 2, 1), "u1"), [[0] * 4], (1, 1), device="cuda"),
    ):
        with pytest.raises(
            DeviceUnavailableError, match=r"cupy can't be imported .*; install fastprep\[gpu\], or the cupy that fits"
        ):
            use()
    with Loader(path, 4, None, device="auto") as loader:
        assert loader.stats()["device"] == "cpu"


CACHE = "; set CUPY_CACHE_DIR, or HOME, to a folder that can be written"


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (
            "PermissionError(13, 'Permission denied', '/home/me/.cupy')",
            "([Errno 13] Permission denied: '/home/me/.cupy')" + CACHE,
        ),
        ("RuntimeError('the library is broken')", "(the library is broken); install fastprep[gpu], or "),
        (
            "ImportError('\\n======\\nFailed to import.\\n\\nOriginal error:\\n  no libcublas\\n====\\n')",
            "(Failed to import. Original error: no ",
        ),
        ("ValueError('CUPY_CACHE_SAVE')", "(CUPY_CACHE_SAVE); install"),
    ],
)
def test_whatever_the_import_of_cupy_raises_is_one_line_and_auto_takes_the_cpu(path, tmp_path, monkeypatch, raised, message):
    (tmp_path / "cupy.py").write_text(f"raise {raised}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    for _ in range(2):  # a failed import leaves nothing behind that would let the next one pass
        with pytest.raises(DeviceUnavailableError) as caught:
            Loader(path, 4, None, device="cuda")
        assert str(caught.value).startswith("cupy can't be imported " + message)
        assert "\n" not in str(caught.value)
        with Loader(path, 4, None, device="auto") as loader:
            assert loader.stats()["device"] == "cpu"


@pytest.mark.parametrize("from_home", [True, False])
def test_a_folder_for_compiled_kernels_that_cannot_be_written_is_found_before_the_first_batch(
    path, tmp_path, monkeypatch, stand_in, from_home
):
    folder = tmp_path / ".cupy" / "kernel_cache"
    folder.mkdir(parents=True)
    monkeypatch.delenv("CUPY_CACHE_DIR", raising=False)
    monkeypatch.setenv(*(("HOME", str(tmp_path)) if from_home else ("CUPY_CACHE_DIR", str(folder))))
    with Loader(path, 4, None, device="auto") as loader:
        assert loader.stats()["device"] == "cuda:0"
    assert list(folder.iterdir()) == []

    def read_only(dir):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(dir))

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)  # root may write to any folder
    with pytest.raises(DeviceUnavailableError, match=rf"compiled kernels in {folder} \(Read-only .*{CACHE}, or CUPY_CACHE_IN"):
        Loader(path, 4, None, device="cuda")
    with Loader(path, 4, None, device="auto") as loader:
        assert loader.stats()["device"] == "cpu"
    monkeypatch.setenv("CUPY_CACHE_IN_MEMORY", "1")
    with Loader(path, 4, None, device="auto") as loader:
        assert loader.stats()["device"] == "cuda:0"


def test_a_device_newer_than_the_compiler_is_compiled_for_as_cupy_does(stand_in):
    stand_in.architectures = (75, 80)
    assert str(Gpu(0)) == "cuda:0"


def test_cupy_without_a_driver(path):
    """The real one, where there is no GPU."""
    pytest.importorskip("cupy")
    with pytest.raises(DeviceUnavailableError, match="no NVIDIA driver, or no device, answers"):
        Loader(path, 4, None, device="cuda")


# --- loaders on it


def test_x_is_an_array_of_the_device_and_labels_are_not(path, stand_in):
    with Loader(path, 4, CenterCrop(5), class_weight={0: 2.0}, device="cuda") as loader:
        x, y, weights = next(iter(loader))
        assert isinstance(x, stand_in.cupy.ndarray)
        assert type(y) is type(weights) is np.ndarray
        assert x.data.ptr % ALIGNMENT == 0
        assert loader.stats()["device"] == "cuda:0"


def test_another_device_than_the_first(path):
    with fake_cupy.installed(n_devices=2) as machine, Loader(path, 4, RandomCrop(5), device="cuda:1") as loader:
        (x, _), (wanted, _) = loader.batch(0, 0), Loader(path, 4, RandomCrop(5), device="cpu").batch(0, 0)
        np.testing.assert_array_equal(x.get(), wanted)
        assert {region.device for region in machine.regions.values()} == {1, None}


def test_memory_is_flat_and_given_back(path, stand_in):
    def used(device):
        return sum(len(region.content) for region in stand_in.regions.values() if region.device == device)

    with Loader(path, 4, CenterCrop(5), workers=2, prefetch=1, device="cuda") as loader:
        for _ in range(2):
            for _batch in loader:
                pass
        after_two = used(0), used(None)
        for _ in range(20):
            for _batch in loader:
                pass
        assert used(0) <= after_two[0] + 3 * loader._pool.buffer_bytes
        assert loader.stats()["buffers"] <= 2 + 1 + 2
        assert stand_in.calls["RawModule"] == 1
        del _batch
    assert used(0) == used(None) == 0


def test_staging_memory_is_for_the_samples_there_are(path, stand_in):
    """`batch_size` may be far larger: all in one batch."""
    with Loader(path, 10**12, CenterCrop(5), device="cuda") as loader, Loader(path, 4, CenterCrop(5), device="cpu") as same:
        assert loader._backends[0].n_images == loader._backends[0].n_rows == loader.n_samples
        np.testing.assert_array_equal(loader.batch(0, 0)[0].get(), np.concatenate([x for x, _ in same]))


def test_a_device_that_is_full_is_a_clear_error(path):
    with (
        fake_cupy.installed(device_bytes=5000),
        Loader(path, 4, None, device="cuda") as loader,
        pytest.raises(MemoryError, match=r"cuda:0 has no memory for \d+ bytes; TensorFlow takes all there is unless"),
    ):
        loader.batch(0, 0)


def test_a_launch_that_fails_is_an_error_in_its_place_and_the_loader_goes_on(path, stand_in, monkeypatch):
    with Loader(path, 4, RandomCrop(5), device="cpu") as loader:
        wanted = [x.copy() for x, _ in loader]

    def failing(**options):
        raise fake_cupy.CUDARuntimeError("cudaErrorInvalidSource")

    with Loader(path, 4, RandomCrop(5), workers=2, device="cuda") as loader:
        with monkeypatch.context() as patch:
            patch.setattr(stand_in.cupy, "RawModule", failing)
            with pytest.raises(RuntimeError, match="cudaErrorInvalidSource"):
                next(iter(loader))
        loader.set_epoch(0)
        for (x, _), right in zip(loader, wanted, strict=True):
            np.testing.assert_array_equal(x.get(), right)


def _first_batch(loader, queue):
    try:
        next(iter(loader))
    except RuntimeError as error:
        queue.put(str(error))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("used", [False, True])
def test_it_does_not_survive_a_fork(path, stand_in, used):
    context = multiprocessing.get_context("fork")
    with Loader(path, 4, CenterCrop(5), device="cuda") as loader:
        if used:
            loader.batch(0, 0)
        queue = context.Queue()
        process = context.Process(target=_first_batch, args=(loader, queue))
        process.start()
        assert "cuda:0 was in use before this process was forked, and CUDA does not survive a fork" in queue.get(timeout=60)
        process.join(60)
        assert process.exitcode == 0
        assert len(list(loader)) == len(loader)  # the parent goes on


def test_pickled_it_begins_anew(path, stand_in):
    with Loader(path, 4, RandomCrop(5), device="cuda") as loader:
        x, _ = loader.batch(1, 2)
        with pickle.loads(pickle.dumps(loader)) as twin:
            assert twin.stats()["device"] == "cuda:0"
            assert twin._backends[0].gpu is not loader._backends[0].gpu
            np.testing.assert_array_equal(twin.batch(1, 2)[0].get(), x.get())


# --- the kernel by itself


@pytest.mark.parametrize("source", ["uint8", "uint16", "float32", "float64"])
def test_the_kernel_by_itself(rng, stand_in, source):
    images = rng.integers(0, 256, (3, 9, 11, 3)).astype(source)
    table = random_table(rng, 3, 5, 9, 11, 4, 7)
    arguments = (table, (4, 7), rng.uniform(0, 255, 3), 0.5, "bfloat16", "channels_first")
    wanted = reference.crop(images, *arguments)
    assert_same_bits(host(kernels.crop(images, *arguments, device="cuda")), wanted)
    gpu = Gpu(0)
    there = gpu.upload(images)
    out = gpu.array(DeviceMemory(gpu, wanted.nbytes), wanted.shape, wanted.dtype)
    assert kernels.crop(there, *arguments, out=out, device="cuda:0") is out
    assert_same_bits(out.get(), wanted)


def test_refusals_of_the_kernel(stand_in):
    images, table = np.zeros((1, 6, 7, 3), np.uint8), [[0, 0, 0, 0]]
    with pytest.raises(ValueError, match="out must be a cupy array on cuda:0, got ndarray"):
        kernels.crop(images, table, (2, 2), out=np.zeros((1, 2, 2, 3), "f4"), device="cuda")
    with pytest.raises(ValueError, match=r"slot in the crop table must lie in 0\.\.0, found 1\.\.1"):
        kernels.crop(images, [[1, 0, 0, 0]], (2, 2), device="cuda")
    there = Gpu(0).upload(images)
    there.flags.c_contiguous = False
    with pytest.raises(ValueError, match="images must be C-contiguous and on cuda:0"):
        kernels.crop(there, table, (2, 2), device="cuda")
    with pytest.raises(ValueError, match="images must have one of the types uint8, uint16, int16, float32, float64, got int32"):
        kernels.crop(images.astype("int32"), table, (2, 2), device="cuda")


def test_a_look_at_crops_is_taken_on_the_cpu(path, stand_in, tmp_path):
    """It works on the numbers themselves, with a GPU at hand or not."""
    with Contents(path) as contents:
        Drawings(contents).crops(str(tmp_path / "crops.png"), 5, 0)
    assert (tmp_path / "crops.png").stat().st_size
