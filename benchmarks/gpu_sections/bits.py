"""The CUDA kernel's bits beside the CPU kernel's, on random images, crops, types and layouts."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.kernels import crop
from fastprep.kernels.device import Gpu
from gpu_sections.device import Bench
from gpu_sections.rows import Job, Row

SOURCES = ("uint8", "uint16", "float32", "float64")
DTYPES = ("float32", "float16", "bfloat16")
LAYOUTS = ("channels_last", "channels_first")
N_THREADS = 12  # NVRTC compiles in several threads at once, and compiling is what takes the time
N_CASES = 24  # of each thread: all pairs of types, in both layouts
N_CROPS = 16


@dataclass(frozen=True)
class Case:
    """Arguments of `fastprep.kernels.crop`."""

    images: NDArray
    table: NDArray[np.int32]
    size: tuple[int, int]
    options: dict[str, Any]

    def __str__(self) -> str:
        given = [name for name in ("mean", "scale") if self.options[name] is not None]
        shapes = "".join(f", {name} {np.shape(self.options[name])}" for name in given)
        kind = f"{self.images.dtype} {self.images.shape} to {self.size}, {self.options['dtype']}, {self.options['layout']}"
        return kind + shapes


def random_case(random: np.random.Generator, number: int, is_small: bool) -> Case:
    """Return a case: the types take turns, and every sixth has a shape that people use, or rows that are cut into tiles."""
    height, width = (int(side) for side in random.integers(8, 80, 2))
    if not is_small and number % 6 == 0:
        height, width = ((256, 256), (5, 6001))[number // 6 % 2]
    shape = (3, height, width, int(random.choice([1, 2, 3, 4, 5, 7] if is_small or width > 80 else [1, 2, 3, 4, 5, 7, 64])))
    size = (int(random.integers(1, height + 1)), int(random.integers(1, width + 1)))
    source = SOURCES[number % 4]
    images = random.integers(0, 256, shape).astype(source)
    if source.startswith("float"):  # subnormal and large numbers, too
        images *= 10.0 ** random.integers(-43, 3, shape)
    limits = (3, height - size[0] + 1, width - size[1] + 1, 4)
    table = np.stack([random.integers(0, limit, N_CROPS) for limit in limits], axis=1).astype(np.int32)
    mean = (None, random.uniform(0, 255, shape[3]), random.uniform(0, 255, shape[1:]))[int(random.integers(3))]
    scale = (None, 1 / 255, random.uniform(0, 2, shape[3]))[int(random.integers(3))]
    options = {"mean": mean, "scale": scale, "dtype": DTYPES[number // 4 % 3], "layout": LAYOUTS[number // 12 % 2]}
    return Case(images, table, size, options)


def on_the_cpu(case: Case) -> NDArray:
    """Return what the CPU kernel makes; it takes no uint16, whose numbers are the same as float32."""
    images = case.images.astype(np.float32) if case.images.dtype == np.uint16 else case.images
    return crop(images, case.table, case.size, **case.options)


def differing(gpu: Gpu, seed: int, is_small: bool) -> list[str]:
    """Return descriptions of the cases in which a bit differs."""
    random, found = np.random.default_rng(seed), []
    for number in range(N_CASES):
        case = random_case(random, number, is_small)
        got = crop(case.images, case.table, case.size, **case.options, device=str(gpu)).get()
        if on_the_cpu(case).tobytes() != got.tobytes():
            found.append(str(case))
    return found


def run(job: Job) -> Iterator[Row]:
    """Compare, and name the first cases that differ."""
    n_threads = 2 if job.is_dry else N_THREADS
    with Bench(job) as bench, ThreadPoolExecutor(n_threads) as pool:
        each = pool.map(differing, repeat(bench.gpu), range(n_threads), repeat(job.is_dry))
        found = [case for cases in each for case in cases]
    counts = {"cases": n_threads * N_CASES, "crops": n_threads * N_CASES * N_CROPS, "differ": len(found)}
    yield Row("GPU against CPU kernel, random crops", counts, ok=not found)
    for case in found[:5]:
        yield Row("  differs", {"": case}, ok=False)
