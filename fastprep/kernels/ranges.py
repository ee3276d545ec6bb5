"""Which numbers the types of results hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np

from fastprep.kernels.choices import NUMPY_DTYPES

if TYPE_CHECKING:
    from fastprep.kernels.spec import CropSpec

FIRST_INFINITE = {"float32": 2.0**128 - 2.0**103, "float16": 65520.0, "bfloat16": 2.0**128 - 2.0**119}
"""The least number that becomes infinity when it is rounded to the type."""


def check_range(spec: CropSpec, stored: np.dtype) -> None:
    """Check that the type of an operation's results holds every result of integers of 8 or 16 bits as a finite number.

    Larger integers hardly ever fill their range. They come to the kernels as floats, so `check_finite` sees their results.

    Parameters
    ----------
    spec : CropSpec
    stored : dtype
        Type of the images in their file.

    Raises
    ------
    ValueError
        If `dtype` is too small for the range of `stored` after mean and scale.
    """
    if stored.kind not in "iu" or stored.itemsize > 2:
        return
    lowest, highest = np.iinfo(stored).min, np.iinfo(stored).max
    mean = np.zeros(1) if spec.mean_values is None else spec.mean_values.astype(np.float64)
    scale = np.ones(1) if spec.scale_values is None else spec.scale_values.astype(np.float64)
    largest = max(float(np.abs((bound - mean) * scale).max()) for bound in (lowest, highest))
    if largest >= FIRST_INFINITE[spec.made_dtype]:
        limit = float(ml_dtypes.finfo(NUMPY_DTYPES[spec.made_dtype]).max)
        raise ValueError(
            f"dtype {spec.made_dtype!r} holds numbers up to {limit:.6g}, but {stored} images, "
            f"which may have {lowest}..{highest}, become as large as {largest:.6g}: pass a scale, such as "
            f"scale={1 / max(highest, -lowest):.3g}, or a larger dtype; or check_finite=False, if "
            "the images keep to a part of that range"
        )
