"""The current device of a thread, changed for a while without a trace on any other device."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def on_device(cupy: Any, number: int) -> Iterator[None]:
    """Make a device current in this thread, and put back what was there before.

    ``with cupy.cuda.Device(number)`` ends with ``cudaSetDevice`` of the device before, which since CUDA 12 makes a context there,
    of some hundred megabytes: work on device 1 would take memory of device 0 from whoever uses that. So the context that was
    current is put back, or none if there was none.

    Parameters
    ----------
    cupy : module
    number : int
    """
    runtime, driver = cupy.cuda.runtime, cupy.cuda.driver
    before = runtime.getDevice()
    if before == number:
        yield
        return
    context = driver.ctxGetCurrent()  # 0: none
    runtime.setDevice(number)
    try:
        yield
    finally:
        driver.ctxSetCurrent(context)
        # without a context a thread is on device 0 again, as far as is known; that it is where it was comes before the memory
        if runtime.getDevice() != before:
            runtime.setDevice(before)
