"""What the sections need beyond what the tests' stand-in for cupy has: events with a time, graphs, and kernels of users."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import fake_cupy


@contextlib.contextmanager
def installed(clock: Callable[[], float] = time.perf_counter, **options: Any) -> Iterator[fake_cupy.Machine]:
    """Have `import cupy` give the stand-in with these additions.

    Parameters
    ----------
    clock : callable
        What the time of an event is taken from, in seconds, when the event is recorded.
    **options
        For `fake_cupy.installed`.

    Yields
    ------
    fake_cupy.Machine
    """
    with fake_cupy.installed(**options) as machine:
        _add_times(machine, clock)
        _add_graphs(machine)
        machine.cupy.ElementwiseKernel = _no_kernel
        yield machine


def _add_times(machine: fake_cupy.Machine, clock: Callable[[], float]) -> None:
    cuda = machine.cupy.cuda
    untimed = cuda.Event

    class Event(untimed):
        def __init__(self, block: bool = False, disable_timing: bool = False) -> None:
            super().__init__(block, disable_timing=True)
            self.at = None if disable_timing else 0.0

        def record(self, stream: Any) -> None:
            super().record(stream)
            if self.at is not None:
                self.at = clock()

    cuda.Event = Event
    cuda.get_elapsed_time = lambda start, stop: (stop.at - start.at) * 1e3


def _add_graphs(machine: fake_cupy.Machine) -> None:
    """Let a stream be captured; what is queued on it meanwhile is lost, as no section looks at what a graph does."""
    cuda = machine.cupy.cuda

    class Graph:
        def launch(self, stream: Any = None) -> None:
            machine.call("graphLaunch")

    def begin_capture(stream: Any, mode: int) -> None:
        machine.call("begin_capture")
        machine.spoilt.clear()
        machine.captured = stream.queue

    def end_capture(stream: Any) -> Graph:
        machine.captured = None
        if machine.spoilt:
            name = machine.spoilt[0]
            raise fake_cupy.CUDARuntimeError(f"cudaErrorStreamCaptureInvalidated: the capture was ended by {name}")
        return Graph()

    cuda.Stream.begin_capture, cuda.Stream.end_capture = begin_capture, end_capture
    cuda.runtime.streamCaptureModeGlobal, cuda.runtime.streamCaptureModeThreadLocal = 0, 1


def _no_kernel(*arguments: Any, **options: Any) -> Any:
    raise NotImplementedError("the stand-in for cupy runs no kernel but fastprep's")
