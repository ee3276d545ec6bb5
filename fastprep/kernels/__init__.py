"""Everything about pixels: one kernel that executes crop tables."""

from fastprep.kernels.spec import CropSpec, cpu_version, crop

__all__ = ["CropSpec", "cpu_version", "crop"]
