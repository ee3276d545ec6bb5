"""What a loader on one device leaves on others, nothing, and what it leaves of pinned memory, nothing either; on the stand-in."""

import gc
import threading

import fake_cupy
import numpy as np
import pytest

from fastprep import RandomCrop, kernels
from fastprep.errors import DeviceUnavailableError
from fastprep.kernels import CropSpec
from fastprep.kernels.device import DeviceMemory, Gpu
from fastprep.kernels.pinned import PinnedMemory
from fastprep.loader import Loader
from fastprep.pipeline import choose

pytestmark = pytest.mark.usefixtures("no_thread_left")


@pytest.fixture
def path(make_file):
    return make_file()[0]


def passes_of_a_loader(path):
    with Loader(path, 4, RandomCrop(5), workers=2, device="cuda:1") as loader:
        for _ in range(2):
            for _batch in loader:
                pass


def one_batch(path):
    with Loader(path, 4, RandomCrop(5), device="cuda:1") as loader:
        loader.batch(0, 1)


def a_batch_that_outlives_its_loader(path):
    with Loader(path, 4, RandomCrop(5), device="cuda:1") as loader:
        batch = loader.batch(0, 1)
    del batch


def the_kernel_by_itself(path):
    kernels.crop(np.zeros((1, 6, 7, 3), np.uint8), [[0, 0, 0, 0]], (4, 4), [1.0, 2.0, 3.0], device="cuda:1")


def a_description(path):
    Gpu(1).describe()


def memory_that_another_thread_lets_go(path):
    left = [DeviceMemory(Gpu(1), 8), PinnedMemory(Gpu(1), 8), Gpu(1).pinned(8)]
    thread = threading.Thread(target=left.clear)
    thread.start()
    thread.join()


def a_batch_that_fails(path):
    with Loader(path, 4, RandomCrop(5), device="cuda:1") as loader, pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader._backends[0].gpu.cupy, "RawModule", lambda **options: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            loader.batch(0, 0)


USES = [
    passes_of_a_loader,
    one_batch,
    a_batch_that_outlives_its_loader,
    the_kernel_by_itself,
    a_description,
    memory_that_another_thread_lets_go,
    a_batch_that_fails,
]


@pytest.mark.parametrize("use", USES)
def test_no_context_is_made_on_another_device(path, use):
    with fake_cupy.installed(n_devices=3) as machine:
        use(path)
        gc.collect()
        assert machine.contexts == {1}
        assert {region.device for region in machine.regions.values()} == set()


def no_use():
    raise DeviceUnavailableError("nobody wants it")


def test_a_look_at_a_device_makes_no_context_at_all():
    """`device="auto"` looks at the first one, and may then have a reason not to take it."""
    with fake_cupy.installed(n_devices=2) as machine:
        choose("auto", CropSpec((12, 14, 3), "uint8", (5, 6)), 1, 1, no_use)
        assert machine.contexts == set()


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("before", [0, 2])
def test_the_thread_stays_on_the_device_it_has_chosen(path, use, before):
    with fake_cupy.installed(n_devices=3) as machine:
        machine.cupy.cuda.runtime.setDevice(before)
        use(path)
        assert (machine.current_device, machine.current_context) == (before, before + 1)
        assert machine.contexts == {before, 1}


@pytest.mark.parametrize("is_remembered", [False, True])
def test_the_thread_is_on_the_first_device_again_whatever_the_runtime_makes_of_a_thread_without_a_context(path, is_remembered):
    with fake_cupy.installed(n_devices=3) as machine:
        machine.is_remembered = is_remembered
        passes_of_a_loader(path)
        assert machine.cupy.cuda.runtime.getDevice() == 0


def test_pinned_memory_is_given_back_when_the_loader_is_closed_though_a_batch_is_left(path, stand_in):
    loader = Loader(path, 4, RandomCrop(5), workers=2, device="cuda")
    batch = next(iter(loader))
    assert any(region.device is None for region in stand_in.regions.values())
    loader.close()
    assert not any(region.device is None for region in stand_in.regions.values())
    assert stand_in.calls["freeHost"] == stand_in.calls["hostAlloc"] > 0
    del batch


def test_an_array_keeps_its_pinned_memory(stand_in):
    array = Gpu(0).pinned(12)
    part = array[4:8].view(np.int32)
    part[:] = 7
    del array
    gc.collect()
    assert part.tolist() == [7]
    assert stand_in.calls["freeHost"] == 0
    del part
    assert stand_in.calls["freeHost"] == 1


def test_too_little_memory_to_pin_is_a_clear_error(path):
    with (
        fake_cupy.installed(host_bytes=1000),
        Loader(path, 4, None, device="cuda") as loader,
        pytest.raises(
            MemoryError, match=r"the system does not pin \d+ bytes of memory for cuda:0; a smaller batch_size or fewer"
        ),
    ):
        loader.batch(0, 0)
