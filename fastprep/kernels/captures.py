"""Captures of CUDA graphs, by whoever else uses the device: what this thread may call meanwhile."""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Callable, Iterator
from typing import Any

_RELAXED = 2  # CU_STREAM_CAPTURE_MODE_RELAXED


@contextlib.contextmanager
def relaxed() -> Iterator[None]:
    """Let this thread's calls concern its own streams only, whatever another thread captures.

    While a thread captures a graph in global mode, which is torch's default, CUDA takes for unsafe what all other threads call to
    wait for an event or to allocate: the call fails, and the capture with it. A thread in relaxed mode is exempt. It is still
    kept from what concerns the capture itself, such as a wait for the whole device. Where there is no driver to ask, nothing is
    done.

    Source: CUDA Driver API, ``cuThreadExchangeStreamCaptureMode``.
    """
    exchange, mode = _exchange(), ctypes.c_int(_RELAXED)
    if exchange is None or exchange(ctypes.byref(mode)) != 0:  # an error: this thread has not begun to use CUDA
        yield
        return
    # now the mode before is in `mode`
    try:
        yield
    finally:
        exchange(ctypes.byref(mode))


@functools.cache
def _exchange() -> Callable[[Any], int] | None:
    """Return the driver's function; None if there is no driver, or one without it."""
    try:
        return ctypes.CDLL("libcuda.so.1").cuThreadExchangeStreamCaptureMode
    except (OSError, AttributeError):
        return None
