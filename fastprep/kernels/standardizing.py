"""Sinks of the CPU kernels, also of those that standardise each output image once another sink has made it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprep._sink import Sink
from fastprep.kernels import _cpu_standard

if TYPE_CHECKING:
    from fastprep.kernels.spec import CropSpec


def sink_of(spec: CropSpec, rows: Any, numbers: NDArray[np.int64], firsts: NDArray[np.int64], out: NDArray, stream: bool) -> Sink:
    """Return a sink that executes a table, and standardises if the operation says so.

    Parameters
    ----------
    spec : CropSpec
    rows : ndarray of int32, shape (n, 4), or TransformTable
        A table that was checked, sorted by slot.
    numbers : ndarray of int64, shape (n,)
        Which output each row is.
    firsts : ndarray of int64, shape (n_slots + 1,)
        Rows of slot s: firsts[s] .. firsts[s + 1].
    out : ndarray of `spec.out_dtype`, shape `spec.out_shape(n)`
    stream : bool
        Whether to write around the caches.

    Returns
    -------
    Sink
    """
    if not spec.standardize:
        return spec.sink(rows, numbers, firsts, out, stream)
    n = len(rows)
    image = np.empty(spec.out_shape(1), np.float32)
    made = spec.made.sink(rows, np.zeros(n, np.int64), np.arange(n + 1), image, stream=False)  # row k: from slot k to this image
    return _cpu_standard.StandardSink(
        spec.cpu_parameters,
        made,
        image.reshape(-1),
        version=spec.version,
        stream=stream,
        erase_value=getattr(spec, "erase_values", None),
        erasures=getattr(rows, "erasures", None),
        numbers=numbers,
        firsts=firsts,
        target=out.reshape(-1).view(np.uint8),
    )
