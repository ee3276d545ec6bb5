"""Where batches are made: on the CPU, or on a CUDA device. Each backend takes images and a crop table, and gives a batch."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastprep._sink import Sink
from fastprep.errors import DeviceUnavailableError
from fastprep.h5 import CopySink
from fastprep.kernels import CropSpec
from fastprep.kernels.device import CropKernel, DeviceMemory, Gpu, device_number
from fastprep.pipeline.buffers import ALIGNMENT, HOST, Block, Lease, Memory, as_array

_log = logging.getLogger(__name__)
T = TypeVar("T")


class Backend(Protocol):
    """Makes batches; called by several threads at once.

    Attributes
    ----------
    device : str
        "cpu" or "cuda:N".
    memory : Memory
        What batch buffers are made of.
    """

    device: str
    memory: Memory

    def make(
        self, read: Callable[[Sink], T], n_images: int, table: NDArray[np.int32], new_lease: Callable[[], Lease]
    ) -> tuple[Any, Lease, T]:
        """Read images and cut crops out of them.

        Parameters
        ----------
        read : callable
            Hands images to a sink, for each slot 0..n_images-1 one, or another one in its place.
        n_images : int
        table : ndarray of int32, shape (n_out, 4)
        new_lease : callable
            Returns a buffer of `memory`.

        Returns
        -------
        x : array, shape (n_out, h, w, C) or (n_out, C, h, w)
            Finished: whoever has it may read it at once, on any stream.
        lease : Lease
            Of the buffer that holds x.
        result
            What `read` returned.
        """
        ...

    def view(self, lease: Lease, n_rows: int) -> Any:
        """Look at the start of a buffer as x of a batch of so many rows."""
        ...

    def close(self) -> None:
        """Free what no batch needs."""
        ...


class CpuBackend:
    """The CPU kernel, which takes each image from the reader's hands.

    Parameters
    ----------
    spec : CropSpec
    """

    device = "cpu"

    def __init__(self, spec: CropSpec) -> None:
        self.spec = spec
        self.memory: Memory = HOST

    def make(
        self, read: Callable[[Sink], T], n_images: int, table: NDArray[np.int32], new_lease: Callable[[], Lease]
    ) -> tuple[NDArray, Lease, T]:
        """See `Backend`."""
        lease = new_lease()
        x = self.view(lease, len(table))
        return x, lease, read(self.spec.cpu_sink(table, n_images, x))

    def view(self, lease: Lease, n_rows: int) -> NDArray:
        """See `Backend`."""
        return as_array(lease, self.spec.out_shape(n_rows), self.spec.out_dtype)

    def close(self) -> None:
        """See `Backend`."""


class CudaBackend:
    """The CUDA kernel: whole images go to the device as they are, and crops are cut there.

    Each thread has a stream and staging memory of its own, and synchronises the stream before it hands a batch out. So the copy
    and the kernel of one thread run beside the reading of the others.

    Parameters
    ----------
    spec : CropSpec
    gpu : Gpu
    n_images, n_rows : int
        Most images, and most rows of a crop table, of a batch.
    """

    def __init__(self, spec: CropSpec, gpu: Gpu, n_images: int, n_rows: int) -> None:
        self.spec, self.gpu, self.n_images, self.n_rows = spec, gpu, n_images, n_rows
        self.device = str(gpu)
        self.memory: Memory = CudaMemory(gpu)
        self._lock = threading.RLock()  # reentrant: see `WorkerPool`, which may be closed by a finalizer under it
        self.close()

    def __reduce__(self) -> tuple:
        return CudaBackend, (self.spec, self.gpu, self.n_images, self.n_rows)

    def make(
        self, read: Callable[[Sink], T], n_images: int, table: NDArray[np.int32], new_lease: Callable[[], Lease]
    ) -> tuple[Any, Lease, T]:
        """See `Backend`."""
        gpu, spec = self.gpu, self.spec
        with gpu.current(), self._staging() as staging:
            result = read(CopySink(staging.images, staging.image_bytes))
            rows = staging.table[: len(table)]
            rows[:] = checked = spec.checked_table(table, n_images)
            lease = new_lease()
            x = self.view(lease, len(table))
            try:
                images, rows_on_device = staging.upload(n_images, rows)
                launch = self._kernel.launch(images, checked, rows_on_device, x)
                with staging.stream:
                    launch()
            finally:
                # Three wait for this: x, which TensorFlow reads on streams of its own; the staging memory of both sides, which
                # the next batch is put into; and, if something above failed, the buffer that goes back to its pool.
                staging.stream.synchronize()
        return x, lease, result

    def view(self, lease: Lease, n_rows: int) -> Any:
        """See `Backend`."""
        return self.gpu.array(lease, self.spec.out_shape(n_rows), self.spec.out_dtype)

    def close(self) -> None:
        """See `Backend`."""
        with self._lock:
            self._idle: list[_Staging] = []
            self._kernel = CropKernel(self.gpu, self.spec)

    @contextlib.contextmanager
    def _staging(self) -> Iterator[_Staging]:
        """Lend staging memory and its stream to one thread: whoever has it has to synchronise the stream before it goes back."""
        with self._lock:
            staging = self._idle.pop() if self._idle else None
        if staging is None:
            staging = _Staging(self.gpu, self.spec, self.n_images, self.n_rows)
        try:
            yield staging
        finally:
            with self._lock:
                self._idle.append(staging)


class CudaMemory:
    """Memory of a CUDA device for batch buffers.

    Parameters
    ----------
    gpu : Gpu
    """

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu

    def allocate(self, n_bytes: int) -> Block:
        """See `fastprep.pipeline.buffers.Memory`."""
        return Block(n_bytes, ALIGNMENT, DeviceMemory(self.gpu, n_bytes))

    def before_reuse(self) -> None:
        """Wait for the whole device.

        TensorFlow lets go of a tensor when its operations are queued, not when they are done, and on streams that nobody else
        gets at. This waits in a thread that prepares batches, not in the one that trains.
        """
        self.gpu.synchronize()


class _Staging:
    """Both ends of the copy of a batch's images and crop table to the device, and the stream it goes through."""

    def __init__(self, gpu: Gpu, spec: CropSpec, n_images: int, n_rows: int) -> None:
        self.gpu, self.spec = gpu, spec
        self.image_bytes = int(np.prod(spec.image_shape)) * np.dtype(spec.source_dtype).itemsize
        self.stream = gpu.stream()
        self.images = gpu.pinned(n_images * self.image_bytes)
        self.table = gpu.pinned(n_rows * 16).view(np.int32).reshape(n_rows, 4)
        self._images_on_device = DeviceMemory(gpu, n_images * self.image_bytes)
        self._table_on_device = DeviceMemory(gpu, n_rows * 16)

    def upload(self, n_images: int, rows: NDArray[np.int32]) -> tuple[Any, Any]:
        """Queue the copies; return images and table as arrays of the device."""
        images = self.gpu.array(self._images_on_device, (n_images, *self.spec.image_shape), self.spec.source_dtype)
        table = self.gpu.array(self._table_on_device, rows.shape, np.dtype(np.int32))
        self.gpu.copy(images, self.images[: n_images * self.image_bytes], self.stream)
        self.gpu.copy(table, rows, self.stream)
        return images, table


def choose(
    device: str, spec: CropSpec, n_images: int, n_rows: int, objection: Callable[[int], str | None] = lambda number: None
) -> Backend:
    """Return the backend for a loader's argument `device`.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda", "cuda:0", "cuda:1", ...}
        "auto": the first CUDA device, if it can be used and there is no objection. Which way it went is logged.
    spec : CropSpec
    n_images, n_rows : int
        Most images, and most rows of a crop table, of a batch.
    objection : callable
        Takes the number of a device, returns why "auto" should not take it, or None.

    Returns
    -------
    Backend

    Raises
    ------
    ValueError
        If `device` is none of these.
    DeviceUnavailableError
        If a CUDA device was asked for and can't be used.
    """
    number = device_number(device, "auto")
    if device == "auto":
        try:
            gpu = Gpu(0)
            reason = objection(gpu.number)
        except DeviceUnavailableError as error:
            reason = str(error)
        if reason is None:
            _log.info("device='auto': batches are made on %s", gpu)
            return CudaBackend(spec, gpu, n_images, n_rows)
        _log.info("device='auto': batches are made on the CPU: %s", reason)
    if number is None:
        return CpuBackend(spec)
    return CudaBackend(spec, Gpu(number), n_images, n_rows)
