"""Backends: each makes batches from images and transform tables, on the CPU or on a CUDA device."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from fastprep.dataset.nested import map_outputs, outputs_of
from fastprep.errors import DeviceUnavailableError
from fastprep.kernels import blend
from fastprep.kernels.device import Gpu, device_number
from fastprep.pipeline.buffers import HOST, Lease, Memory, as_array
from fastprep.pipeline.companions import Companions, Rows
from fastprep.pipeline.cuda import CudaBackend, Made
from fastprep.pipeline.places import end_of_x, offsets_of_x
from fastprep.pipeline.worker_pool import WorkerPool
from fastprep.transforms import BlendTable

_log = logging.getLogger(__name__)


class Backend(Protocol):
    """Maker of batches on one device; called by several threads at once.

    Attributes
    ----------
    device : str
        "cpu" or "cuda:N".
    spec : CropSpec, or dict of str to CropSpec
        Of each input of the network.
    memory : Memory
        Memory of the batch buffers.
    companions : Companions
        The arrays that lie behind x in a buffer; none on the CPU.
    """

    device: str
    spec: Any
    memory: Memory
    companions: Companions

    def reserve(self, n_threads: int, has_blends: bool = False) -> None:
        """Get ready for batches made by `n_threads` threads at once, so that making one allocates and compiles nothing.

        Parameters
        ----------
        n_threads : int
        has_blends : bool
            Whether batches will be blended.
        """
        ...

    def make(
        self,
        read: Callable[..., Rows],
        n_images: int,
        tables: Any,
        new_lease: Callable[..., Lease],
        blends: BlendTable | None = None,
    ) -> Made:
        """Read images and make a batch of them.

        Parameters
        ----------
        read : callable
            Hands one image for each slot 0..n_images-1 to a sink, those of each input to one, and returns what belongs to them.
        n_images : int
        tables : TransformTable, or dict of str to TransformTable
            Of each input.
        new_lease : callable
            Returns the lease of a buffer in `memory`; takes the stream that is going to write to it, see `BufferPool.lease`.
        blends : BlendTable, optional
            What is blended once all output images are made. What belongs to them is blended by `read`.

        Returns
        -------
        Made

        Raises
        ------
        NotFiniteOnDevice
            If results on a device are not finite. On the CPU `read` raises what the sink finds.
        """
        ...

    def buffer_bytes(self, n_rows: int) -> int:
        """Return how large a buffer for a batch with `n_rows` rows must be."""
        ...

    def view(self, lease: Lease, n_rows: int) -> Any:
        """Return the start of a buffer as x of a batch with `n_rows` rows, in the structure of the inputs."""
        ...

    def close(self) -> None:
        """Free all memory that no batch needs."""
        ...


class CpuBackend:
    """Backend of the CPU kernel, which crops each image as soon as the reader hands it over.

    Parameters
    ----------
    spec : CropSpec, or dict of str to CropSpec
        Of each input of the network.
    """

    device = "cpu"

    def __init__(self, spec: Any) -> None:
        self.spec = spec
        self.memory: Memory = HOST
        self.companions = Companions()

    def reserve(self, n_threads: int, has_blends: bool = False) -> None:
        """Do nothing: memory of the host may be allocated at any time."""

    def make(
        self,
        read: Callable[..., Rows],
        n_images: int,
        tables: Any,
        new_lease: Callable[..., Lease],
        blends: BlendTable | None = None,
    ) -> Made:
        """Make a batch, see `Backend.make`."""
        lease = new_lease()
        x = self.view(lease, len(outputs_of(tables)[0]))
        sinks = map_outputs(lambda spec, table, own: spec.cpu_sink(table, n_images, own), self.spec, tables, x)
        rows = read(*outputs_of(sinks))
        if blends is not None:
            map_outputs(lambda spec, own: blend(own, blends, spec.layout), self.spec, x)
        return Made(x, lease, rows)

    def buffer_bytes(self, n_rows: int) -> int:
        """Return the size of a buffer, see `Backend.buffer_bytes`."""
        return end_of_x(self.spec, n_rows)

    def view(self, lease: Lease, n_rows: int) -> Any:
        """Return x in a buffer, see `Backend.view`."""
        return map_outputs(
            lambda spec, offset: as_array(lease, spec.out_shape(n_rows), spec.out_dtype, offset),
            self.spec,
            offsets_of_x(self.spec, n_rows),
        )

    def close(self) -> None:
        """Do nothing: there is no memory to free."""


def choose(
    device: str,
    spec: Any,
    n_images: int,
    n_rows: int,
    consumer: Callable[[], int] = lambda: 0,
    companions: Companions | None = None,
) -> Backend:
    """Return the backend for the argument `device` of a loader.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda", "cuda:0", "cuda:1", ...}
        "cuda" is the device on which the consumer computes, or the first one if it computes on none. "auto" is the consumer's
        device as well, if it has one that can be used, else the CPU. The choice is logged.
    spec : CropSpec, or dict of str to CropSpec
    n_images, n_rows : int
        Largest number of images, and of crop-table rows, in a batch.
    consumer : callable
        Returns the number of the CUDA device on which the consumer computes. Raises DeviceUnavailableError, with the reason, if
        it has no use for batches on one.
    companions : Companions, optional
        The arrays that go to a CUDA device with x.

    Returns
    -------
    Backend

    Raises
    ------
    ValueError
        If `device` is not one of these.
    DeviceUnavailableError
        If `device` names a CUDA device that can't be used.
    """
    number = device_number(device, "auto")
    if device == "auto":
        try:
            gpu = Gpu(0)  # first, because what it lacks says more than what the consumer lacks
            number = consumer()
            gpu = gpu if number == gpu.number else Gpu(number)
        except DeviceUnavailableError as error:
            _log.info("device='auto': batches are made on the CPU: %s", error)
            return CpuBackend(spec)
        _log.info("device='auto': batches are made on %s", gpu)
        return CudaBackend(spec, gpu, n_images, n_rows, companions)
    if number is None:
        return CpuBackend(spec)
    if device == "cuda":
        with contextlib.suppress(DeviceUnavailableError):
            number = consumer()
    return CudaBackend(spec, Gpu(number), n_images, n_rows, companions)


def choose_parts(
    device: str,
    spec: Any,
    numbers: Iterable[int | None],
    n_images: int,
    n_rows: int,
    companions: Companions | None = None,
) -> list[Backend] | None:
    """Return the backend for each part of a batch, where several devices share it.

    Parameters
    ----------
    device : {"auto", "cuda"}
        Whether batches may be made on the CPU instead. The choice is logged.
    spec : CropSpec, or dict of str to CropSpec
    numbers : iterable of int or None
        Number of the CUDA device for each part; None for the CPU. It may raise DeviceUnavailableError.
    n_images, n_rows : int
        Largest number of images, and of crop-table rows, in a part.
    companions : Companions, optional
        The arrays that go to a CUDA device with x.

    Returns
    -------
    list of Backend, or None
        None if a device can't be used and `device` is "auto". Parts on the CPU share one backend.

    Raises
    ------
    DeviceUnavailableError
        If a device can't be used and `device` is "cuda".
    """
    try:
        gpus = [None if number is None else Gpu(number) for number in numbers]
    except DeviceUnavailableError as error:
        if device == "cuda":
            raise
        _log.info("device='auto': batches are made on the CPU: %s", error)
        return None
    _log.info("batches are made in parts on %s", ", ".join("the CPU" if gpu is None else str(gpu) for gpu in gpus))
    host = CpuBackend(spec)
    return [host if gpu is None else CudaBackend(spec, gpu, n_images, n_rows, companions) for gpu in gpus]


def pool_of(
    backends: Sequence[Backend], n_images: int, n_crops: int, n_threads: int, prefetch: int, n_held: int, n_batches: int = 1
) -> WorkerPool:
    """Return threads, and buffers of the right size in the memory of each backend.

    Parameters
    ----------
    backends : sequence of Backend
        One for each part of a batch.
    n_images : int
        Number of samples in the largest batch.
    n_crops : int
        Number of rows of each.
    n_threads, prefetch, n_held : int
        As in `WorkerPool`.
    n_batches : int
        Batches that a buffer may have to hold.
    """
    n_rows = -(-n_images // len(backends)) * n_crops * n_batches
    part_bytes = max(backend.buffer_bytes(n_rows) for backend in backends)
    return WorkerPool(n_threads, prefetch, part_bytes, [backend.memory for backend in backends], n_held)
