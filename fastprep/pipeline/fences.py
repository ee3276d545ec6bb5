"""Fences: what has to be over before a buffer that somebody has read is written to again.

A consumer on a GPU lets go of a buffer when its reads are queued, not when they are done. Whoever hands a buffer over gives it
a fence of the consumer, and the buffer's next writer waits for that. The wait comes after the buffer was found free, because only
what was queued before then can still read it.
"""

from __future__ import annotations

from typing import Any, Protocol

from fastprep.kernels.device import Gpu


class Fence(Protocol):
    """What a consumer may have queued; called by several threads at once."""

    def wait(self, stream: Any = None) -> None:
        """Let whatever the consumer has queued so far be done first.

        Parameters
        ----------
        stream : cupy stream, optional
            What is queued there from now on comes later. A fence that can't make a stream wait lets the calling thread wait.
            Without a stream it is always the calling thread that waits.
        """
        ...


class DeviceFence:
    """Fence of a consumer of which nothing is known: everything that this process has queued on a device.

    CUDA refuses that wait while any stream of the device captures a graph, and the capture is lost. So it is for loops over plain
    arrays only.

    Parameters
    ----------
    gpu : Gpu
    """

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu

    def wait(self, stream: Any = None) -> None:
        """Wait in the calling thread, see `Fence.wait`."""
        self.gpu.synchronize()


class StreamFence:
    """Fence of a consumer that queues its reads on one stream, which may be any library's.

    Parameters
    ----------
    gpu : Gpu
    pointer : int
        The ``cudaStream_t``, or 0 for the default stream. The stream must exist as long as the fence.
    """

    def __init__(self, gpu: Gpu, pointer: int) -> None:
        self.gpu = gpu
        self._stream = gpu.external_stream(pointer)
        # Threads share the event: one may record it again before another waits for it, which then waits for more than it must
        self._event = gpu.event()

    def wait(self, stream: Any = None) -> None:
        """Let a stream wait on the device, or the calling thread, see `Fence.wait`."""
        with self.gpu.current():
            self._event.record(self._stream)
            if stream is None:
                self._event.synchronize()
            else:
                stream.wait_event(self._event)
