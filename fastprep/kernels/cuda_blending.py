"""Blending of the images of a batch on a CUDA device: the constants that `blend.cu` is compiled with, its grid and its launch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastprep.kernels.cuda import MAX_BLOCKS, options_of, source_of
from fastprep.kernels.spec import CropSpec

if TYPE_CHECKING:
    from fastprep.kernels.device import Gpu

NAME = "fastprep_blend"
_THREADS = 256
_PART = 16384  # elements of an image for a block: enough for the work before its loops to be negligible


def blend_options(spec: CropSpec) -> tuple[str, ...]:
    """Return the options for NVRTC, in addition to the architecture; they depend only on shape, type and layout of an image."""
    (height, width), channels = spec.size, spec.image_shape[2]
    constants = {
        "HEIGHT": height,
        "WIDTH": width,
        "CHANNELS": channels,
        "SOURCE": "float32",  # what is blended is computed in float32
        "TARGET": spec.dtype,
        "CHANNELS_FIRST": int(spec.layout == "channels_first"),
        "THREADS": _THREADS,
        "PART": _PART,
    }
    return options_of(constants)


def blend_source() -> str:
    """Return the kernel: CUDA C++ that includes nothing."""
    return source_of("blend.cu")


def blend_grid(spec: CropSpec, n: int) -> tuple[tuple[int], tuple[int]]:
    """Return the number of blocks, and of threads in a block, for a batch of n images.

    Raises
    ------
    ValueError
        If there are too many images for one launch.
    """
    parts = -(-spec.size[0] * spec.size[1] * spec.image_shape[2] // _PART)
    if n // 2 * parts > MAX_BLOCKS:
        raise ValueError(f"at most {MAX_BLOCKS // parts * 2} images of this size can be blended, got {n}")
    return (n // 2 * parts,), (_THREADS,)


class BlendKernel:
    """The blend kernel on one device. It is compiled at first use.

    Parameters
    ----------
    gpu : Gpu
    spec : CropSpec
        Says shape, type and layout of the images.
    """

    def __init__(self, gpu: Gpu, spec: CropSpec) -> None:
        self.gpu, self.spec = gpu, spec
        self._lock = threading.Lock()
        self._function: Any = None

    def launch(self, x: Any, weights: Any, rectangles: Any) -> Callable[[], None]:
        """Return a function that queues the launch in the thread's current stream.

        Parameters
        ----------
        x : cupy array of `spec.out_dtype`, shape `spec.out_shape(n)`
            Blended in place.
        weights : cupy array of float32, shape (n,)
        rectangles : cupy array of int32, shape (n, 4)
            A blend table that `fastprep.kernels.blending.checked_blend` has checked.

        Returns
        -------
        callable

        Raises
        ------
        ValueError
            If there are too many images for one launch.
        """
        n = len(x)
        grid, block = blend_grid(self.spec, n)
        if n < 2:
            return lambda: None
        function = self.prepare()
        return lambda: function(grid, block, (x, weights, rectangles, np.int32(n)))

    def prepare(self) -> Any:
        """Compile the kernel, unless that is done, and return it."""
        with self._lock:
            if self._function is None:
                module = self.gpu.cupy.RawModule(code=blend_source(), options=blend_options(self.spec), backend="nvrtc")
                self._function = module.get_function(NAME)
            return self._function
