"""The same crops by other means on the device: torch by index and by grid_sample, torchvision v2, an elementwise kernel of cupy.

All are timed in turn with fastprep's kernel, in float32, channels last where they can, half of the crops mirrored.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep import RandomCrop
from fastprep.kernels import CropSpec, crop
from gpu_sections.device import Bench, in_turn
from gpu_sections.kernel import MEAN
from gpu_sections.rows import Job, Row, ratios

OURS = "fastprep"


class Batches:
    """Sets of images and crop tables on the host, which every way gets, and the right result of the first one.

    Parameters
    ----------
    job : Job
    n_sets : int
    """

    def __init__(self, job: Job, n_sets: int) -> None:
        sizes, random = job.sizes, np.random.default_rng(0)
        self.height, self.width, self.channels = sizes.image
        self.size = sizes.crop
        self.images = [random.integers(0, 256, (sizes.batch, *sizes.image), dtype=np.uint8) for _ in range(n_sets)]
        draw, samples = RandomCrop(sizes.crop, mirror=True), np.arange(sizes.batch)
        self.tables = [draw.table(self.height, self.width, samples, seed, 0) for seed in range(n_sets)]
        self.spec = CropSpec(sizes.image, "uint8", (self.size, self.size), MEAN)
        self.wanted = crop(self.images[0], self.tables[0], (self.size, self.size), MEAN)


class Way:
    """A way to make a batch.

    Attributes
    ----------
    queue : callable
        Queues one batch after another in the current stream.
    first : callable
        Returns the result of the first set of images, on the host.
    """

    def __init__(self, queue: Callable[[], Any], first: Callable[[], NDArray]) -> None:
        self.queue, self.first = queue, first


def run(job: Job) -> Iterator[Row]:
    """Compare the results, and time all ways that are there."""
    with Bench(job) as bench, contextlib.ExitStack() as streams:
        batches = Batches(job, bench.n_sets(job.sizes.batch * job.sizes.crop**2 * job.sizes.image[2] * 4))
        ways, left_out = {OURS: _fastprep(bench, batches)}, {}
        makers = {"cupy.ElementwiseKernel": _elementwise, **dict.fromkeys(TORCH_WAYS, _torch), "torchvision v2": _torchvision}
        for name, make in makers.items():
            try:
                ways[name] = make(bench, batches, name, streams)
            except (ImportError, NotImplementedError) as error:
                left_out[name] = str(error)
        rights = {name: compare(way.first(), batches.wanted) for name, way in ways.items()}
        took = bench.seconds({name: way.queue for name, way in ways.items()})
        for name, seconds in took.items():
            ratio, spread = ratios(seconds, took[OURS])
            yield Row(
                name,
                {"us": statistics.median(seconds) * 1e6, "x as long as fastprep": ratio, spread: "", "": rights[name]},
                ok=rights[name] == "same numbers" if name == OURS else None,
            )
        for name, reason in left_out.items():
            yield Row(name, {"": f"left out: {reason}"})


def compare(got: NDArray, wanted: NDArray) -> str:
    largest = float(np.abs(got.astype(np.float64) - wanted).max())
    return "same numbers" if largest == 0 else f"differs by {largest:.2g} at most"


def _fastprep(bench: Bench, batches: Batches) -> Way:
    shape = batches.spec.out_shape(len(batches.tables[0]))
    outs = [bench.array(shape, "float32") for _ in batches.tables]
    images = [bench.gpu.upload(images) for images in batches.images]
    queue = bench.launches(batches.spec, images, batches.tables, outs)
    return Way(queue, lambda: _once(bench, bench.launches(batches.spec, images[:1], batches.tables[:1], outs[:1]), outs[0]))


def _once(bench: Bench, queue: Callable[[], None], out: Any) -> NDArray:
    with bench.gpu.current(), bench.stream:
        queue()
        bench.stream.synchronize()
    return out.get()


def _elementwise(bench: Bench, batches: Batches, *_: Any) -> Way:
    """Return the kernel that cupy's users would write: one thread for each number of the result."""
    size, channels = batches.size, batches.channels
    source = f"""
        int c = i % {channels}, x = i / {channels} % {size}, y = i / {channels * size} % {size}, k = i / {channels * size * size};
        int column = table[4 * k + 2] + (table[4 * k + 3] & 1 ? {size - 1} - x : x), row = table[4 * k + 1] + y;
        long long at = (((long long)table[4 * k] * {batches.height} + row) * {batches.width} + column) * {channels} + c;
        out = (float)images[at] - mean[c];"""
    with bench.gpu.current():
        kernel = bench.cupy.ElementwiseKernel(
            "raw uint8 images, raw int32 table, raw float32 mean", "float32 out", source, "crop_each"
        )
    mean = bench.gpu.upload(np.array(MEAN, np.float32))
    images, tables = ([bench.gpu.upload(values) for values in sets] for sets in (batches.images, batches.tables))
    outs = [bench.array(batches.wanted.shape, "float32") for _ in images]
    turns = [
        lambda images=images, table=table, out=out: kernel(images, table, mean, out)
        for images, table, out in zip(images, tables, outs, strict=True)
    ]
    return Way(in_turn(turns), lambda: _once(bench, turns[0], outs[0]))


def _by_index(images: Any, table: Any, mean: Any, size: int) -> Any:
    """Return the crops by torch's advanced indexing."""
    import torch

    slot, y, x, flags = table.unbind(1)
    along = torch.arange(size, device=images.device)
    rows = y[:, None] + along
    columns = x[:, None] + torch.where(flags[:, None] > 0, size - 1 - along, along)
    return images[slot[:, None, None], rows[:, :, None], columns[:, None, :]].to(torch.float32).sub_(mean)


def _by_grid_sample(images: Any, table: Any, mean: Any, size: int) -> Any:
    """Return the crops by torch's grid_sample, which takes and gives channels first, in float32."""
    import torch

    _, y, x, flags = table.unbind(1)
    height, width = images.shape[1:3]
    along = torch.arange(size, device=images.device, dtype=torch.float32)
    rows = (y[:, None] + along) * (2 / (height - 1)) - 1
    columns = (x[:, None] + torch.where(flags[:, None] > 0, size - 1 - along, along)) * (2 / (width - 1)) - 1
    grid = torch.stack((columns[:, None, :].expand(-1, size, -1), rows[:, :, None].expand(-1, -1, size)), -1)
    planes = images.permute(0, 3, 1, 2).to(torch.float32)
    cut = torch.nn.functional.grid_sample(planes, grid, mode="nearest", align_corners=True)
    return cut.sub_(mean[:, None, None]).permute(0, 2, 3, 1)


TORCH_WAYS = {"torch, advanced indexing": _by_index, "torch, grid_sample": _by_grid_sample}


def _torch(bench: Bench, batches: Batches, name: str, streams: contextlib.ExitStack) -> Way:
    import torch

    device = _torch_device(bench, streams)
    mean = torch.tensor(MEAN, dtype=torch.float32, device=device)
    images = [torch.from_numpy(images).to(device) for images in batches.images]
    tables = [torch.from_numpy(table.astype(np.int64)).to(device) for table in batches.tables]
    turns = [
        lambda images=images, table=table: TORCH_WAYS[name](images, table, mean, batches.size)
        for images, table in zip(images, tables, strict=True)
    ]
    return Way(in_turn(turns), lambda: turns[0]().cpu().numpy())


def _torchvision(bench: Bench, batches: Batches, name: str, streams: contextlib.ExitStack) -> Way:
    """Return torchvision's functions image by image, with the crops' places on the host, as its transforms draw them."""
    import torch
    from torchvision.transforms.v2 import functional

    device = _torch_device(bench, streams)
    images = [torch.from_numpy(images).to(device).permute(0, 3, 1, 2) for images in batches.images]

    def make(planes: Any, table: list[list[int]]) -> Any:
        crops = [functional.crop(planes[slot], y, x, batches.size, batches.size) for slot, y, x, _ in table]
        flipped = [functional.horizontal_flip(c) if row[3] else c for c, row in zip(crops, table, strict=True)]
        return functional.normalize(torch.stack(flipped).to(torch.float32), list(MEAN), [1.0] * len(MEAN))

    turns = [
        lambda planes=planes, table=table: make(planes, table)
        for planes, table in zip(images, [table.tolist() for table in batches.tables], strict=True)
    ]
    return Way(in_turn(turns), lambda: turns[0]().permute(0, 2, 3, 1).cpu().numpy())


def _torch_device(bench: Bench, streams: contextlib.ExitStack) -> str:
    """Let torch queue on the stream that is timed; return its device, which is the CPU beside a stand-in."""
    import torch

    if bench.job.is_dry:
        return "cpu"
    if not torch.cuda.is_available():
        raise NotImplementedError("this torch sees no GPU")
    device = f"cuda:{bench.gpu.number}"
    streams.enter_context(torch.cuda.stream(torch.cuda.ExternalStream(bench.stream.ptr, device=device)))
    return device
