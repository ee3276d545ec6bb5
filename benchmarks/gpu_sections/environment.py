"""Device, driver, machine and versions: what every other number depends on."""

from __future__ import annotations

import importlib.metadata
import subprocess
from collections.abc import Iterator

from fastprep.diagnostics.rates import machine
from gpu_sections.device import Bench
from gpu_sections.rows import Job, Row

PACKAGES = (
    *("cupy-cuda12x", "cupy-cuda13x", "torch", "torchvision", "jax", "jaxlib", "keras", "tensorflow", "nvidia-dali-cuda120"),
    *("nvidia-dali-cuda130", "numpy", "h5py"),
)
_QUERY = "name,driver_version,memory.total,pcie.link.gen.current,pcie.link.width.current,clocks.sm,clocks.mem,ecc.mode.current"


def run(job: Job) -> Iterator[Row]:
    """Describe what is there."""
    with Bench(job) as bench:
        for name, text in bench.gpu.describe().items():
            yield Row(name, {"": text})
        yield Row("nvidia-smi", {"": nvidia_smi(bench, _QUERY) or "not there"})
    for name, text in machine().items():
        if name != "packages":
            yield Row(name, {"": text})
    yield Row("packages", {"": ", ".join(f"{name} {version}" for name in PACKAGES if (version := _version(name)))})


def nvidia_smi(bench: Bench, query: str) -> str | None:
    """Return what nvidia-smi says of a device, values by commas; None if it can't be asked, as of a stand-in."""
    if bench.job.is_dry:
        return None
    device = bench.cupy.cuda.Device(bench.gpu.number).pci_bus_id  # the tool numbers devices in its own way
    command = ["nvidia-smi", f"--id={device}", f"--query-gpu={query}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
