"""Batch buffers: aligned memory that is leased, and free again when the last user has released it, on any thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastprep.pipeline._buffers import Block, capsule_address, capsule_device
from fastprep.pipeline._buffers import Lease as PlainLease
from fastprep.pipeline.fences import Fence

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
    "has_dlpack_type",
]

ALIGNMENT = 64
"""TensorFlow's kernels use aligned loads without a check: a less aligned buffer from DLPack would abort the process."""

# https://dmlc.github.io/dlpack/latest/c_api.html: kDLInt, kDLUInt, kDLFloat, kDLBfloat, kDLBool
_DLPACK_CODES = {
    **{f"int{bits}": (0, bits) for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": (1, bits) for bits in (8, 16, 32, 64)},
    **{f"float{bits}": (2, bits) for bits in (16, 32, 64)},
    "bfloat16": (4, 16),
    "bool": (6, 8),
}


class Memory(Protocol):
    """Kind of memory for buffers.

    Attributes
    ----------
    fence : Fence or None
        Fence of a consumer that gives none of its own; None if a reader holds a reference until it has read.
    is_kept : bool
        Whether buffers are allocated before anybody asks for one, and freed only when the pool is closed, because allocating and
        freeing disturb what the consumer does meanwhile.
    """

    fence: Fence | None
    is_kept: bool

    def allocate(self, n_bytes: int) -> Block:
        """Return a block of `n_bytes` bytes, aligned to `ALIGNMENT`."""
        ...


class HostMemory:
    """Ordinary memory. A reader holds a reference until it has read, so there is nothing to wait for."""

    fence: Fence | None = None
    is_kept = False

    def allocate(self, n_bytes: int) -> Block:
        """Return a block from malloc, see `Memory`."""
        return Block(n_bytes, ALIGNMENT)


HOST = HostMemory()


class Lease(PlainLease):
    """Right to use a buffer, which lasts until this object and every capsule made from it are gone.

    Parameters
    ----------
    block : Block

    Attributes
    ----------
    fences : list of Fence
        What the buffer's next writer waits for. It is the buffer's list, which all of its leases share.
    memory : Memory or None
        Memory that the buffer is in; None for a buffer of no pool.
    """

    fences: list[Fence]
    memory: Memory | None = None

    def __init__(self, block: Block) -> None:
        self.fences = []

    def hand_over(self, *fences: Fence) -> None:
        """Note that a consumer gets the buffer, and what it may queue; without fences, the one of a consumer without a name.

        Parameters
        ----------
        *fences : Fence
            One for each stream, or set of streams, on which the consumer may read. They take the place of those of an earlier
            call for this lease.
        """
        default = None if self.memory is None else self.memory.fence
        self.fences[:] = fences or (() if default is None else (default,))


class BufferPool:
    """Buffers of one size, used again as soon as nothing refers to them any more.

    A buffer is in use while its `Lease`, a numpy array over it, or a tensor made from its capsule exists.

    Parameters
    ----------
    n_bytes : int
        Size of each buffer.
    depth : int
        Number of buffers to keep. While all of them are in use, more are allocated, and freed again after use; where buffers are
        kept (`Memory.is_kept`), they are freed by `close`.
    patience_s : float
        Seconds that `lease` waits for a buffer before it allocates one beyond `depth`.
    memory : Memory
        Memory that the buffers are in.
    is_awaited : callable
        Tells whether the consumer waits for a batch, and so does nothing else. As long as it does not, no buffer beyond `depth`
        is allocated where buffers are kept.
    """

    def __init__(
        self,
        n_bytes: int,
        depth: int,
        patience_s: float = 0.02,
        memory: Memory = HOST,
        is_awaited: Callable[[], bool] = lambda: True,
    ) -> None:
        self.n_bytes = n_bytes
        self.depth = depth
        self.patience_s = patience_s
        self.memory = memory
        self.is_awaited = is_awaited
        self.n_allocated = 0
        self._blocks: dict[Block, list[Fence]] = {}  # each with what its next writer must wait for
        self._lock = threading.RLock()  # reentrant: see `WorkerPool`, which may be closed by a finalizer under it

    def reserve(self) -> None:
        """Allocate all buffers that are going to be kept, where allocating later would disturb the consumer.

        Raises
        ------
        MemoryError
            If there is no memory for them.
        """
        if self.memory.is_kept:
            with self._lock:
                for _ in range(self.depth - len(self._blocks)):
                    self._allocate()

    def lease(self, stream: Any = None) -> Lease:
        """Return a buffer that is not in use; its contents are undefined.

        The wait for one is bounded: a user may keep every batch, and then each batch gets memory of its own.

        Parameters
        ----------
        stream : cupy stream, optional
            Stream that is going to write to the buffer. Without it, the buffer may be written to at once, on any stream.

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
                lease, now = self._free_block(), time.monotonic()
                is_busy = self.memory.is_kept and not self.is_awaited()
                if is_busy:
                    deadline = now + self.patience_s
                if lease is None and (len(self._blocks) < self.depth or (now >= deadline and not is_busy)):
                    lease = self._lease_of(self._allocate())
            if lease is not None:
                for fence in lease.fences:  # only after the buffer was found free: what may still read it was queued before that
                    fence.wait(stream)
                lease.fences.clear()
                return lease
            time.sleep(0.0005)

    def close(self) -> None:
        """Free every buffer; one that is in use is freed as soon as it is released."""
        with self._lock:
            self._blocks.clear()

    def _free_block(self) -> Lease | None:
        free = [block for block in self._blocks if block.is_free]
        lease = self._lease_of(free.pop()) if free else None
        while free and len(self._blocks) > self.depth and not self.memory.is_kept:
            del self._blocks[free.pop()]
        return lease

    def _lease_of(self, block: Block) -> Lease:
        lease = Lease(block)
        # a finalizer may have closed the pool meanwhile
        lease.fences, lease.memory = self._blocks.get(block, []), self.memory
        return lease

    def _allocate(self) -> Block:
        block = self.memory.allocate(self.n_bytes)
        self.n_allocated += 1
        self._blocks[block] = []
        return block


def as_array(lease: Lease, shape: tuple[int, ...], dtype: DTypeLike, offset: int = 0) -> NDArray:
    """Return a part of a buffer as an array, which keeps the lease alive.

    Parameters
    ----------
    lease : Lease
    shape : tuple of int
    dtype : dtype
    offset : int
        Bytes from the start of the buffer to the first number.

    Returns
    -------
    ndarray of that shape and dtype, C-contiguous
    """
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, memoryview(lease), offset)


def has_dlpack_type(dtype: DTypeLike) -> bool:
    """Return whether DLPack has a code for a type of numbers, see `dlpack_capsule`."""
    return np.dtype(dtype).name in _DLPACK_CODES


def dlpack_capsule(
    lease: Lease, shape: tuple[int, ...], dtype: str, device_id: int = 0, fences: Sequence[Fence] = (), offset: int = 0
) -> object:
    """Lend a part of a buffer as an unversioned DLPack capsule, on the CPU or on the CUDA device where the buffer is.

    The deleter that the consumer calls does not need the GIL, and the capsule keeps the buffer in use without the lease.

    Parameters
    ----------
    lease : Lease
    shape : tuple of int
    dtype : {"float32", "float16", "bfloat16", "int64", ...}
        Also the other types of integers and of floats, and "bool".
    device_id : int
        Number that the consumer gives to the CUDA device; 0 on the CPU.
    fences : sequence of Fence
        The consumer's fences, see `Lease.hand_over`. Without one, the next writer waits for the whole device.
    offset : int
        Bytes from the start of the buffer to the first number, a multiple of `ALIGNMENT`.

    Returns
    -------
    capsule
        Named "dltensor". C-contiguous, byte offset 0, aligned to `ALIGNMENT`.
    """
    code, bits = _DLPACK_CODES[dtype]
    lease.hand_over(*fences)
    return lease.capsule(shape, code, bits, device_id, offset)
