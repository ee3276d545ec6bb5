"""Stand-ins for what reads batches on the GPU of `fake_cupy.py`: each queues its reads, and lets go of the batch."""

import contextlib
import sys
import types
from dataclasses import dataclass

import numpy as np
import pytest
from dlpack_tensors import DeviceTensor
from fake_cupy import CUDARuntimeError, Wait

from fastprep.adapters import jax
from fastprep.adapters.jax import to_jax
from fastprep.adapters.tensorflow import to_tensors
from fastprep.adapters.torch import to_torch
from fastprep.dataset.nested import leaves
from fastprep.kernels.device import Gpu
from fastprep.loader import Loader
from fastprep.pipeline import Companions, dlpack_capsule
from fastprep.pipeline.cuda import CudaBackend

VERSION = "1.0 (stand-in)"


class Nothing:
    """The fence that was left out."""

    def wait(self, stream=None):
        pass


def train_on(machine, path, fences_of, n_queues=1, captures=False, epochs=2, keep=0, **options):
    """Take batches as capsules, in turn read on some streams; let go when the reading is queued.

    Parameters
    ----------
    machine : fake_cupy.Machine
    path : path
    fences_of : callable
        Takes the streams on which batches are read, and returns the fences that are given to each batch.
    n_queues : int
    captures : bool
        Whether the consumer captures a graph all the time from its third batch on, on yet another stream.

    Returns
    -------
    list, list
        What was read, nothing at all after an error of CUDA's; and what should be.
    """
    with Loader(path, device="cpu", **options) as loader:
        wanted = [x.copy() for _ in range(epochs) for x, _ in loader]
    queues = [machine.readers[0], *(machine.queue(0, is_reader=True) for _ in range(n_queues - 1))]
    capture, read, kept = machine.queue(0), [], []
    with Loader(path, device="cuda", **options) as loader:
        fences = fences_of(queues)
        try:
            with contextlib.ExitStack() as capturing:
                for _ in range(epochs):
                    for batch in loader._epoch_iterator():
                        capsule = dlpack_capsule(batch.lease, batch.x.shape, loader.dtype, 0, fences)
                        read.append(machine.read_later(batch.x, queues[len(read) % n_queues]))
                        kept = [*kept, capsule][-keep:] if keep else []
                        del capsule, batch
                        if captures and len(read) == 3:
                            capturing.enter_context(machine.capturing(capture))
            kept.clear()
            machine.finish_device(0)
        except CUDARuntimeError:
            kept.clear()
            return [], wanted
    return read, wanted


# --- the libraries themselves, as far as a hand-over needs them


@contextlib.contextmanager
def modules(**made):
    """Have imports give these modules, and nothing below them that is really there."""
    before = {name: sys.modules.get(name) for name in made}
    sys.modules.update(made)
    try:
        yield
    finally:
        for name, module in before.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module


def fake_torch(machine):
    """Return torch as it computes on one stream of each device."""
    made = types.ModuleType("torch")
    made.cuda = types.SimpleNamespace(
        current_stream=lambda number: types.SimpleNamespace(cuda_stream=id(machine.readers[number]))
    )
    made.cuda.is_available, made.cuda.device_count = (lambda: True), (lambda: machine.n_devices)
    made.__version__ = VERSION
    made.from_dlpack = DeviceTensor
    made.from_numpy = lambda array: array
    return made


@dataclass(frozen=True)
class JaxDevice:
    """A GPU as JAX sees it."""

    local_hardware_id: int
    platform: str = "gpu"


class Token:
    """Result of a computation of JAX's that is queued on the compute stream of a device."""

    def __init__(self, machine, queue):
        self.machine = machine
        with machine.lock:
            queue.pending.append(lambda: None)
            self.queue, self.number = queue, queue.n_done + len(queue.pending)

    def block_until_ready(self):
        self.machine.finish(self.queue)

    def __dlpack__(self, *, stream):
        with self.machine.lock:
            waiting = next(queue for queue in self.machine.queues if id(queue) == stream)
            waiting.pending.append(Wait(self.queue, self.number))


def fake_jax(machine):
    """Return JAX as it computes on one stream of each device, which it tells nobody."""
    devices = [JaxDevice(number) for number in range(machine.n_devices)]
    made = types.ModuleType("jax")
    made.__version__ = VERSION
    made.default_backend = lambda: "gpu"
    made.local_devices = lambda: devices
    made.device_put = lambda value, device: device if value == 0 else value  # a zero stands for its device
    made.jit = lambda function: lambda device: Token(machine, machine.readers[device.local_hardware_id])

    def from_dlpack(array):
        kind, number = array.__dlpack_device__()
        tensor = DeviceTensor(array.__dlpack__(stream=0, max_version=(1, 0)))
        assert (kind, number) == (tensor.device_type, tensor.device.id)
        return tensor

    made.dlpack = types.SimpleNamespace(from_dlpack=from_dlpack)
    return made


def fake_tensorflow(machine):
    """Return TensorFlow as it computes on one stream of each device, and knows all of them."""
    made, at = types.ModuleType("tensorflow"), []

    @contextlib.contextmanager
    def device(name):
        at.append(name)
        yield
        at.pop()

    def sync_device():
        machine.call("SyncDevice")
        machine.finish(machine.readers[int(at[-1].removeprefix("GPU:"))])

    named = [types.SimpleNamespace(name=f"/physical_device:GPU:{number}") for number in range(machine.n_devices)]
    logical = [types.SimpleNamespace(name=f"/device:GPU:{number}") for number in range(machine.n_devices)]
    made.device, made.raw_ops = device, types.SimpleNamespace(SyncDevice=sync_device)
    made.constant = lambda value: types.SimpleNamespace(device="/job:localhost/device:CPU:0")
    made.__version__ = VERSION
    made.config = types.SimpleNamespace(
        get_visible_devices=lambda kind: named,
        list_physical_devices=lambda kind: named,
        list_logical_devices=lambda kind: logical,
        experimental=types.SimpleNamespace(get_memory_growth=lambda gpu: True),
    )
    made.experimental = types.SimpleNamespace(dlpack=types.SimpleNamespace(from_dlpack=DeviceTensor))
    return made


LIBRARIES = {
    "TensorFlow": ("tensorflow", fake_tensorflow, to_tensors),
    "torch": ("torch", fake_torch, to_torch),
    "JAX": ("jax", fake_jax, to_jax),
}


class WithCompanions(Loader):
    """A loader whose labels and weights go to the device, as Keras' do."""

    def _choose_companions(self, *arrays):
        return Companions(arrays)


def hand_to(library, machine, path, captures=False, epochs=2, keep=0, **options):
    """Hand batches to a library, which queues its reads of all arrays, and lets go of them.

    Returns
    -------
    list, list
        What was read, nothing at all after an error of CUDA's; and what should be: the arrays of each batch, one after the other.
    """
    with Loader(path, device="cpu", **options) as loader:
        wanted = [np.array(part) for _ in range(epochs) for batch in loader for part in leaves(*batch)]
    name, make, hand_over = LIBRARIES[library]
    capture, read, kept = machine.queue(0), [], []
    forget_devices()
    with modules(**{name: make(machine)}), WithCompanions(path, device="cuda", **options) as loader:
        try:
            with contextlib.ExitStack() as capturing:
                for step, batch in enumerate(b for _ in range(epochs) for b in loader._epoch_iterator()):
                    arrays = hand_over(batch, loader.dtype)
                    read += [machine.read_later(array) for array in leaves(*arrays)]
                    kept = [*kept, arrays][-keep:] if keep else []
                    del batch, arrays
                    if captures and step == 2:
                        capturing.enter_context(machine.capturing(capture))
            kept.clear()
            machine.finish_device(0)
        except CUDARuntimeError:
            kept.clear()
            return [], wanted
        finally:
            forget_devices()
    return read, wanted


def forget_devices():
    """Let the hand-over to JAX look for devices anew."""
    jax._device_of.cache_clear()
    jax._fence_of.cache_clear()


# --- what a test asks of it


class OnTwo(Loader):
    """As Keras' loader is for a strategy over two GPUs."""

    def _choose_backends(self, device):
        size = -(-self.batch_size // 2)
        return [CudaBackend(self._spec, Gpu(number), size, size * self.crop.n_crops) for number in range(2)]


def is_right(read, wanted):
    """Tell whether each array was read once, and has the bits that it should have."""
    return len(read) == len(wanted) and all(
        len(r) == 1 and r[0].tobytes() == w.tobytes() for r, w in zip(read, wanted, strict=True)
    )


@contextlib.contextmanager
def without_waiting_in(machine, function):
    """Leave out what waits in one function of the package."""

    def patched(original):
        def wait(self, *arguments):
            frame = sys._getframe(1)
            if frame.f_code.co_qualname == "Gpu.synchronize":
                frame = frame.f_back
            if frame.f_code.co_qualname != function:
                original(self, *arguments)

        return wait

    with pytest.MonkeyPatch.context() as patch:
        cuda = machine.cupy.cuda
        for kind, name in ((cuda.Stream, "synchronize"), (cuda.Device, "synchronize"), (cuda.Event, "synchronize")):
            patch.setattr(kind, name, patched(getattr(kind, name)))
        patch.setattr(cuda.Stream, "wait_event", patched(cuda.Stream.wait_event))
        yield
