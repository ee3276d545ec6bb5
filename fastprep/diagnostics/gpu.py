"""Batches on a GPU, for the doctor's report: whether its bits equal the CPU's, and what limits its speed."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.kernels import CropSpec, crop
from fastprep.kernels.device import DeviceMemory, Gpu
from fastprep.kernels.launches import CropKernel

PLAIN_BYTES = 256 << 20  # size of the plain copies that measure link and memory
REPEATS = 20  # operations queued at a time, so that the time of the calls does not count


@dataclass(frozen=True)
class Figures:
    """Rates in bytes a second, medians over the rounds.

    Attributes
    ----------
    link : float
        Plain copy from pinned memory to the device.
    memory : float
        Plain copy on the device, bytes read and written.
    copy : float
        Copy of a batch's images to the device.
    kernel : float
        Bytes that the kernel reads and writes: each source byte of a crop and each byte of the result counts once. Nothing of
        it is in the L2 cache when a launch begins.
    batch_s : float
        Seconds that copy and kernel take for a batch.
    """

    link: float
    memory: float
    copy: float
    kernel: float
    batch_s: float


def differences(gpu: Gpu, n_cases: int = 40, seed: int = 0) -> tuple[int, list[str]]:
    """Compare the CUDA kernel with the CPU kernel, bit by bit, on random images, crops, types and layouts.

    Parameters
    ----------
    gpu : Gpu
    n_cases : int
    seed : int

    Returns
    -------
    n_crops : int
        Number of crops that were compared.
    differing : list of str
        Descriptions of the cases in which a bit differs.
    """
    random, n_crops, differing = np.random.default_rng(seed), 0, []
    for case in range(n_cases):
        shape = (3, *(int(side) for side in random.integers(8, 80, 2)), int(random.choice([1, 3, 4])))
        size = (int(random.integers(1, shape[1] + 1)), int(random.integers(1, shape[2] + 1)))
        limits = (shape[0], shape[1] - size[0] + 1, shape[2] - size[1] + 1, 4)
        table = np.stack([random.integers(0, limit, 16) for limit in limits], axis=1).astype(np.int32)
        source = ("uint8", "float32", "float64")[case % 3]  # the types that both kernels take
        images = (random.integers(0, 256, shape) + (0 if source == "uint8" else random.random(shape))).astype(source)
        mean = (None, random.uniform(0, 255, shape[3]), random.uniform(0, 255, shape[1:]))[case % 4 % 3]
        dtype, layout = ("float32", "float16", "bfloat16")[case // 3 % 3], ("channels_last", "channels_first")[case % 2]
        arguments: dict[str, Any] = {"mean": mean, "scale": (None, 1 / 255)[case // 2 % 2], "dtype": dtype, "layout": layout}
        wanted = crop(images, table, size, **arguments)
        got = crop(images, table, size, **arguments, device=str(gpu)).get()
        n_crops += len(table)
        if wanted.tobytes() != got.tobytes():
            differing.append(f"{source} {shape} to {size}, {dtype}, {layout}, mean {'none' if mean is None else mean.shape}")
    return n_crops, differing


def measure(
    gpu: Gpu,
    spec: CropSpec,
    n_images: int,
    table: NDArray[np.int32],
    rounds: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> Figures:
    """Time the copy and the kernel of a batch, and plain copies over the link and in memory, in turn.

    Parameters
    ----------
    gpu : Gpu
    spec : CropSpec
    n_images : int
    table : ndarray of int32, shape (n_out, 4)
    rounds : int
        Number of timings of each, after one that does not count.
    clock : callable

    Returns
    -------
    Figures
    """
    read = len(table) * int(np.prod(spec.size)) * spec.image_shape[2] * np.dtype(spec.source_dtype).itemsize
    written = len(table) * spec.crop_bytes
    with gpu.current():
        stream, kernel = gpu.stream(), CropKernel(gpu, spec)
        checked = spec.checked_table(table, n_images)
        table_there, checks = gpu.upload(checked), gpu.upload(np.zeros(len(table), np.uint32)) if spec.checks_finite else None
        sets = _sets(gpu, spec, n_images, len(table))
        launches = itertools.cycle([kernel.launch(images, checked, table_there, out, checks) for images, out in sets])
        targets = itertools.cycle([images for images, _ in sets])
        image_bytes = sets[0][0].nbytes
        plain_bytes = max(PLAIN_BYTES, 2 * gpu.l2_bytes)
        pinned = gpu.pinned(max(plain_bytes, image_bytes))
        pinned[:] = 0  # bring its pages in
        plain, other = (gpu.array(DeviceMemory(gpu, plain_bytes), (plain_bytes,), "uint8") for _ in range(2))

        def queue_launch() -> None:
            with stream:
                next(launches)()

        contenders: dict[str, Callable[[], None]] = {
            "link": lambda: gpu.copy(plain, pinned[:plain_bytes], stream),
            "copy": lambda: gpu.copy(next(targets), pinned[:image_bytes], stream),
            "memory": lambda: gpu.copy_on_device(other, plain, stream),
            "kernel": queue_launch,  # right after the plain copies, which leave nothing of a batch in the cache
        }
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        for turn in range(rounds + 1):
            for name, queue in contenders.items():
                began = clock()
                for _ in range(REPEATS):
                    queue()
                stream.synchronize()
                if turn:
                    seconds[name].append((clock() - began) / REPEATS)
    took = {name: statistics.median(values) for name, values in seconds.items()}
    return Figures(
        link=plain_bytes / took["link"],
        memory=2 * plain_bytes / took["memory"],
        copy=image_bytes / took["copy"],
        kernel=(read + written) / took["kernel"],
        batch_s=took["copy"] + took["kernel"],
    )


def n_sets(gpu: Gpu, n_bytes: int, n_queued: int) -> int:
    """Return how many sets of arrays to use in turn, so that what a launch touches has left the L2 cache before it.

    Between two launches on one set the others write twice what the cache holds, or there is a set for each launch of a timing.

    Parameters
    ----------
    gpu : Gpu
    n_bytes : int
        What a launch writes.
    n_queued : int
        Launches of a timing.
    """
    return min(n_queued, 1 + -(-2 * gpu.l2_bytes // n_bytes))


def _sets(gpu: Gpu, spec: CropSpec, n_images: int, n_out: int) -> list[tuple[Any, Any]]:
    """Return pairs of images and results, to be used in turn, see `n_sets`.

    (What they read may be the same for several rows of the table, and is not counted.)
    """
    shape, n_bytes = (n_images, *spec.source_shape), n_images * spec.source_bytes
    return [
        (
            gpu.array(DeviceMemory(gpu, n_bytes), shape, spec.source_dtype),
            gpu.array(DeviceMemory(gpu, n_out * spec.crop_bytes), spec.out_shape(n_out), spec.out_dtype),
        )
        for _ in range(n_sets(gpu, n_out * spec.crop_bytes, REPEATS))
    ]
