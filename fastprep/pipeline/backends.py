"""Backends: each makes batches from images and crop tables, on the CPU or on a CUDA device."""

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
from fastprep.pipeline.fences import DeviceFence, Fence


class NotFiniteOnDevice(Exception):
    """A batch on a device with results that are not finite, made from the image in `slot`."""

    def __init__(self, slot: int) -> None:
        super().__init__(slot)
        self.slot = slot


_log = logging.getLogger(__name__)
T = TypeVar("T")


class Backend(Protocol):
    """Maker of batches on one device; called by several threads at once.

    Attributes
    ----------
    device : str
        "cpu" or "cuda:N".
    memory : Memory
        Memory of the batch buffers.
    """

    device: str
    memory: Memory

    def reserve(self, n_threads: int) -> None:
        """Get ready for batches made by `n_threads` threads at once, so that making one allocates nothing on a device."""
        ...

    def make(
        self, read: Callable[[Sink], T], n_images: int, table: NDArray[np.int32], new_lease: Callable[..., Lease]
    ) -> tuple[Any, Lease, T]:
        """Read images and cut crops from them.

        Parameters
        ----------
        read : callable
            Hands one image for each slot 0..n_images-1 to a sink.
        n_images : int
        table : ndarray of int32, shape (n_out, 4)
        new_lease : callable
            Returns the lease of a buffer in `memory`; takes the stream that is going to write to it, see `BufferPool.lease`.

        Returns
        -------
        x : array, shape (n_out, h, w, C) or (n_out, C, h, w)
            Complete: it may be read at once, on any stream.
        lease : Lease
            Lease of the buffer that holds x.
        result
            Return value of `read`.

        Raises
        ------
        NotFiniteOnDevice
            If results on a device are not finite. On the CPU `read` raises what the sink finds.
        """
        ...

    def view(self, lease: Lease, n_rows: int) -> Any:
        """Return the start of a buffer as x of a batch with `n_rows` rows."""
        ...

    def close(self) -> None:
        """Free all memory that no batch needs."""
        ...


class CpuBackend:
    """Backend of the CPU kernel, which crops each image as soon as the reader hands it over.

    Parameters
    ----------
    spec : CropSpec
    """

    device = "cpu"

    def __init__(self, spec: CropSpec) -> None:
        self.spec = spec
        self.memory: Memory = HOST

    def reserve(self, n_threads: int) -> None:
        """Do nothing: memory of the host may be allocated at any time."""

    def make(
        self, read: Callable[[Sink], T], n_images: int, table: NDArray[np.int32], new_lease: Callable[..., Lease]
    ) -> tuple[NDArray, Lease, T]:
        """Make a batch, see `Backend.make`."""
        lease = new_lease()
        x = self.view(lease, len(table))
        return x, lease, read(self.spec.cpu_sink(table, n_images, x))

    def view(self, lease: Lease, n_rows: int) -> NDArray:
        """Return x in a buffer, see `Backend.view`."""
        return as_array(lease, self.spec.out_shape(n_rows), self.spec.out_dtype)

    def close(self) -> None:
        """Do nothing: there is no memory to free."""


class CudaBackend:
    """Backend of the CUDA kernel: whole images are copied to the device unchanged, and crops are cut there.

    Each thread has a stream and staging memory of its own, and waits for the stream before it hands out a batch. So the copy and
    the kernel of one thread overlap with the reading of the others.

    Parameters
    ----------
    spec : CropSpec
    gpu : Gpu
    n_images, n_rows : int
        Largest number of images, and of crop-table rows, in a batch.
    """

    def __init__(self, spec: CropSpec, gpu: Gpu, n_images: int, n_rows: int) -> None:
        self.spec, self.gpu, self.n_images, self.n_rows = spec, gpu, n_images, n_rows
        self.device = str(gpu)
        self.memory: Memory = CudaMemory(gpu)
        self._lock = threading.RLock()  # reentrant: see `WorkerPool`, which may be closed by a finalizer under it
        self.close()

    def __reduce__(self) -> tuple:
        return CudaBackend, (self.spec, self.gpu, self.n_images, self.n_rows)

    def reserve(self, n_threads: int) -> None:
        """Allocate the staging memory of the threads and compile the kernel, see `Backend.reserve`."""
        with self._lock, self.gpu.current():
            for _ in range(n_threads - len(self._stagings)):
                self._idle.append(self._new_staging())
            self._kernel.prepare(self._stagings[0].images_on_device(1))  # which another thread may be using

    def make(
        self, read: Callable[[Sink], T], n_images: int, table: NDArray[np.int32], new_lease: Callable[..., Lease]
    ) -> tuple[Any, Lease, T]:
        """Make a batch, see `Backend.make`."""
        gpu, spec = self.gpu, self.spec
        with gpu.current(), self._staging() as staging:
            result = read(CopySink(staging.images, staging.image_bytes))
            rows = staging.table[: len(table)]
            rows[:] = checked = spec.checked_table(table, n_images)
            try:
                lease = new_lease(staging.stream)
                x = self.view(lease, len(table))
                images, rows_on_device = staging.upload(n_images, rows)
                checks = staging.checks(len(checked)) if spec.checks_finite else None
                launch = self._kernel.launch(images, checked, rows_on_device, x, checks)
                with staging.stream:
                    launch()
                if checks is not None:
                    staging.download(checks)
            finally:
                # Three things need this: x, which the consumer reads on streams of its own; the staging memory on both sides,
                # which the next batch overwrites; and, if something above failed, the buffer that goes back to its pool.
                staging.wait()
            if checks is not None and (wrong := np.flatnonzero(staging.not_finite[: len(checked)])).size:
                raise NotFiniteOnDevice(int(checked[wrong[0], 0]))
        return x, lease, result

    def view(self, lease: Lease, n_rows: int) -> Any:
        """Return x in a buffer, see `Backend.view`."""
        return self.gpu.array(lease, self.spec.out_shape(n_rows), self.spec.out_dtype)

    def close(self) -> None:
        """Free memory, see `Backend.close`."""
        with self._lock:
            self._idle: list[_Staging] = []
            self._stagings: list[_Staging] = []  # with those that are lent
            self._kernel = CropKernel(self.gpu, self.spec)

    @contextlib.contextmanager
    def _staging(self) -> Iterator[_Staging]:
        """Lend staging memory and its stream to one thread, which must wait for the stream before it returns them."""
        with self._lock:
            staging = self._idle.pop() if self._idle else None
        if staging is None:
            staging = self._new_staging()
        try:
            yield staging
        finally:
            with self._lock:
                self._idle.append(staging)

    def _new_staging(self) -> _Staging:
        staging = _Staging(self.gpu, self.spec, self.n_images, self.n_rows)
        with self._lock:
            self._stagings.append(staging)
        return staging


class CudaMemory:
    """Kind of memory for batch buffers on a CUDA device.

    Buffers are kept: ``cudaMalloc`` and ``cudaFree`` may wait for the device, and a capture of a graph may forbid them.

    Parameters
    ----------
    gpu : Gpu
    """

    is_kept = True

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self.fence: Fence | None = DeviceFence(gpu)

    def allocate(self, n_bytes: int) -> Block:
        """Return a block on the device, see `fastprep.pipeline.buffers.Memory`."""
        return Block(n_bytes, ALIGNMENT, DeviceMemory(self.gpu, n_bytes))


class _Staging:
    """Memory on the host and on the device for the copy of a batch's images and crop table, and the stream of the copy."""

    def __init__(self, gpu: Gpu, spec: CropSpec, n_images: int, n_rows: int) -> None:
        self.gpu, self.spec = gpu, spec
        self.image_bytes = int(np.prod(spec.image_shape)) * np.dtype(spec.source_dtype).itemsize
        self.stream = gpu.stream()
        self._done = gpu.event()
        self.images = gpu.pinned(n_images * self.image_bytes)
        self.table = gpu.pinned(n_rows * 16).view(np.int32).reshape(n_rows, 4)
        self._images_on_device = DeviceMemory(gpu, n_images * self.image_bytes)
        self._table_on_device = DeviceMemory(gpu, n_rows * 16)
        if spec.checks_finite:
            self.not_finite = gpu.pinned(n_rows * 4).view(np.uint32)
            self._not_finite_on_device = DeviceMemory(gpu, n_rows * 4)

    def upload(self, n_images: int, rows: NDArray[np.int32]) -> tuple[Any, Any]:
        """Queue the copies; return images and table as arrays on the device."""
        images = self.images_on_device(n_images)
        table = self.gpu.array(self._table_on_device, rows.shape, np.dtype(np.int32))
        self.gpu.copy(images, self.images[: n_images * self.image_bytes], self.stream)
        self.gpu.copy(table, rows, self.stream)
        return images, table

    def images_on_device(self, n_images: int) -> Any:
        """Return the array on the device for a number of images."""
        return self.gpu.array(self._images_on_device, (n_images, *self.spec.image_shape), self.spec.source_dtype)

    def wait(self) -> None:
        """Wait until the stream has done all that is queued there."""
        self._done.record(self.stream)
        self._done.synchronize()

    def checks(self, n_rows: int) -> Any:
        """Return an array of zeros on the device, in which the kernel marks crops whose results are not finite."""
        checks = self.gpu.array(self._not_finite_on_device, (n_rows,), np.dtype(np.uint32))
        self.gpu.clear(checks, self.stream)
        return checks

    def download(self, checks: Any) -> None:
        """Queue the copy of these marks to `not_finite`."""
        self.gpu.copy_back(self.not_finite[: len(checks)], checks, self.stream)


def choose(
    device: str, spec: CropSpec, n_images: int, n_rows: int, objection: Callable[[int], str | None] = lambda number: None
) -> Backend:
    """Return the backend for the argument `device` of a loader.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda", "cuda:0", "cuda:1", ...}
        "auto" is the first CUDA device, if it can be used and there is no objection, else the CPU. The choice is logged.
    spec : CropSpec
    n_images, n_rows : int
        Largest number of images, and of crop-table rows, in a batch.
    objection : callable
        Takes the number of a device, and returns the reason why "auto" should not take it, or None.

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
