"""Everything about pixels: kernels that execute crop tables and transform tables, on the CPU and on CUDA devices."""

from fastprep.kernels.apply import crop, warp
from fastprep.kernels.blending import blend
from fastprep.kernels.choices import cpu_version
from fastprep.kernels.mask_spec import MaskSpec
from fastprep.kernels.spec import CropSpec
from fastprep.kernels.warp_spec import WarpSpec

__all__ = ["CropSpec", "MaskSpec", "WarpSpec", "blend", "cpu_version", "crop", "warp"]
