"""Batch buffers: aligned memory that is leased, and free again when the last user has released it, on any thread."""

from __future__ import annotations

import threading
import time
from typing import Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastprep.pipeline._buffers import Block, Lease, capsule_address, capsule_device

__all__ = [
    "ALIGNMENT",
    "HOST",
    "Block",
    "BufferPool",
    "HostMemory",
    "Lease",
    "Memory",
    "as_array",
    "capsule_address",
    "capsule_device",
    "dlpack_capsule",
]

ALIGNMENT = 64
"""TensorFlow's kernels use aligned loads without a check: a less aligned buffer from DLPack would abort the process."""

# https://dmlc.github.io/dlpack/latest/c_api.html: kDLFloat, kDLBfloat
_DLPACK_CODES = {"float16": (2, 16), "float32": (2, 32), "bfloat16": (4, 16)}


class Memory(Protocol):
    """Kind of memory for buffers."""

    def allocate(self, n_bytes: int) -> Block:
        """Return a block of `n_bytes` bytes, aligned to `ALIGNMENT`."""
        ...

    def before_reuse(self) -> None:
        """Wait until no queued operation reads memory that has been released; called without any lock."""
        ...


class HostMemory:
    """Ordinary memory. A reader holds a reference until it has read, so there is nothing to wait for."""

    def allocate(self, n_bytes: int) -> Block:
        """Return a block from malloc, see `Memory`."""
        return Block(n_bytes, ALIGNMENT)

    def before_reuse(self) -> None:
        """Do nothing, see `Memory`."""


HOST = HostMemory()


class BufferPool:
    """Buffers of one size, used again as soon as nothing refers to them any more.

    A buffer is in use while its `Lease`, a numpy array over it, or a tensor made from its capsule exists.

    Parameters
    ----------
    n_bytes : int
        Size of each buffer.
    depth : int
        Number of buffers to keep. While all of them are in use, more are allocated, and freed again after use.
    patience_s : float
        Seconds that `lease` waits for a buffer before it allocates one beyond `depth`.
    memory : Memory
        Memory that the buffers are in.
    """

    def __init__(self, n_bytes: int, depth: int, patience_s: float = 0.02, memory: Memory = HOST) -> None:
        self.n_bytes = n_bytes
        self.depth = depth
        self.patience_s = patience_s
        self.memory = memory
        self.n_allocated = 0
        self._blocks: list[Block] = []
        self._lock = threading.RLock()  # reentrant: see `WorkerPool`, which may be closed by a finalizer under it

    def lease(self) -> Lease:
        """Return a buffer that is not in use; its contents are undefined.

        The wait is bounded: a user may keep every batch, and then each batch gets memory of its own.

        Returns
        -------
        Lease

        Raises
        ------
        MemoryError
            If there is no memory for another buffer.
        """
        deadline = time.monotonic() + self.patience_s
        while True:
            with self._lock:
                lease = self._free_block()
                is_used = lease is not None
                if lease is None and (len(self._blocks) < self.depth or time.monotonic() >= deadline):
                    block = self.memory.allocate(self.n_bytes)
                    self.n_allocated += 1
                    self._blocks.append(block)
                    lease = block.lease()
            if lease is not None:
                if is_used:  # wait only after the buffer was found free: what may still read it was queued before that
                    self.memory.before_reuse()
                return lease
            time.sleep(0.0005)

    def close(self) -> None:
        """Free every buffer; one that is in use is freed as soon as it is released."""
        with self._lock:
            self._blocks.clear()

    def _free_block(self) -> Lease | None:
        free = [block for block in self._blocks if block.is_free]
        lease = free.pop().lease() if free else None
        while free and len(self._blocks) > self.depth:
            self._blocks.remove(free.pop())
        return lease


def as_array(lease: Lease, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray:
    """Return the start of a buffer as an array, which keeps the lease alive.

    Parameters
    ----------
    lease : Lease
    shape : tuple of int
    dtype : dtype

    Returns
    -------
    ndarray of that shape and dtype, C-contiguous
    """
    dtype = np.dtype(dtype)
    count = int(np.prod(shape, dtype=np.int64))
    if count == 0:
        return np.empty(shape, dtype)
    return np.frombuffer(memoryview(lease), np.uint8, count * dtype.itemsize).view(dtype).reshape(shape)


def dlpack_capsule(lease: Lease, shape: tuple[int, ...], dtype: str, device_id: int = 0) -> object:
    """Lend the start of a buffer as an unversioned DLPack capsule, on the CPU or on the CUDA device where the buffer is.

    The deleter that the consumer calls does not need the GIL, and the capsule keeps the buffer in use without the lease.

    Parameters
    ----------
    lease : Lease
    shape : tuple of int
    dtype : {"float32", "float16", "bfloat16"}
    device_id : int
        Number that the consumer gives to the CUDA device; 0 on the CPU.

    Returns
    -------
    capsule
        Named "dltensor". C-contiguous, byte offset 0, aligned to `ALIGNMENT`.
    """
    code, bits = _DLPACK_CODES[dtype]
    return lease.capsule(shape, code, bits, device_id)
