"""A CUDA device: its memory and its streams.

No other module imports cupy. It is imported at first use, so this module can be imported without cupy, a driver or a device.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastprep.errors import DeviceUnavailableError
from fastprep.kernels.availability import check_cache, check_compiler, failed_import
from fastprep.kernels.captures import relaxed
from fastprep.kernels.contexts import on_device
from fastprep.kernels.pinned import PinnedMemory


def device_number(device: str, *others: str) -> int | None:
    """Return the number of a CUDA device; None for "cpu", and for each of `others`.

    Raises
    ------
    ValueError
        If it is neither one of "cpu", "cuda", "cuda:0", "cuda:1", ..., nor one of `others`.
    """
    if device in ("cpu", *others):
        return None
    if not isinstance(device, str) or not (match := re.fullmatch(r"cuda(?::(\d+))?", device)):
        known = ", ".join(f'"{name}"' for name in (*others, "cpu", "cuda"))
        raise ValueError(f'device must be {known}, or "cuda:" and a number, got {device!r}')
    return int(match[1] or 0)


class Gpu:
    """One CUDA device, as this process sees it.

    Parameters
    ----------
    number : int
        Number from 0, among the devices that ``CUDA_VISIBLE_DEVICES`` allows.

    Attributes
    ----------
    number : int
    cupy : module

    Raises
    ------
    DeviceUnavailableError
        If cupy can't be imported, no driver answers, the device does not exist, NVRTC can't compile for it, or the folder
        where cupy keeps compiled kernels can't be written.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._process = os.getpid()
        try:
            import cupy
        except Exception as error:  # not only ImportError
            raise failed_import(error) from error
        self.cupy = cupy
        try:
            n = cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise DeviceUnavailableError(f"no NVIDIA driver, or no device, answers ({error})") from error
        if number >= n:
            raise DeviceUnavailableError(f"there is no device cuda:{number}: CUDA sees {n}, counted from 0")
        check_compiler(cupy, number)
        check_cache()

    def __str__(self) -> str:
        return f"cuda:{self.number}"

    def __reduce__(self) -> tuple:
        return Gpu, (self.number,)

    @property
    def is_of_this_process(self) -> bool:
        """Whether CUDA can be used here, which it can't in a process that was forked after this object was made."""
        return self._process == os.getpid()

    @property
    def l2_bytes(self) -> int:
        """Size of the device's L2 cache."""
        return self.cupy.cuda.runtime.getDeviceProperties(self.number)["l2CacheSize"]

    def describe(self) -> dict[str, str]:
        """Return a description of device, driver, cupy with its compiler, and memory."""
        runtime, nvrtc = self.cupy.cuda.runtime, self.cupy.cuda.nvrtc.getVersion()
        with self.current():
            free, total = runtime.memGetInfo()
        properties, driver = runtime.getDeviceProperties(self.number), runtime.driverGetVersion()
        return {
            "device": f"{self}, {properties['name'].decode()}, compute capability {properties['major']}.{properties['minor']}, "
            f"of {runtime.getDeviceCount()}",
            "driver": f"for CUDA {driver // 1000}.{driver % 1000 // 10}",
            "cupy": f"{self.cupy.__version__}, NVRTC {nvrtc[0]}.{nvrtc[1]}",
            "memory": f"{total / 2**30:.1f} GiB, {free / 2**30:.1f} free",
        }

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """Make this the current device of the thread for a while, without a trace on other devices or on what others capture.

        Raises
        ------
        RuntimeError
            In a forked process.
        """
        if not self.is_of_this_process:
            raise RuntimeError(
                f"{self} was in use before this process was forked, and CUDA does not survive a fork: start processes with "
                'multiprocessing.get_context("spawn"), or use device="cpu"'
            )
        with on_device(self.cupy, self.number), relaxed():
            yield

    def synchronize(self) -> None:
        """Wait until the device has finished all work that this process has queued so far, on any stream."""
        with self.current():
            self.cupy.cuda.Device(self.number).synchronize()

    def allocate(self, call: Callable[[], int], problem: str) -> int:
        """Return the address from a call of CUDA's that allocates.

        Raises
        ------
        MemoryError
            With `problem` for a message, if there is too little memory.
        """
        with self.current():
            try:
                return call()
            except self.cupy.cuda.runtime.CUDARuntimeError as error:
                if "MemoryAllocation" not in str(error):
                    raise
                raise MemoryError(problem) from error

    def stream(self) -> Any:
        """Return a new stream, which does not wait for any other."""
        with self.current():
            return self.cupy.cuda.Stream(non_blocking=True)

    def external_stream(self, pointer: int) -> Any:
        """Return a stream that another library has made, and keeps."""
        with self.current():
            return self.cupy.cuda.ExternalStream(pointer, self.number)

    def event(self) -> Any:
        """Return a new event. A thread that waits for it sleeps, and takes no processor from the threads that read files."""
        with self.current():
            return self.cupy.cuda.Event(block=True, disable_timing=True)

    def pinned(self, n_bytes: int) -> NDArray[np.uint8]:
        """Return pinned memory of the host. The device may read it at any time until the stream of a copy is synchronised."""
        return np.asarray(PinnedMemory(self, n_bytes))

    def copy(self, target: Any, source: NDArray, stream: Any) -> None:
        """Queue a copy from a C-contiguous array on the host to an array on the device."""
        runtime = self.cupy.cuda.runtime
        runtime.memcpyAsync(target.data.ptr, source.ctypes.data, source.nbytes, runtime.memcpyHostToDevice, stream.ptr)

    def copy_back(self, target: NDArray, source: Any, stream: Any) -> None:
        """Queue a copy from an array on the device to a C-contiguous array in pinned memory of the host."""
        runtime = self.cupy.cuda.runtime
        runtime.memcpyAsync(target.ctypes.data, source.data.ptr, target.nbytes, runtime.memcpyDeviceToHost, stream.ptr)

    def clear(self, target: Any, stream: Any) -> None:
        """Queue the filling of an array on the device with zeros."""
        self.cupy.cuda.runtime.memsetAsync(target.data.ptr, 0, target.nbytes, stream.ptr)

    def copy_on_device(self, target: Any, source: Any, stream: Any) -> None:
        """Queue a copy from one array on the device to another."""
        runtime = self.cupy.cuda.runtime
        runtime.memcpyAsync(target.data.ptr, source.data.ptr, source.nbytes, runtime.memcpyDeviceToDevice, stream.ptr)

    def array(self, owner: Any, shape: tuple[int, ...], dtype: DTypeLike, offset_bytes: int = 0) -> Any:
        """Return a cupy array over memory of the device, which keeps the memory's owner (`address`, `n_bytes`) alive."""
        memory = self.cupy.cuda.UnownedMemory(owner.address, owner.n_bytes, owner, self.number)
        return self.cupy.ndarray(shape, dtype, self.cupy.cuda.MemoryPointer(memory, offset_bytes))

    def upload(self, values: NDArray) -> Any:
        """Return a copy on the device, which is complete."""
        values = np.ascontiguousarray(values)
        with self.current():
            target = self.array(DeviceMemory(self, values.nbytes), values.shape, values.dtype)
            stream = self.stream()
            self.copy(target, values, stream)
            stream.synchronize()  # the copy will be read on another stream
        return target


class DeviceMemory:
    """Memory of a device. It is not from cupy's pool, which does not know that other libraries read it.

    Parameters
    ----------
    gpu : Gpu
    n_bytes : int

    Attributes
    ----------
    address : int
        A multiple of 256, as CUDA guarantees.

    Raises
    ------
    MemoryError
        If the device has too little memory left.
    """

    address = 0

    def __init__(self, gpu: Gpu, n_bytes: int) -> None:
        self.gpu, self.n_bytes = gpu, n_bytes
        hint = "TensorFlow takes all there is unless TF_FORCE_GPU_ALLOW_GROWTH=true is set before its first use"
        malloc = functools.partial(gpu.cupy.cuda.runtime.malloc, max(n_bytes, 1))
        self.address = gpu.allocate(malloc, f"{gpu} has no memory for {n_bytes} bytes; {hint}")

    def __del__(self) -> None:
        # in a forked process it is not ours, and at the end of this process the driver frees it
        if self.address and self.gpu.is_of_this_process and not sys.is_finalizing():
            with self.gpu.current():  # else the call would make a context on the first device
                self.gpu.synchronize()  # work may be queued that reads it, although no object refers to it any more
                self.gpu.cupy.cuda.runtime.free(self.address)
