"""Numbers for each channel, such as a mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def per_channel(name: str, values: NDArray[np.float32], channels: int, also: str = "") -> NDArray[np.float32]:
    """Return values for each channel, from one for all or for each.

    Raises
    ------
    ValueError
        If there are other ones; `also` says what they may be besides.
    """
    if values.shape not in ((), (channels,)):
        raise ValueError(f"{name} must be a scalar or have the shape ({channels},){also}, got {values.shape}")
    return np.ascontiguousarray(np.broadcast_to(values, (channels,)))


def finite(name: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return values that are finite.

    Raises
    ------
    ValueError
        If they are not.
    """
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, found NaN or infinity")
    return values
