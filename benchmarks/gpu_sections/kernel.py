"""The crop kernel, by events, beside a plain copy on the device: all types and layouts, mirrored or not, and ten crops."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep import RandomCrop, TenCrop
from fastprep.kernels import CropSpec
from fastprep.transforms import MIRRORED
from gpu_sections.bits import DTYPES, LAYOUTS
from gpu_sections.device import Bench
from gpu_sections.rows import Job, Row, Sizes, share_of_copy

MEAN = (103.939, 116.779, 123.68)


@dataclass(frozen=True)
class Case:
    """A kind of batch.

    Attributes
    ----------
    mirrored : bool or None
        All crops or none of them; None for ten crops of each image.
    """

    dtype: str = "float32"
    layout: str = "channels_last"
    mirrored: bool | None = False
    source: str = "uint8"
    mean: str = "channels"
    scale: float | None = None

    def __str__(self) -> str:
        crops = {True: "mirrored", False: "straight", None: "ten crops"}[self.mirrored]
        more = [*([f"from {self.source}"] if self.source != "uint8" else []), *(["scaled"] if self.scale else [])]
        more += [] if self.mean == "channels" else [f"mean {self.mean}"]
        return ", ".join([self.dtype, self.layout.replace("_", " "), crops, *more])

    def spec(self, sizes: Sizes) -> CropSpec:
        """Return the operation."""
        mean = {"channels": MEAN, "none": None, "image": np.full(sizes.image, 117.0)}[self.mean]
        return CropSpec(sizes.image, self.source, (sizes.crop, sizes.crop), mean, self.scale, self.dtype, self.layout)

    def table(self, sizes: Sizes, seed: int) -> NDArray[np.int32]:
        """Return a crop table; of ten crops, for so many images that there are about as many crops."""
        height, width, _ = sizes.image
        if self.mirrored is None:
            return TenCrop(sizes.crop).table(height, width, np.arange(-(-sizes.batch // 10)), seed, 0)
        table = RandomCrop(sizes.crop).table(height, width, np.arange(sizes.batch), seed, 0)
        table[:, 3] = MIRRORED * self.mirrored
        return table


CASES = (
    *(Case(*case) for case in itertools.product(DTYPES, LAYOUTS, (False, True, None))),
    *(Case(source=source) for source in ("uint16", "float32", "float64")),
    *(Case(mean="none"), Case(mean="image"), Case(scale=1 / 255), Case("bfloat16", "channels_first", scale=1 / 255)),
)


def bytes_moved(spec: CropSpec, table: NDArray[np.int32]) -> int:
    """Return how many bytes a batch reads and writes at least.

    Each source byte that a crop has counts once, each byte of the result once, and of a mean image each byte that is needed.
    """
    height, width, channels = spec.image_shape
    covered = np.zeros((int(table[:, 0].max()) + 1, height, width), bool)
    for slot, y, x, _ in table.tolist():
        covered[slot, y : y + spec.size[0], x : x + spec.size[1]] = True
    read = int(covered.sum()) * channels * np.dtype(spec.source_dtype).itemsize
    if spec.mean_values is not None and spec.mean_values.ndim == 3:
        read += int(covered.any(axis=0).sum()) * channels * 4
    return read + len(table) * spec.crop_bytes


def run(job: Job) -> Iterator[Row]:
    """Time a plain copy, a fill, and every case beside a copy of the same rounds."""
    with Bench(job) as bench:
        yield from _limits(bench)
        images: dict[str, list[Any]] = {}
        for case in CASES:
            spec = case.spec(job.sizes)
            n_bytes = len(case.table(job.sizes, 0)) * spec.crop_bytes
            n_sets = bench.n_sets(n_bytes)
            if case.source not in images or len(images[case.source]) < n_sets:
                images = {case.source: _images(bench, case.source, n_sets)}  # no others: they may not fit
            yield _measure(bench, case, images[case.source][:n_sets])


def _limits(bench: Bench) -> Iterator[Row]:
    target = bench.array((bench.copy_bytes // 2,), "uint8")
    took = bench.seconds({"copy": bench.copy, "fill": lambda: bench.gpu.clear(target, bench.stream)})
    yield Row("plain copy, bytes read and written", {"GB/s": bench.copy_bytes / statistics.median(took["copy"]) / 1e9})
    yield Row("plain fill", {"GB/s": target.nbytes / statistics.median(took["fill"]) / 1e9})


def _measure(bench: Bench, case: Case, images: list[Any]) -> Row:
    sizes = bench.job.sizes
    spec, tables = case.spec(sizes), [case.table(sizes, seed) for seed in range(len(images))]
    outs = [bench.array(spec.out_shape(len(table)), spec.out_dtype) for table in tables]
    launch = bench.launches(spec, images, tables, outs)
    took = bench.seconds({"copy": bench.copy, "kernel": launch})
    n_bytes, seconds = bytes_moved(spec, tables[0]), statistics.median(took["kernel"])
    share, spread = share_of_copy(n_bytes, took["kernel"], bench.copy_bytes, took["copy"])
    return Row(str(case), {"us": seconds * 1e6, "GB/s": n_bytes / seconds / 1e9, "of copy": share, "": spread})


def _images(bench: Bench, source: str, n_sets: int) -> list[Any]:
    random, shape = np.random.default_rng(0), (bench.job.sizes.batch, *bench.job.sizes.image)
    return [bench.gpu.upload(random.integers(0, 256, shape).astype(source)) for _ in range(n_sets)]
