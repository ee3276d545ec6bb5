"""A consumer that captures a CUDA graph while the loader works, in both modes of a capture, and without one.

Whoever captures is a stream of cupy's. In global mode, torch's default, CUDA also refuses what other threads call meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from fastprep.pipeline.fences import DeviceFence, Fence, StreamFence
from gpu_sections.device import Bench
from gpu_sections.late import n_wrong, options_of
from gpu_sections.loader import batches_for, open_loader
from gpu_sections.rows import Job, Row

N_BATCHES = 12
MODES = {
    "no capture": None,
    "capture in thread-local mode": "streamCaptureModeThreadLocal",
    "capture in global mode": "streamCaptureModeGlobal",
}


def train(bench: Bench, mode: str | None, fence_of: Callable[[Any], Fence]) -> tuple[float, list[Any]]:
    """Read batches on a stream, and capture a graph on another one from the second batch on.

    Returns
    -------
    float, list
        Seconds for a batch, and copies of the batches.

    Raises
    ------
    RuntimeError
        If a call of any thread has ended the capture, or failed because of it.
    """
    gpu, runtime = bench.gpu, bench.cupy.cuda.runtime
    with gpu.current():
        reader, captured = gpu.stream(), gpu.stream()
        with open_loader(bench.job, str(gpu), **options_of(bench.job)) as loader:
            shape = (bench.job.sizes.batch, *loader.output_shape)
            kept = [bench.array(shape, "float32") for _ in range(min(N_BATCHES, len(loader)))]
            batches = batches_for(loader, fence_of(reader))
            gpu.copy_on_device(kept[0], next(batches), reader)  # the epoch begins with allocations
            if mode is not None:
                captured.begin_capture(getattr(runtime, mode))
            began = time.perf_counter()
            try:
                for target in kept[1:]:
                    gpu.copy_on_device(target, next(batches), reader)
                    if mode is not None:
                        bench.copy(captured)
                took = (time.perf_counter() - began) / (len(kept) - 1)
            finally:
                graph = captured.end_capture() if mode is not None else None
            if graph is not None:
                graph.launch(stream=captured)
                captured.synchronize()
            batches.close()
            reader.synchronize()
    return took, kept


def run(job: Job) -> Iterator[Row]:
    """Capture with the fence of the reader's stream, which must let the capture live."""
    with Bench(job) as bench:
        for name, mode in MODES.items():
            try:
                took, kept = train(bench, mode, lambda reader: StreamFence(bench.gpu, reader.ptr))
            except RuntimeError as error:
                yield Row(name, {"": _short(error)}, ok=False)
                continue
            wrong = n_wrong(job, kept)
            yield Row(name, {"ms a batch": took * 1e3, "batches": len(kept), "wrong": wrong}, ok=wrong == 0)


def run_control(job: Job) -> Iterator[Row]:
    """Capture with a wait for the whole device, which must end the capture: else nothing was tested."""
    with Bench(job) as bench:
        try:
            train(bench, MODES["capture in thread-local mode"], lambda reader: DeviceFence(bench.gpu))
        except RuntimeError as error:
            yield Row("control, a wait for the whole device", {"": _short(error)}, ok=True)
        else:
            yield Row("control, a wait for the whole device", {"": "the capture went on"}, ok=False)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
