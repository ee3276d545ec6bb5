"""python -m fastprep.doctor: report what this machine and a file can do, and where the time goes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import Positional, arg

import fastprep
from fastprep.adapters import jax, tensorflow, torch
from fastprep.cli.command import Command, parse_command_line
from fastprep.cli.help import flowing
from fastprep.cli.image_options import channels_of, shape_of
from fastprep.cli.output import write_line
from fastprep.command_lines import option
from fastprep.diagnostics import gpu as gpu_figures
from fastprep.diagnostics.lock_share import LockShare, has_global_lock, share_of_worker
from fastprep.diagnostics.rates import LIMIT, Rates, advice, machine, measure, order_of
from fastprep.encoded import part_decoder
from fastprep.errors import DataError, DeviceUnavailableError, InputError
from fastprep.h5 import describe_unwritten, size_at, write_images
from fastprep.kernels.device import Gpu
from fastprep.loader import Loader
from fastprep.pipeline.device_jpegs import nvimgcodec

N_EXAMPLE = 512  # images of the temporary file


@flowing
@dataclass(frozen=True)
class FileOptions:
    """The file."""

    file: Annotated[Positional[str | None], arg(metavar="[FILE]")] = None
    """An HDF5 file of images. Default: a temporary file of noise, 256x256x3."""
    images: Annotated[str, arg(metavar="NAME")] = "images"
    """Dataset of images."""
    axes: Annotated[str | None, arg(metavar="AXES")] = None
    """Axes of the dataset of images, a letter for each in its order: N, H, W and C. NCHW is channels first, HWC one image a file.
    Default: what the file says, else NHWC or NHW, if the shape makes it plausible."""
    shape: Annotated[str | None, arg(metavar="HxWxC")] = None
    """Height, width and channels of an image, such as 28x28x1, in a dataset of flat rows."""
    channels: Annotated[str | None, arg(metavar="LIST")] = None
    """Channels of the images to use, in this order: numbers from 0, such as 0,1,2, or letters of the file's channel order, as in
    RGB. Default: all."""


@flowing
@dataclass(frozen=True)
class TimingOptions:
    """What is timed."""

    size: Annotated[int | None, arg(metavar="PIXELS")] = None
    """Height and width of the crops. Default: 227, or seven eighths of smaller images."""
    batch_size: Annotated[int, arg(metavar="N")] = 128
    """Samples in a batch."""
    rounds: Annotated[int, arg(metavar="N")] = 5
    """Number of timings, all in turn; medians are shown."""
    bench: bool = False
    """Instead, run the benchmark of all installed loaders of the field, which is in the source but not in the package."""


@flowing
@dataclass(frozen=True)
class Config(TimingOptions, FileOptions):  # the help text begins with the last one
    """Report what this machine and a file can do, and where the time goes.

    Times random mirrored crops in shuffled order: reading, the crop kernel, and both in one thread and in all.
    Tells how much of its time a thread holds Python's lock, which the others then wait for, where Python has one.
    On a GPU it compares bits with the CPU's, and times copy, kernel and hand-over.
    Nothing is written; the report can be pasted into a bug report.

    For example::

        python -m fastprep.doctor
        python -m fastprep.doctor train.h5 --size 224
    """


def main(argv: list[str] | None = None) -> int:
    """Run the command, and return its exit status; see `fastprep.cli.command.Command.run`."""
    config = parse(argv)
    command = Command("fastprep.doctor", errors=(InputError, DataError, ValueError), renamed={"crop": "--size"}, lacks={"labels"})
    return command.run(lambda: _run(config))


def parse(argv: list[str] | None) -> Config:
    """Read the command line."""
    return parse_command_line(Config, argv, "doctor")


def _run(config: Config) -> int:
    for name, value in (("size", config.size), ("batch_size", config.batch_size), ("rounds", config.rounds)):
        if value is not None and value < 1:
            raise InputError(f"{option(name)} must be at least 1, got {value}")
    if config.bench:
        return _bench()
    if config.file is not None:
        _report(config, config.file)
        return 0
    try:
        temporary = tempfile.TemporaryDirectory(prefix="fastprep-doctor-")
    except OSError as error:
        problem = "no folder for a temporary file of noise: set TMPDIR to one that can be written, or name a FILE"
        raise InputError(problem) from error
    with temporary as folder:
        path = os.path.join(folder, "noise.h5")
        generator = np.random.default_rng(0)
        noise = (generator.integers(0, 256, (256, 256, 3), dtype=np.uint8) for _ in range(N_EXAMPLE))
        write_images(path, noise, np.zeros(N_EXAMPLE, np.int64))
        _report(config, path)
    return 0


def _report(config: Config, path: str) -> None:
    gpu, missing = _gpu()
    _section("Machine", {**machine(), **({} if gpu else {"GPU": f"none to use: {missing}"})})

    def make(workers: int, device: str = "cpu") -> Loader:
        options = {
            "images": config.images,
            "axes": config.axes,
            "shape": shape_of(config.shape),
            "channels": channels_of(config.channels),
            "labels": None,
            "mean": 0,
            "shuffle": True,
            "workers": workers,
            "device": device,
        }
        return Loader(path, config.batch_size, crop, **options)  # type: ignore[arg-type]

    crop = None
    with make(1) as whole:
        height, width, channels = whole._spec.image_shape
        described = whole._dataset.describe()[0]
        size = config.size or (227 if min(height, width) > 227 else max(1, min(height, width) * 7 // 8))
        is_encoded = whole._dataset.is_encoded
    crop = (fastprep.RandomResizedCrop if is_encoded else fastprep.RandomCrop)(size, mirror=True)
    with make(1) as loader:
        facts = {
            "images": f"{described['samples']} {'encoded, the first ' * is_encoded}of {height}x{width}x{described['shape'][2]}, "
            f"{described['dtype']}",
            **({"channels": f"{channels} are used: {config.channels}"} if config.channels else {}),
            "read": str(described["read"]),
            **({"decoding": _decoding(gpu)} if is_encoded else {}),
            "shuffled order": order_of(loader),
            "size": f"{size_at(path) / 2**20:,.1f} MiB",
        }
        if n_unwritten := described["never_written"]:
            facts["not written"] = describe_unwritten(n_unwritten, described["samples"], "images", is_encoded)
        _section("File" if config.file else "Temporary file", {"file": path, **facts} if config.file else facts)
        rates = measure(make, config.rounds)
        share = share_of_worker(loader, config.rounds)
        _rates(rates, share, f"Random {'resized ' * is_encoded}crops of {size} pixels, mirrored", config)
        for hint in advice(loader, rates):
            write_line(f"* {hint}")
    if gpu:
        with make(1, str(gpu)) as loader:
            _report_gpu(gpu, loader, config.rounds)


def _gpu() -> tuple[Gpu | None, str]:
    """Return the first GPU, or the reason why there is none."""
    try:
        return Gpu(0), ""
    except DeviceUnavailableError as error:
        return None, str(error)


def _decoding(gpu: Gpu | None) -> str:
    """Describe where encoded images are decoded by default, and where JPEGs could be."""
    if part_decoder():
        here = "on the CPU; of most JPEGs only the part that a crop needs, by libjpeg-turbo"
    else:
        here = "on the CPU; JPEGs whole, by simplejpeg, because fastprep was built without libjpeg-turbo 2.1 or later"
    if gpu is None:
        return here
    try:
        nvimgcodec()
    except DeviceUnavailableError as error:
        return f"{here}; on the GPU not: {error}"
    return f'{here}; Loader(decode="device") has nvImageCodec decode JPEGs on the GPU'


_CONSUMERS = {  # by the names of Keras' backends: what to print, what describes their GPUs, what hands a batch over
    "tensorflow": ("TensorFlow", tensorflow.describe_gpus, tensorflow.to_tensors),
    "jax": ("JAX", jax.describe_gpus, jax.to_jax),
    "torch": ("torch", torch.describe_gpus, torch.to_torch),
}


def _report_gpu(gpu: Gpu, loader: Loader, rounds: int) -> None:
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    library, describe, hand_over = _CONSUMERS.get(backend, _CONSUMERS["tensorflow"])
    try:
        seen, n_seen = describe()
        if library == "TensorFlow":
            tensorflow.leave_memory()
    except ModuleNotFoundError as error:
        seen, n_seen = f"can't be used: {error}; KERAS_BACKEND=jax or torch asks another backend", 0
    n_crops, differing = gpu_figures.differences(gpu)
    bits = f"{n_crops} random crops, every bit as on the CPU"
    write_line("")
    _section(
        "GPU",
        {**gpu.describe(), library: seen, "kernel": f"DIFFERS from the CPU's: {differing[0]}" if differing else bits},
    )
    samples = loader.samples(0, 0)
    height, width, _ = loader._spec.image_shape
    table = loader.crop.table(height, width, samples, 0, 0)
    figures = gpu_figures.measure(gpu, loader._spec, len(samples), table, rounds)
    write_line("Batches as above, on the GPU")
    for name, value, limit, reference in (
        ("copy of images", figures.copy, figures.link, "a plain copy to the device"),
        ("crop kernel", figures.kernel, figures.memory, "a plain copy on the device"),
    ):
        write_line(f"  {name:20} {value / 1e9:>10,.1f} GB/s {value / limit:>7.2f} of {reference}")
    if n_seen:
        (batch,), seconds = loader._source.prepare(0, 0).parts, []
        for _ in range(rounds + 1):
            began = time.perf_counter()
            hand_over(batch, loader.dtype)
            seconds.append(time.perf_counter() - began)
        share = sorted(seconds[1:])[len(seconds[1:]) // 2] / figures.batch_s
        write_line(f"  {f'hand-over to {library}':20} {share:>23.2f} of the time of copy and kernel")
    write_line("")


def _section(title: str, facts: dict[str, str]) -> None:
    write_line(title)
    for name, value in facts.items():
        write_line(f"  {name:15} {value}")
    write_line("")


def _rates(rates: Rates, share: LockShare | None, what: str, config: Config) -> None:
    write_line(f"{what}, float32, batches of {config.batch_size}, file in the page cache")
    limit = rates.values[LIMIT]
    for name, value in rates.values.items():
        write_line(f"  {name:20} {value:>10,.0f} images/s {value / limit:>7.2f} of a memset of the result")
    write_line(f"  Reading takes {rates.share_read:.0%} of one thread's time, and cropping {1 - rates.share_read:.0%}.")
    if not has_global_lock():
        write_line("  This Python has no lock that only one thread has at a time.")
    elif share is not None:
        write_line(f"  A thread holds Python's lock, which only one has at a time, for {share} of its processor time:")
        write_line(f"  however many there are, they make at most {share.most_gain:,.3g} times what one makes.")
    write_line("")


def _bench() -> int:
    script = Path(fastprep.__file__).resolve().parent.parent / "benchmarks" / "field.py"
    if not script.exists():
        raise ValueError("--bench needs the folder `benchmarks` of fastprep's source, which an installed package does not have")
    return subprocess.run([sys.executable, str(script)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
