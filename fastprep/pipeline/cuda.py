"""Backend of a CUDA device: images are copied there as they are, and crops are cut there."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprep._sink import Sink
from fastprep.h5 import CopySink
from fastprep.kernels import CropSpec
from fastprep.kernels.device import CropKernel, DeviceMemory, Gpu
from fastprep.pipeline.buffers import ALIGNMENT, Block, Lease, Memory
from fastprep.pipeline.companions import Companions, Placed, Rows
from fastprep.pipeline.fences import DeviceFence, Fence, StreamFence


class NotFiniteOnDevice(Exception):
    """A batch on a device with results that are not finite, made from the image in `slot`."""

    def __init__(self, slot: int) -> None:
        super().__init__(slot)
        self.slot = slot


class Made(NamedTuple):
    """What a backend has made of the images of a batch.

    Attributes
    ----------
    x : array, shape (n_out, h, w, C) or (n_out, C, h, w)
        Complete: it may be read at once, on any stream.
    lease : Lease
        Lease of the buffer that holds x.
    rows : Rows
        What belongs to the images.
    on_device : sequence of Placed or None
        Where the labels and the weights lie behind x; empty on the CPU.
    """

    x: Any
    lease: Lease
    rows: Rows
    on_device: Sequence[Placed | None] = ()


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
    companions : Companions, optional
        The arrays that go to the device with x.
    """

    def __init__(self, spec: CropSpec, gpu: Gpu, n_images: int, n_rows: int, companions: Companions | None = None) -> None:
        self.spec, self.gpu, self.n_images, self.n_rows = spec, gpu, n_images, n_rows
        self.companions = companions or Companions()
        self.device = str(gpu)
        self.memory: Memory = CudaMemory(gpu)
        self._lock = threading.RLock()  # reentrant: see `WorkerPool`, which may be closed by a finalizer under it
        self.close()

    def __reduce__(self) -> tuple:
        return CudaBackend, (self.spec, self.gpu, self.n_images, self.n_rows, self.companions)

    def reserve(self, n_threads: int) -> None:
        """Allocate the staging memory of the threads and compile the kernel, see `Backend.reserve`."""
        with self._lock, self.gpu.current():
            for _ in range(n_threads - len(self._stagings)):
                self._idle.append(self._new_staging())
            self._kernel.prepare(self._stagings[0].images_on_device(1))  # which another thread may be using

    def make(
        self, read: Callable[[Sink], Rows], n_images: int, table: NDArray[np.int32], new_lease: Callable[..., Lease]
    ) -> Made:
        """Make a batch, see `Backend.make`."""
        gpu, spec = self.gpu, self.spec
        with gpu.current(), self._staging() as staging:
            rows = read(CopySink(staging.images, staging.image_bytes))
            table_rows = staging.table[: len(table)]
            table_rows[:] = checked = spec.checked_table(table, n_images)
            placed = self.companions.place(len(table) * spec.crop_bytes, len(table))
            try:
                lease = new_lease(staging.stream)
                x = self.view(lease, len(table))
                images, rows_on_device = staging.upload(n_images, table_rows)
                staging.upload_companions(lease, (rows.y, rows.weights), placed)
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
        return Made(x, lease, rows, placed)

    def buffer_bytes(self, n_rows: int) -> int:
        """Return the size of a buffer, see `Backend.buffer_bytes`."""
        return self.companions.end(n_rows * self.spec.crop_bytes, n_rows)

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
        staging = _Staging(self.gpu, self.spec, self.n_images, self.n_rows, self.companions.end(0, self.n_rows))
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
        self._fences: dict[int, StreamFence] = {}

    def fence_of(self, pointer: int) -> StreamFence:
        """Return the fence of a consumer that reads on one stream, the same one for each batch.

        Parameters
        ----------
        pointer : int
            The ``cudaStream_t``.
        """
        if pointer not in self._fences:
            self._fences[pointer] = StreamFence(self.gpu, pointer)
        return self._fences[pointer]

    def __reduce__(self) -> tuple:
        return CudaMemory, (self.gpu,)

    def allocate(self, n_bytes: int) -> Block:
        """Return a block on the device, see `fastprep.pipeline.buffers.Memory`."""
        return Block(n_bytes, ALIGNMENT, DeviceMemory(self.gpu, n_bytes))


class _Staging:
    """Memory on the host and on the device for the copy of a batch's images and crop table, and the stream of the copy."""

    def __init__(self, gpu: Gpu, spec: CropSpec, n_images: int, n_rows: int, companion_bytes: int) -> None:
        self.gpu, self.spec = gpu, spec
        self.image_bytes = int(np.prod(spec.image_shape)) * np.dtype(spec.source_dtype).itemsize
        self.stream = gpu.stream()
        self._done = gpu.event()
        self.images = gpu.pinned(n_images * self.image_bytes)
        self._companions = gpu.pinned(companion_bytes) if companion_bytes else None
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

    def upload_companions(self, lease: Lease, arrays: Sequence[NDArray | None], placed: Sequence[Placed | None]) -> None:
        """Queue the copies of the labels and the weights to their places behind x."""
        pairs = [(array, place) for array, place in zip(arrays, placed, strict=False) if place is not None]
        if not pairs:
            return
        assert self._companions is not None
        first = pairs[0][1].offset
        for array, place in pairs:
            values = self._companions[place.offset - first :][: int(np.prod(place.shape)) * place.dtype.itemsize]
            values.view(place.dtype).reshape(place.shape)[...] = array
            self.gpu.copy(self.gpu.array(lease, place.shape, place.dtype, place.offset), values, self.stream)

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
