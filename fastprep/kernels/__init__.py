"""Everything about pixels: one kernel that executes crop tables."""

from fastprep.kernels.spec import CropSpec, crop

__all__ = ["CropSpec", "crop"]
