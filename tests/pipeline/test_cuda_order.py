"""What the GPU does when: every batch is right however late and in whatever order it works, and no wait can be left out.

There is no GPU here: `fake_cupy.py` stands in for one and uses every freedom that CUDA's rules leave.
"""

import ast
import contextlib
import sys
import threading
import types
from pathlib import Path

import fake_cupy
import fake_nvimgcodec
import h5py
import numpy as np
import pytest
from fake_consumers import LIBRARIES, OnTwo, hand_to, is_right, train_on, without_waiting_in
from fake_cupy import CUDARuntimeError, Schedule
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optional_libraries import needs

from fastprep import CenterCrop, DeviceUnavailableError, RandomCrop, TenCrop, kernels
from fastprep.kernels import captures, device, launches
from fastprep.kernels.device import DeviceMemory, Gpu
from fastprep.loader import Loader
from fastprep.pipeline import BatchSource, Lease, backends, cuda, device_jpegs, fences, sized_staging, staging
from fastprep.pipeline.cuda import CudaBackend, _Staging
from fastprep.pipeline.decoding import DeviceDecoding
from fastprep.pipeline.device_jpegs import JpegDecoder
from fastprep.pipeline.fences import DeviceFence, StreamFence

pytestmark = pytest.mark.usefixtures("no_thread_left")

N = 23


@pytest.fixture
def path(make_file):
    """A file whose label is the image's number."""
    path, _, _ = make_file(n=N)
    with h5py.File(path, "r+") as file:
        file["labels"][...] = np.arange(N)
    return path


def train(machine, path, epochs=2, keep=0, **options):
    """Iterate as TensorFlow does: let go of a batch when its reading is queued. Return what was read, and what should be."""
    with Loader(path, device="cpu", **options) as loader:
        wanted = [x.copy() for _ in range(epochs) for x, _ in loader]
    read, kept = [], []
    try:
        with Loader(path, device="cuda", **options) as loader:
            for _ in range(epochs):
                for x, _y in loader:
                    read.append(machine.read_later(x))
                    kept = [*kept, x][-keep:] if keep else []
                    del x
            kept.clear()
        machine.finish_device(0)
    except CUDARuntimeError:
        return [], wanted
    return read, wanted


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    schedule=st.builds(
        Schedule, eagerness=st.sampled_from([0, 0.1, 0.5, 0.9]), readers_first=st.booleans(), seed=st.integers(0, 1 << 30)
    ),
    workers=st.integers(1, 4),
    prefetch=st.integers(0, 3),
    keep=st.integers(0, 6),
    batch_size=st.integers(1, 9),
    crop=st.sampled_from([RandomCrop((5, 6), mirror=True, flip=True), CenterCrop(4), TenCrop(3)]),
    mean=st.sampled_from(["file", None, np.arange(12 * 14 * 3.0).reshape(12, 14, 3)]),
    scale=st.sampled_from([None, 0.5]),
    dtype=st.sampled_from(["float32", "float16", "bfloat16"]),
    layout=st.sampled_from(["channels_last", "channels_first"]),
)
def test_every_batch_is_right_on_every_schedule(path, schedule, keep, **options):
    with fake_cupy.installed(schedule) as machine:
        read, wanted = train(machine, path, keep=keep, shuffle=True, seed=3, **options)
        assert machine.error is None
        assert is_right(read, wanted)
        assert {region.device for region in machine.regions.values()} <= {None}  # the device's memory is given back


# --- batches in parts, each on a device of its own


def train_on_two(machine, path, epochs=2, **options):
    with Loader(path, device="cpu", **options) as loader:
        wanted = []
        for _ in range(epochs):
            for x, _y in loader:
                size = -(-len(x) // loader.crop.n_crops // 2) * loader.crop.n_crops
                wanted += [part.copy() for part in (x[:size], x[size:])]
    read = []
    try:
        with OnTwo(path, **options) as loader:
            for _ in range(epochs):
                for parts in loader:
                    for number, (x, _y) in enumerate(parts):
                        assert x.device.id == number
                        read.append(machine.read_later(x))
                    del parts, x
        for number in range(2):
            machine.finish_device(number)
    except CUDARuntimeError:
        return [], wanted
    return read, wanted


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    schedule=st.builds(
        Schedule, eagerness=st.sampled_from([0, 0.1, 0.5, 0.9]), readers_first=st.booleans(), seed=st.integers(0, 1 << 30)
    ),
    workers=st.integers(1, 4),
    prefetch=st.integers(0, 3),
    batch_size=st.sampled_from([2, 4, 6, 22]),  # the last part of the last batch has no images in the first and the last
    crop=st.sampled_from([RandomCrop((5, 6), mirror=True, flip=True), TenCrop(3)]),
    dtype=st.sampled_from(["float32", "bfloat16"]),
)
def test_every_part_is_right_on_every_schedule(path, schedule, **options):
    with fake_cupy.installed(schedule, n_devices=2) as machine:
        read, wanted = train_on_two(machine, path, shuffle=True, seed=3, **options)
        assert machine.error is None
        assert is_right(read, wanted)
        assert {region.device for region in machine.regions.values()} <= {None}


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("kind", [DeviceFence, DeviceMemory, _Staging])
def test_each_device_is_waited_for_by_itself(path, monkeypatch, kind, number):
    """Let each wait of a kind be for the other device when it should be for `number`."""
    options = {"batch_size": 4, "crop": RandomCrop(5), "shuffle": True, "workers": 1, "prefetch": 0}

    def elsewhere(original, of):
        def wait(self):
            frame = sys._getframe(1)
            if isinstance(frame.f_locals.get("self"), kind) and of(self) == number:
                return
            original(self)

        return wait

    with fake_cupy.installed(n_devices=2) as machine:
        assert is_right(*train_on_two(machine, path, **options))
    with fake_cupy.installed(n_devices=2) as machine:
        monkeypatch.setattr(Gpu, "synchronize", elsewhere(Gpu.synchronize, lambda gpu: gpu.number))
        event = machine.cupy.cuda.Event
        monkeypatch.setattr(event, "synchronize", elsewhere(event.synchronize, lambda event: event.queue.device))
        assert not is_right(*train_on_two(machine, path, **options))


# --- nothing of it can be left out


def a_training(machine, path):
    return is_right(*train(machine, path, batch_size=2, crop=RandomCrop(5), shuffle=True, workers=1, prefetch=0))


def a_crop(machine, path):
    images = np.arange(2 * 6 * 7 * 3, dtype=np.uint8).reshape(2, 6, 7, 3)
    table = np.array([[0, 1, 2, 1], [1, 0, 0, 2]], np.int32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DeviceMemory, "__del__", lambda self: None)  # waits, too
        read = machine.read_later(kernels.crop(images, table, (4, 4), device="cuda"))
    with contextlib.suppress(CUDARuntimeError):
        machine.finish_device(0)
    return is_right([read], [kernels.crop(images, table, (4, 4))])


def a_training_of_torch(machine, path):
    return is_right(*hand_to("torch", machine, path, **SHORT))


def a_decoding(machine, path):
    gpu = Gpu(0)
    with fake_nvimgcodec.installed(machine), gpu.current(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(DeviceMemory, "__del__", lambda self: None)  # waits, too
        try:
            JpegDecoder(gpu, gpu.stream(), 3, DeviceMemory(gpu, 1000), DeviceDecoding((True,)))
        except DeviceUnavailableError:
            return False
        return True


SHORT = {"batch_size": 2, "crop": RandomCrop(5), "shuffle": True, "workers": 1, "prefetch": 0}
WAITS = {
    "_Staging.wait": a_training,  # before the hand-over
    "DeviceFence.wait": a_training,  # before a buffer is written to that was read from
    "StreamFence.wait": a_training_of_torch,  # the same
    "DeviceMemory.__del__": a_training,  # before memory is freed
    "Gpu.upload": a_training,  # before another stream reads the mean
    "make_on": a_crop,
    "JpegDecoder._check": a_decoding,  # before the colour of the trial is compared
}
NEEDS = {"JpegDecoder._check": needs("simplejpeg")}  # with which the trial is compared


@pytest.mark.parametrize("function", [pytest.param(name, marks=NEEDS.get(name, ())) for name in WAITS])
def test_no_wait_can_be_left_out(path, function):
    with fake_cupy.installed() as machine:
        assert WAITS[function](machine, path)
    with fake_cupy.installed() as machine, without_waiting_in(machine, function):
        assert not WAITS[function](machine, path)


def test_these_are_all_the_waits_there_are():
    found = set()
    for module in (device, launches, backends, cuda, fences, staging, sized_staging, device_jpegs):
        tree = ast.parse(Path(module.__file__).read_text())
        owners = [(f"{c.name}.", f) for c in tree.body if isinstance(c, ast.ClassDef) for f in c.body]
        for prefix, function in [*owners, *(("", node) for node in tree.body)]:
            if isinstance(function, ast.FunctionDef):
                called = [
                    n.func.attr for n in ast.walk(function) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)
                ]
                found |= {prefix + function.name} if {"synchronize", "wait_event"} & {*called} else set()
    assert found == {*WAITS, "Gpu.synchronize"}


# --- consumers with fences of their own, which capture graphs


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    schedule=st.builds(
        Schedule, eagerness=st.sampled_from([0, 0.1, 0.5, 0.9]), readers_first=st.booleans(), seed=st.integers(0, 1 << 30)
    ),
    library=st.sampled_from(sorted(LIBRARIES)),
    captures=st.booleans(),
    keep=st.integers(0, 6),
    workers=st.integers(1, 4),
    prefetch=st.integers(0, 3),
    batch_size=st.integers(1, 9),
    crop=st.sampled_from([RandomCrop((5, 6), mirror=True), TenCrop(3)]),
    dtype=st.sampled_from(["float32", "bfloat16"]),
)
def test_every_batch_is_right_for_every_library(path, schedule, library, captures, keep, **options):
    """Images, labels and weights."""
    keep = 0 if captures else keep  # whoever keeps every batch gets more memory, when he waits for it
    with fake_cupy.installed(schedule) as machine:
        read, wanted = hand_to(library, machine, path, captures=captures, keep=keep, class_weight={3: 0.5}, **options)
        assert machine.spoilt == []
        assert machine.error is None
        assert is_right(read, wanted)


@pytest.mark.parametrize("library", LIBRARIES)
def test_no_librarys_fence_can_be_left_out(path, monkeypatch, library):
    with fake_cupy.installed() as machine:
        assert is_right(*hand_to(library, machine, path, **SHORT))
    monkeypatch.setattr(Lease, "hand_over", lambda self, *fences: None)
    with fake_cupy.installed() as machine:
        assert not is_right(*hand_to(library, machine, path, **SHORT))


@pytest.mark.parametrize(("fenced", "right"), [([0, 1], True), ([0], False), ([1], False)])
def test_a_consumer_with_two_streams_needs_a_fence_for_each(path, fenced, right):
    with fake_cupy.installed() as machine:
        read = train_on(machine, path, lambda queues: [StreamFence(Gpu(0), id(queues[k])) for k in fenced], n_queues=2, **SHORT)
        assert is_right(*read) == right


def test_a_wait_for_the_device_ends_a_capture(path):
    with fake_cupy.installed() as machine:
        assert not is_right(*train_on(machine, path, lambda queues: [], captures=True, **SHORT))
        assert machine.spoilt == ["Device.synchronize"]


def test_batches_that_nobody_got_are_not_waited_for(path):
    """An iteration that ends early leaves batches behind, whose buffers are used again while somebody captures a graph."""
    with fake_cupy.installed() as machine, Loader(path, device="cuda", **{**SHORT, "prefetch": 3}) as loader:
        for _ in range(3):
            iterator = loader._epoch_iterator()
            next(iterator)
            with machine.capturing(machine.queue(0)):
                iterator.close()
                next(loader._epoch_iterator())
        assert machine.spoilt == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of memory that could not be freed either
@pytest.mark.parametrize("is_reserved", [True, False])
def test_what_is_allocated_in_the_middle_of_a_training_ends_a_capture(path, monkeypatch, is_reserved):
    with fake_cupy.installed() as machine, Loader(path, device="cuda", **SHORT) as loader:
        if is_reserved:
            loader._source.reserve()
        else:
            monkeypatch.setattr(BatchSource, "reserve", lambda self: None)
        with machine.capturing(machine.queue(0)), contextlib.suppress(CUDARuntimeError):
            for _ in loader._epoch_iterator():
                pass
        assert bool({"malloc", "hostAlloc", "RawModule"} & {*machine.spoilt}) != is_reserved


@pytest.mark.parametrize("name", ["Device.synchronize", "malloc", "free", "hostAlloc", "freeHost", "RawModule"])
def test_the_stand_in_knows_what_ends_a_capture(name, recwarn):
    with fake_cupy.installed() as machine:
        gpu, cupy = Gpu(0), machine.cupy
        address, pinned = [cupy.cuda.runtime.malloc(8)], cupy.cuda.runtime.hostAlloc(8, cupy.cuda.runtime.hostAllocPortable)
        calls = {
            "Device.synchronize": gpu.synchronize,
            "malloc": lambda: DeviceMemory(gpu, 8),
            "free": lambda: cupy.cuda.runtime.free(address[0]),
            "hostAlloc": lambda: gpu.pinned(8),
            "freeHost": lambda: cupy.cuda.runtime.freeHost(pinned),
            "RawModule": lambda: cupy.RawModule(code="fastprep_crop(", options=(), backend="nvrtc"),
        }
        with machine.capturing(), contextlib.suppress(CUDARuntimeError):
            calls[name]()
        assert machine.spoilt == [name]


def test_a_thread_that_is_not_relaxed_ends_a_capture(path, monkeypatch):
    """Waiting for an event of one's own is enough, where another thread captures in global mode."""
    with fake_cupy.installed() as machine:
        monkeypatch.setattr(captures, "_exchange", lambda: None)
        assert not is_right(*hand_to("torch", machine, path, captures=True, **SHORT))
        assert machine.spoilt == ["Event.synchronize"]


def test_a_thread_has_the_mode_that_it_had():
    with fake_cupy.installed() as machine:
        for mode in (0, 1, 2):
            machine.thread.mode = mode
            with Gpu(0).current():
                assert machine.thread.mode == fake_cupy.RELAXED
                with Gpu(0).current():
                    pass
                assert machine.thread.mode == fake_cupy.RELAXED
            assert machine.thread.mode == mode


def test_the_stand_in_knows_that_a_captured_stream_is_not_for_others():
    with fake_cupy.installed() as machine:
        fence = StreamFence(Gpu(0), id(machine.readers[0]))
        for stream in (None, Gpu(0).stream()):
            fence.wait(stream)
            with machine.capturing(), pytest.raises(CUDARuntimeError, match=r"Event\.record is not permitted"):
                fence.wait(stream)


# --- threads that meet in the middle of a batch


def meeting(machine, path, call, turn):
    """Make a batch, and another one in another thread while the first is at its `turn`-th `call` of cupy's."""
    with Loader(path, 4, RandomCrop(5), device="cpu") as loader:
        wanted = [loader.batch(0, step)[0].copy() for step in (1, 2)]
    with Loader(path, 4, RandomCrop(5), device="cuda") as loader:
        for step in (3, 4):
            loader.batch(0, step)  # staging memory is there, the kernel is compiled
        read, left, me = [[], []], [turn], threading.get_ident()

        def meet(name):
            if name != call or threading.get_ident() != me:
                return
            left[0] -= 1
            if left[0] == 0:
                other = threading.Thread(target=lambda: read.__setitem__(1, machine.read_later(loader.batch(0, 2)[0])))
                other.start()
                other.join()

        machine.before_call = meet
        try:
            read[0] = machine.read_later(loader.batch(0, 1)[0])
            machine.before_call = lambda name: None
            machine.finish_device(0)
        except CUDARuntimeError:
            return False
        finally:
            machine.before_call = lambda name: None
    assert left[0] <= 0, f"cupy's {call} is called less than {turn} times"
    return is_right(read, wanted)


@pytest.mark.parametrize(
    ("call", "turn"),
    [("Device.synchronize", 1), ("memcpyAsync", 1), ("memcpyAsync", 2), ("launch", 1), ("Event.synchronize", 1)],
)
@pytest.mark.parametrize("eagerness", [0, 0.5])
def test_another_thread_may_come_in_anywhere(path, call, turn, eagerness):
    with fake_cupy.installed(Schedule(eagerness)) as machine:
        assert meeting(machine, path, call, turn)


def test_staging_memory_goes_back_only_after_the_wait(path, monkeypatch):
    @contextlib.contextmanager
    def too_early(self):
        with original(self) as staging:
            pass
        yield staging

    original = CudaBackend._staging
    monkeypatch.setattr(CudaBackend, "_staging", too_early)
    with fake_cupy.installed() as machine:
        assert not meeting(machine, path, "Event.synchronize", 1)


def test_the_stand_in_tells_pinned_memory_from_other():
    """A queued copy reads pinned memory when it is done, and other memory when it is called."""
    with fake_cupy.installed() as machine:
        gpu, values = device.Gpu(0), np.arange(4, dtype=np.uint8)
        target = gpu.array(DeviceMemory(gpu, 8), (4,), "uint8")
        for source, wanted in ((values.copy(), [0, 1, 2, 3]), (gpu.pinned(4), [9, 9, 9, 9])):
            stream = gpu.stream()
            source[:] = values
            gpu.copy(target, source, stream)
            source[:] = 9
            assert target.get().tolist() != wanted
            stream.synchronize()
            assert target.get().tolist() == wanted
        del target
        assert machine.calls["free"] == 1


def test_the_stand_in_has_cupys_names():
    cupy = pytest.importorskip("cupy")

    def compare(fake, real, path):
        assert real is not None
        for name, value in vars(fake).items():
            if not name.startswith("_") or name == "__version__":
                assert hasattr(real, name), f"{path}.{name}"
                if isinstance(value, types.SimpleNamespace | types.ModuleType):
                    compare(value, getattr(real, name), f"{path}.{name}")

    with fake_cupy.installed() as machine:
        compare(machine.cupy, cupy, "cupy")
        assert issubclass(cupy.cuda.runtime.CUDARuntimeError, RuntimeError)
        for kind in ("Device", "Stream", "ExternalStream", "Event"):
            fake, real = getattr(machine.cupy.cuda, kind), getattr(cupy.cuda, kind)
            assert all(hasattr(real, name) for name in vars(fake) if callable(getattr(fake, name)))
