"""What the machine and a file can do: facts, rates, and advice that follows from them."""

from __future__ import annotations

import ctypes
import importlib.metadata
import itertools
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastprep._sink import hand_over
from fastprep._version import __version__
from fastprep.dataset.agreement import convert_line
from fastprep.h5 import CopySink
from fastprep.kernels import cpu_version
from fastprep.kernels._cpu import supported_versions
from fastprep.loader import Loader
from fastprep.pipeline import BufferPool
from fastprep.pipeline.buffers import as_array
from fastprep.system import usable_processors

PACKAGES = ("numpy", "h5py", "imagecodecs", "hdf5plugin", "tensorflow", "keras", "cupy-cuda12x", "cupy-cuda13x", "jax", "torch")
LIMIT = "memset of a batch"
_N_LOOKED_AT = 4  # images that tell what the others are like


def machine() -> dict[str, str]:
    """Return facts about this machine and the installed packages that matter for speed."""
    found = {name: version for name in PACKAGES if (version := _installed(name))}
    others = [name for name in supported_versions() if name != cpu_version()]
    return {
        "fastprep": __version__,
        "Python": f"{platform.python_version()}, {platform.system()} {platform.release()} {platform.machine()}",
        "processor": f"{_processor()}, {usable_processors()} of {os.cpu_count()} usable",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "crop kernel": cpu_version() + (f" (also possible: {', '.join(others)})" if others else ""),
        "packages": ", ".join(f"{name} {version}" for name, version in found.items()),
    }


@dataclass(frozen=True)
class Rates:
    """Rates in images a second, medians over the rounds.

    Attributes
    ----------
    values : dict of float
        Rates of `LIMIT`, "crop kernel", "reading", "loader, 1 thread", and "loader, n threads" if the machine has more.
    share_read : float
        Part of the time of one thread that reading and decoding take, 0..1.
    size : (int, int)
        Height and width of the crops.
    """

    values: dict[str, float]
    share_read: float
    size: tuple[int, int]


def measure(
    make_loader: Callable[[int], Loader], rounds: int = 5, n_images: int = 1024, clock: Callable[[], float] = time.perf_counter
) -> Rates:
    """Time reading, cropping, both together, and the limit of the memory, in turn.

    Parameters
    ----------
    make_loader : callable
        Function that takes the number of threads and returns a loader of shuffled random crops.
    rounds : int
        Number of timings of each, after one that does not count and brings the file into the page cache.
    n_images : int
        Images in each round.
    clock : callable

    Returns
    -------
    Rates

    Raises
    ------
    DataError
        If the file is damaged.
    """
    n_threads = usable_processors()
    single = make_loader(1)
    loaders = {"loader, 1 thread": single}
    if n_threads > 1:
        loaders[f"loader, {n_threads} threads"] = make_loader(n_threads)
    steps = max(1, min(len(single), -(-n_images // single.batch_size)))
    contenders: dict[str, Callable[[], int]] = {LIMIT: _memset(single), "crop kernel": _crop(single), "reading": _read(single)}
    seconds: dict[str, list[float]] = {name: [] for name in (*contenders, *loaders)}
    try:
        for turn in range(rounds + 1):
            for name in seconds:
                began = clock()
                n = _take(loaders[name], steps) if name in loaders else sum(contenders[name]() for _ in range(steps))
                if turn:
                    seconds[name].append((clock() - began) / n)
    finally:
        for loader in loaders.values():
            loader.close()
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    share = medians["reading"] / (medians["reading"] + medians["crop kernel"])
    return Rates({name: 1 / value for name, value in medians.items()}, share, single._spec.size)


def advice(loader: Loader, rates: Rates) -> list[str]:
    """Return suggestions that would make a loader faster, one sentence each."""
    sentences = []
    files = loader._dataset.describe()
    line = convert_line(loader._dataset) if _fit_in_bytes(loader) else ""

    def way_out(does: str) -> str:
        return f"; `{line}` {does}" if line else ""

    by_hdf5 = [facts["file"] for facts in files if facts["read"].startswith("read by HDF5")]
    if by_hdf5:
        more = f" and {len(by_hdf5) - 1} more" if len(by_hdf5) > 1 else ""
        slow = f"{by_hdf5[0]}{more} has to be read by HDF5, one thread at a time"
        sentences.append(f"{slow}{way_out('stores its images plainly')}.")
    if loader._dataset.block_starts is not None and not loader._dataset.image_files.are_fetched:
        compromise = "Images are decoded several at a time, so the order is a compromise"
        sentences.append(f"{compromise}{way_out('stores each by itself')}.")
    n_bytes = np.dtype(files[0]["dtype"]).itemsize
    if n_bytes > 1:
        large = f"Each value of a pixel takes {n_bytes} bytes in the file"
        sentences.append(f"{large}{way_out('stores whole numbers up to 255 in one')}.")
    if rates.share_read > 0.75 and loader._dataset.is_encoded:
        sentences.append(
            f"Reading and decoding take {rates.share_read:.0%} of a thread's time: more processors help, or smaller images, "
            "or pixels instead, which take more room on the disk."
        )
    if rates.share_read > 0.75 and "filters" in files[0]["read"]:
        share = f"Reading and decoding take {rates.share_read:.0%} of a thread's time"
        sentences.append(f"{share}{way_out('needs no decoding')}.")
    return sentences


def _fit_in_bytes(loader: Loader) -> bool:
    """Tell whether some images have whole numbers from 0 to 255 alone, as those that `fastprep.convert` writes."""
    if loader._dataset.is_encoded:
        return True
    some = np.unique(np.linspace(0, loader.n_samples - 1, _N_LOOKED_AT).astype(np.int64))
    images = loader._dataset.images_of(some)
    return all(((image >= 0) & (image <= 255) & (image % 1 == 0)).all() for image in images)  # no NaN


def order_of(loader: Loader) -> str:
    """Describe how a shuffling loader orders the samples, and how much memory that takes."""
    sentences = loader._sampler.describe()
    starts, n_blocks = loader._dataset.block_starts, loader._sampler.n_blocks_to_keep(loader._pool.ahead)
    if starts is None or not n_blocks or loader._dataset.image_files.are_fetched:
        return sentences
    n_blocks = min(n_blocks, len(starts) - 1)
    return f"{sentences}; up to {n_blocks * loader._dataset.block_bytes / 2**20:,.0f} MiB of decoded images in memory"


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _take(loader: Loader, steps: int) -> int:
    rows = 0
    for item in itertools.islice(loader, steps):
        rows += len(item[0] if isinstance(item, tuple) else item)
    return rows // loader.crop.n_crops


def _memset(loader: Loader) -> Callable[[], int]:
    n_bytes = loader.batch_size * loader.crop.n_crops * loader._spec.crop_bytes
    lease = BufferPool(n_bytes, 1).lease()
    target = as_array(lease, (n_bytes,), np.dtype(np.uint8))
    ctypes.memset(target.ctypes.data, 0, n_bytes)  # bring its pages in

    def fill() -> int:
        ctypes.memset(target.ctypes.data, 1, n_bytes)
        return loader.batch_size

    return fill


def _crop(loader: Loader) -> Callable[[], int]:
    samples = loader.samples(0, 0)
    spec, dataset = loader._spec, loader._dataset
    if dataset.is_encoded:
        images = [np.copy(image).reshape(-1) for image in dataset.images_of(samples)]
        pixels, sizes = np.concatenate(images), [image.nbytes for image in images]
    else:
        pixels = np.empty((len(samples), *spec.source_shape), dataset.dtype)
        sizes = [pixels[0].nbytes] * len(samples)
        dataset.read(samples, CopySink(_bytes_of(pixels), sizes[0]))
    table = loader._source.augmentation.table(dataset.shapes(samples), samples, 0, 0)
    lease = BufferPool(len(table) * spec.crop_bytes, 1).lease()
    out = as_array(lease, spec.out_shape(len(table)), spec.out_dtype)
    sink = spec.cpu_sink(table, len(samples), out)
    offsets = np.cumsum([0, *sizes[:-1]])

    def crop() -> int:
        hand_over(_bytes_of(pixels), offsets, np.arange(len(samples), dtype=np.int64), sink)
        return len(samples)

    return crop


def _read(loader: Loader) -> Callable[[], int]:
    dataset, steps = loader._dataset, itertools.cycle(range(len(loader)))
    if dataset.is_encoded:
        return lambda: sum(1 for _ in dataset.images_of(loader.samples(0, next(steps))))
    scratch = np.empty((loader.batch_size, *loader._spec.source_shape), dataset.dtype)
    sink = CopySink(_bytes_of(scratch), scratch[0].nbytes)

    def read() -> int:
        samples = loader.samples(0, next(steps))
        dataset.read(samples, sink)
        return len(samples)

    return read


def _bytes_of(images: NDArray) -> NDArray[np.uint8]:
    return images.reshape(-1).view(np.uint8)
