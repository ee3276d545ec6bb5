"""Pinned memory of the host, which a device reads and writes by itself."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastprep.kernels.device import Gpu


class PinnedMemory:
    """Pinned memory, given back to the system as soon as no array over it is left.

    It is not from cupy's pool, which would keep it, withheld from everybody else, until the process ends.

    Parameters
    ----------
    gpu : Gpu
        Device whose context it belongs to; any other may use it, too.
    n_bytes : int

    Attributes
    ----------
    address : int

    Raises
    ------
    MemoryError
        If the system does not pin that much.
    """

    address = 0

    def __init__(self, gpu: Gpu, n_bytes: int) -> None:
        self.gpu, self.n_bytes = gpu, n_bytes
        runtime, hint = gpu.cupy.cuda.runtime, "a smaller batch_size or fewer workers need less"
        pin = functools.partial(runtime.hostAlloc, max(n_bytes, 1), runtime.hostAllocPortable)
        self.address = gpu.allocate(pin, f"the system does not pin {n_bytes} bytes of memory for {gpu}; {hint}")

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """Description for numpy, whose arrays keep this object alive."""
        return {"version": 3, "shape": (self.n_bytes,), "typestr": "|u1", "data": (self.address, False)}

    def __del__(self) -> None:
        # in a forked process it is not ours, and at the end of this process the driver frees it
        if self.address and self.gpu.is_of_this_process and not sys.is_finalizing():
            with self.gpu.current():  # else the call would make a context on the first device
                self.gpu.cupy.cuda.runtime.freeHost(self.address)
