"""Arrays with masked values, as netCDF4 reads them: numpy hands on what lies below the mask, which nobody has written."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_unmasked(values: Any, argument: str) -> None:
    """Check that an argument has no masked values; a masked array without any is as good as another.

    Parameters
    ----------
    values : object
        Array, or anything else.
    argument : str
        Name of the argument, for the error.

    Raises
    ------
    ValueError
        If a value is masked.
    """
    if np.ma.is_masked(values):
        mask = np.ma.getmaskarray(values)
        place = np.unravel_index(np.argmax(mask), mask.shape)
        found = f"{np.count_nonzero(mask)} of {mask.size} are, the first at {', '.join(map(str, place))}"
        way_out = "leave their rows out by indices=, or fill them, as array.filled(0) does"
        raise ValueError(f"{argument} must have no masked values, and {found}: {way_out}")
