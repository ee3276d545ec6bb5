"""The device that is measured, or the tests' stand-in for one, and the timing of what is queued there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastprep.diagnostics.gpu import n_sets
from fastprep.kernels import CropSpec
from fastprep.kernels.device import DeviceMemory, Gpu
from fastprep.kernels.launches import CropKernel
from gpu_sections.rows import Job

N_AHEAD = 8  # plain copies queued before: the device is busy with them while the host queues what is timed


class Bench:
    """A device, one stream on it, and plain copies to compare with; a context manager.

    Attributes
    ----------
    job : Job
    gpu : Gpu
    stream : cupy stream
        What `seconds` times is queued here.
    machine : fake_cupy.Machine or None
        The stand-in, in a dry run.
    copy_bytes : int
        Bytes that `copy` reads and writes.
    """

    def __init__(self, job: Job) -> None:
        self.job, self.machine = job, None
        self._closing = contextlib.ExitStack()
        if job.is_dry:
            from gpu_sections import stand_in

            self.machine = self._closing.enter_context(stand_in.installed())
        self.gpu = Gpu(0)  # the only one that `gpu.py` lets this process see
        self.stream = self.gpu.stream()
        n_bytes = max(job.sizes.plain_bytes, 2 * self.gpu.l2_bytes)
        self._plain = [self.array((n_bytes,), "uint8") for _ in range(2)]
        self.copy_bytes = 2 * n_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._plain.clear()
        self._closing.close()

    @property
    def cupy(self) -> Any:
        """The module."""
        return self.gpu.cupy

    def array(self, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
        """Return an array on the device, with any contents."""
        n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return self.gpu.array(DeviceMemory(self.gpu, n_bytes), shape, np.dtype(dtype))

    def copy(self, stream: Any = None) -> None:
        """Queue a plain copy on the device."""
        self.gpu.copy_on_device(*self._plain, self.stream if stream is None else stream)

    def seconds(self, contenders: Mapping[str, Callable[[], None]], n: int | None = None) -> dict[str, list[float]]:
        """Time contenders in turn, by events of the device.

        Parameters
        ----------
        contenders : mapping of callable
            Each queues one piece of work on `stream`, which is the current one.
        n : int, optional
            How often, between two events; by default as `Sizes` says.

        Returns
        -------
        dict of list of float
            Seconds of one piece of work, for each round.
        """
        n = self.job.sizes.queued if n is None else n
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        with self.gpu.current(), self.stream:
            start, stop = (self.cupy.cuda.Event(block=True) for _ in range(2))
            for turn in range(self.job.rounds + 1):
                for name, queue in contenders.items():
                    for _ in range(N_AHEAD):
                        self.copy()
                    start.record(self.stream)
                    for _ in range(n):
                        queue()
                    stop.record(self.stream)
                    stop.synchronize()
                    if turn:  # the first one compiles, allocates and fills caches
                        seconds[name].append(self.cupy.cuda.get_elapsed_time(start, stop) / 1e3 / n)
        return seconds

    def n_sets(self, n_bytes: int) -> int:
        """Return how many sets of arrays to use in turn where a launch writes so many bytes, see `fastprep.diagnostics.gpu`."""
        return n_sets(self.gpu, n_bytes, self.job.sizes.queued)

    def launches(self, spec: CropSpec, images: list[Any], tables: list[NDArray[np.int32]], outs: list[Any]) -> Callable[[], None]:
        """Return a function that queues the crop kernel in the current stream, on one set of arrays after the other."""
        kernel, turns = CropKernel(self.gpu, spec), []
        for source, table, out in zip(images, tables, outs, strict=True):
            checked = spec.checked_table(table, len(source))
            turns.append(kernel.launch(source, checked, self.gpu.upload(checked), out))
        return in_turn(turns)


def in_turn(functions: list[Callable[[], None]]) -> Callable[[], None]:
    """Return a function that calls one of these after the other, again and again."""
    turns = _endless(functions)
    return lambda: next(turns)()


def _endless(functions: list[Callable[[], None]]) -> Iterator[Callable[[], None]]:
    while True:
        yield from functions
