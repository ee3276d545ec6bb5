"""Everything about pixels: a kernel that executes crop tables, on the CPU and on CUDA devices."""

from fastprep.kernels.apply import crop
from fastprep.kernels.spec import CropSpec, cpu_version

__all__ = ["CropSpec", "cpu_version", "crop"]
