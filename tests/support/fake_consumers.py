"""Stand-ins for what reads batches on the GPU of `fake_cupy.py`: each queues its reads, and has a fence of its own."""

import contextlib
import sys
import types

from fake_cupy import CUDARuntimeError

from fastprep.adapters.tensorflow import TensorFlowFence
from fastprep.kernels.device import Gpu
from fastprep.loader import Loader
from fastprep.pipeline import dlpack_capsule
from fastprep.pipeline.fences import StreamFence


class Nothing:
    """The fence that was left out."""

    def wait(self, stream=None):
        pass


class TokenFence:
    """As JAX can do it: a computation is dispatched, which comes last, and the worker's stream waits for its result."""

    def __init__(self, machine, queue):
        self.queue, self.after = queue, StreamFence(Gpu(queue.device), id(queue))
        self.machine = machine

    def wait(self, stream=None):
        with self.machine.lock:
            self.queue.pending.append(lambda: None)
        self.after.wait(stream)


CONSUMERS = {
    "TensorFlow": lambda machine, queue: TensorFlowFence(queue.device),
    "torch": lambda machine, queue: StreamFence(Gpu(queue.device), id(queue)),
    "JAX": TokenFence,
}


@contextlib.contextmanager
def tensorflow_on(machine):
    """Have `import tensorflow` give what a fence needs: the wait for the stream on which a device computes."""
    made, at = types.ModuleType("tensorflow"), []

    @contextlib.contextmanager
    def device(name):
        at.append(int(name.removeprefix("GPU:")))
        yield
        at.pop()

    def sync_device():
        machine.call("SyncDevice")
        machine.finish(machine.readers[at[-1]])

    made.device, made.raw_ops = device, types.SimpleNamespace(SyncDevice=sync_device)
    before = sys.modules.get("tensorflow")
    sys.modules["tensorflow"] = made
    try:
        yield
    finally:
        if before is None:
            del sys.modules["tensorflow"]
        else:
            sys.modules["tensorflow"] = before


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
    with tensorflow_on(machine), Loader(path, device="cuda", **options) as loader:
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
