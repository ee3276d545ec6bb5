"""Standardisation on a CUDA device: what `statistics.cu` and `standardize.cu` are compiled with, their grids and launches."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastprep.kernels.cuda import MAX_BLOCKS, options_of, source_of
from fastprep.kernels.records import record_of
from fastprep.kernels.spec import CropSpec
from fastprep.kernels.warp_plan import bits_of
from fastprep.kernels.warp_spec import WarpSpec

if TYPE_CHECKING:
    from fastprep.kernels.device import DeviceMemory, Gpu

NAMES = {"statistics.cu": "fastprep_statistics", "standardize.cu": "fastprep_standardize"}
_THREADS = 256
_STATISTICS_THREADS = 1024  # part of the order of the sums, see statistics.cu
_STATISTICS_BYTES = 16  # of an image
_PART = 16384  # elements of an image for a block: enough for the work before its loops to be negligible


def standard_options(spec: CropSpec, n_words: int) -> tuple[str, ...]:
    """Return the options for NVRTC, in addition to the architecture.

    Parameters
    ----------
    spec : CropSpec
    n_words : int
        Length of a row of the table, in numbers of 32 bits.
    """
    (height, width), channels = spec.size, spec.image_shape[2]
    constants: dict[str, Any] = {
        "HEIGHT": height,
        "WIDTH": width,
        "CHANNELS": channels,
        "SOURCE": "float32",
        "TARGET": spec.dtype,
        "CHANNELS_FIRST": int(spec.layout == "channels_first"),
        "THREADS": _THREADS,
        "PART": _PART,
        "RECORD": n_words,
    }
    if isinstance(spec, WarpSpec) and spec.erase_values is not None:
        constants.update(ERASED=record_of(spec).places["ERASED"], ERASE=bits_of(spec.erase_values))
    if spec.checks_finite:
        constants["CHECK_FINITE"] = 1
    return options_of(constants)


def standard_grids(spec: CropSpec, n: int) -> dict[str, tuple[tuple[int], tuple[int]]]:
    """Return the number of blocks, and of threads in a block, of each kernel, for n images.

    Raises
    ------
    ValueError
        If there are too many images for one launch.
    """
    parts = -(-int(np.prod(spec.out_shape(1))) // _PART)
    if n * parts > MAX_BLOCKS:
        raise ValueError(f"at most {MAX_BLOCKS // parts} images of this size can be standardised, got {n}")
    return {"statistics.cu": ((n,), (_STATISTICS_THREADS,)), "standardize.cu": ((n * parts,), (_THREADS,))}


class Standardizing:
    """The two kernels on one device. They are compiled at first use.

    Parameters
    ----------
    gpu : Gpu
    spec : CropSpec
        It standardises.
    n_words : int
        Length of a row of the table, in numbers of 32 bits.
    """

    def __init__(self, gpu: Gpu, spec: CropSpec, n_words: int) -> None:
        self.gpu, self.spec, self.n_words = gpu, spec, n_words
        self._lock = threading.Lock()
        self._functions: list[Any] = []

    def work_bytes(self, n: int) -> int:
        """Return how much memory on the device n images need: statistics, and float32 numbers if results are shorter."""
        return n * (_STATISTICS_BYTES + (0 if self.spec.dtype == "float32" else self.spec.made.crop_bytes))

    def made_in(self, work: DeviceMemory | None, out: Any) -> Any:
        """Return the array in which images are to be made: `out` if its numbers are float32, or behind the statistics."""
        if self.spec.dtype == "float32":
            return out
        n = len(out)
        return self.gpu.array(work, self.spec.out_shape(n), np.dtype(np.float32), n * _STATISTICS_BYTES)

    def launch(self, made: Any, table: Any, out: Any, not_finite: Any, work: DeviceMemory | None) -> Callable[[], None]:
        """Return a function that queues both launches in the thread's current stream.

        Parameters
        ----------
        made : cupy array of float32, shape `spec.out_shape(n)`
            From `made_in`.
        table : cupy array of int32, shape (n, n_words)
        out : cupy array of `spec.out_dtype`, shape `spec.out_shape(n)`
        not_finite : cupy array of uint32, shape (n,), or None
            All 0, if `spec.checks_finite`.
        work : DeviceMemory
            ``work_bytes(n)``.

        Returns
        -------
        callable

        Raises
        ------
        ValueError
            If there are too many images for one launch, or `out` is not as above.
        """
        n = len(out)
        dtype, shape = self.spec.dtype, self.spec.out_shape(n)
        if tuple(out.shape) != shape or out.dtype != self.spec.out_dtype:
            raise ValueError(f"out must be a {dtype} array of shape {shape}, got {out.dtype} {out.shape}")
        grids = standard_grids(self.spec, n)
        statistics = self.gpu.array(work, (n, 4), np.dtype(np.float32))
        checks = (not_finite,) if self.spec.checks_finite else ()
        sums, numbers = self.prepare()

        def launches() -> None:
            sums(*grids["statistics.cu"], (made, statistics))
            numbers(*grids["standardize.cu"], (made, statistics, table, out, *checks))

        return launches

    def prepare(self) -> list[Any]:
        """Compile the kernels, unless that is done, and return them."""
        with self._lock:
            if not self._functions:
                options = standard_options(self.spec, self.n_words)
                for kernel, name in NAMES.items():
                    module = self.gpu.cupy.RawModule(code=source_of(kernel), options=options, backend="nvrtc")
                    self._functions.append(module.get_function(name))
            return self._functions
