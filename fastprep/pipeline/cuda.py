"""Backend of a CUDA device: images are copied there as they are, and crops are cut there."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprep.dataset.nested import leaves, map_outputs, outputs_of
from fastprep.kernels import CropSpec
from fastprep.kernels.blending import checked_blend
from fastprep.kernels.cuda_blending import BlendKernel
from fastprep.kernels.device import DeviceMemory, Gpu
from fastprep.kernels.launches import CropKernel, kernel_for
from fastprep.pipeline.buffers import ALIGNMENT, Block, Lease, Memory
from fastprep.pipeline.companions import Companions, Placed, Rows
from fastprep.pipeline.decoding import DeviceDecoding
from fastprep.pipeline.device_jpegs import nvimgcodec
from fastprep.pipeline.fences import DeviceFence, Fence, StreamFence
from fastprep.pipeline.places import end_of_x, offsets_of_x
from fastprep.pipeline.sized_staging import staging_of
from fastprep.transforms import BlendTable


class NotFiniteOnDevice(Exception):
    """A batch on a device with results that are not finite, made from the image in `slot` of an input, by its number."""

    def __init__(self, slot: int, number: int = 0) -> None:
        super().__init__(slot, number)
        self.slot, self.number = slot, number


class Made(NamedTuple):
    """What a backend has made of the images of a batch.

    Attributes
    ----------
    x : array, shape (n_out, h, w, C) or (n_out, C, h, w), or dict of str to such
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
    """Backend of the CUDA kernels: whole images are copied to the device unchanged, and all that happens to them happens there.

    Each thread has a stream and staging memory of its own, and waits for the stream before it hands out a batch. So the copy and
    the kernel of one thread overlap with the reading of the others.

    Parameters
    ----------
    spec : CropSpec, or dict of str to CropSpec
        Of each input of the network.
    gpu : Gpu
    n_images, n_rows : int
        Largest number of images of an input, and of crop-table rows, in a batch.
    companions : Companions, optional
        The arrays that go to the device with x.
    decoding : DeviceDecoding, optional
        Which inputs have JPEGs that are decoded on the device.
    """

    def __init__(
        self,
        spec: Any,
        gpu: Gpu,
        n_images: int,
        n_rows: int,
        companions: Companions | None = None,
        decoding: DeviceDecoding | None = None,
    ) -> None:
        self._decoding = decoding
        self.spec, self.gpu, self.n_images, self.n_rows = spec, gpu, n_images, n_rows
        self.companions = companions or Companions()
        self.device = str(gpu)
        self.memory: Memory = CudaMemory(gpu)
        self._lock = threading.RLock()  # reentrant: see `WorkerPool`, which may be closed by a finalizer under it
        self.close()

    def __reduce__(self) -> tuple:
        return CudaBackend, (self.spec, self.gpu, self.n_images, self.n_rows, self.companions, self._decoding)

    def decode_there(self, decoding: DeviceDecoding) -> None:
        """Decode JPEGs on the device from now on; called before anything is made.

        Raises
        ------
        DeviceUnavailableError
            If nvImageCodec is not installed, or too old.
        """
        nvimgcodec()
        self._decoding = decoding

    def reserve(self, n_threads: int, has_blends: bool = False) -> None:
        """Allocate the staging memory of the threads and compile the kernels, see `Backend.reserve`."""
        with self._lock, self.gpu.current():
            for _ in range(n_threads - len(self._stagings)):
                self._idle.append(self._new_staging())
            for kernel, staged in zip(self._kernels, self._stagings[0].inputs, strict=True):
                kernel.prepare(staged.images_on_device(1))  # which another thread may be using
            if has_blends:
                for blend_kernel in self._blend_kernels:
                    blend_kernel.prepare()

    def make(
        self,
        read: Callable[..., Rows],
        n_images: int,
        tables: Any,
        new_lease: Callable[..., Lease],
        blends: BlendTable | None = None,
    ) -> Made:
        """Make a batch, see `Backend.make`."""
        n_rows = len(outputs_of(tables)[0])
        with self.gpu.current(), self._staging() as staging:
            try:
                rows = read(*[own.begin(table, n_images) for own, table in zip(staging.inputs, outputs_of(tables), strict=True)])
                placed = self.companions.place(end_of_x(self.spec, n_rows), n_rows)
                lease = new_lease(staging.stream)
                x = self.view(lease, n_rows)
                for staged in staging.inputs:
                    staged.upload()
                staging.upload_companions(lease, leaves(rows.y, rows.weights), placed)
                made = outputs_of(x)
                launches = [staged.launch(own) for staged, own in zip(staging.inputs, made, strict=True)]
                if blends is not None:
                    on_device = staging.upload_blends(blends, n_rows)
                    launches += [kernel.launch(own, *on_device) for kernel, own in zip(self._blend_kernels, made, strict=True)]
                with staging.stream:
                    for launch in launches:
                        launch()
                for staged in staging.inputs:
                    staged.download()
            finally:
                # Three things need this: x, which the consumer reads on streams of its own; the staging memory on both sides,
                # which the next batch overwrites; and, if something above failed, the buffer that goes back to its pool. Reading
                # may have queued the decoding of JPEGs when it failed.
                staging.wait()
            for number, staged in enumerate(staging.inputs):
                if (slot := staged.first_not_finite()) is not None:
                    raise NotFiniteOnDevice(slot, number)
        return Made(x, lease, rows, placed)

    def buffer_bytes(self, n_rows: int) -> int:
        """Return the size of a buffer, see `Backend.buffer_bytes`."""
        return self.companions.end(end_of_x(self.spec, n_rows), n_rows)

    def view(self, lease: Lease, n_rows: int) -> Any:
        """Return x in a buffer, see `Backend.view`."""
        return map_outputs(
            lambda spec, offset: self.gpu.array(lease, spec.out_shape(n_rows), spec.out_dtype, offset),
            self.spec,
            offsets_of_x(self.spec, n_rows),
        )

    def close(self) -> None:
        """Free memory, see `Backend.close`."""
        with self._lock:
            self._idle: list[_Staging] = []
            self._stagings: list[_Staging] = []  # with those that are lent
            specs = outputs_of(self.spec)
            self._kernels = [kernel_for(self.gpu, spec) for spec in specs]
            self._blend_kernels = [BlendKernel(self.gpu, spec) for spec in specs]

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
        companion_bytes = self.companions.end(0, self.n_rows)
        staging = _Staging(
            self.gpu, outputs_of(self.spec), self._kernels, self.n_images, self.n_rows, companion_bytes, self._decoding
        )
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
    """Memory on the host and on the device for what goes there with a batch, and the stream of the copies."""

    def __init__(
        self,
        gpu: Gpu,
        specs: Sequence[CropSpec],
        kernels: Sequence[CropKernel],
        n_images: int,
        n_rows: int,
        companion_bytes: int,
        decoding: DeviceDecoding | None,
    ) -> None:
        self.gpu, self._size = gpu, specs[0].size
        self.stream = gpu.stream()
        self._done = gpu.event()
        of_inputs = [None] * len(specs) if decoding is None else [decoding if here else None for here in decoding.inputs]
        self.inputs = [
            staging_of(gpu, spec, kernel, self.stream, n_images, n_rows, own)
            for spec, kernel, own in zip(specs, kernels, of_inputs, strict=True)
        ]
        self._companions = gpu.pinned(companion_bytes) if companion_bytes else None
        self._shares = gpu.pinned(n_rows * 4).view(np.float32)
        self._rectangles = gpu.pinned(n_rows * 16).view(np.int32).reshape(n_rows, 4)
        self._blends_on_device = DeviceMemory(gpu, n_rows * 20)  # rectangles, and shares behind them

    def upload_blends(self, blends: BlendTable, n: int) -> tuple[Any, Any]:
        """Queue the copies of a blend table; return its weights and rectangles as arrays on the device."""
        shares, rectangles = self._shares[:n], self._rectangles[:n]
        shares[:], rectangles[:] = checked_blend(blends, n, self._size)
        rectangles_on_device = self.gpu.array(self._blends_on_device, (n, 4), np.dtype(np.int32))
        shares_on_device = self.gpu.array(self._blends_on_device, (n,), np.dtype(np.float32), n * 16)
        self.gpu.copy(rectangles_on_device, rectangles, self.stream)
        self.gpu.copy(shares_on_device, shares, self.stream)
        return shares_on_device, rectangles_on_device

    def upload_companions(self, lease: Lease, arrays: Sequence[NDArray | None], placed: Sequence[Placed | None]) -> None:
        """Queue the copies of the labels and the weights to their places behind x."""
        pairs = [(array, place) for array, place in zip(arrays, placed, strict=False) if array is not None and place is not None]
        if not pairs:
            return
        assert self._companions is not None
        first = pairs[0][1].offset
        for array, place in pairs:
            values = self._companions[place.offset - first :][: int(np.prod(place.shape)) * place.dtype.itemsize]
            values.view(place.dtype).reshape(place.shape)[...] = array
            self.gpu.copy(self.gpu.array(lease, place.shape, place.dtype, place.offset), values, self.stream)

    def wait(self) -> None:
        """Wait until the stream has done all that is queued there."""
        self._done.record(self.stream)
        self._done.synchronize()
