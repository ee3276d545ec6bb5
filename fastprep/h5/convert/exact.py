"""Pixels of any type as uint8, without a value that changes unnoticed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastprep.errors import DataError
from fastprep.h5.convert.blocks import Part
from fastprep.h5.index import ImageIndex


class InexactError(DataError):
    """A value that uint8 can't hold exactly."""


def to_uint8(part: Part, rounded: bool, index: ImageIndex, first: int) -> NDArray[np.uint8]:
    """Return pixels as uint8.

    Parameters
    ----------
    part : Part
    rounded : bool
        Round and clip values, instead of refusing them.
    index : ImageIndex
        Of the images, for errors.
    first : int
        Number of the first image of the part.

    Raises
    ------
    InexactError
        If a value is not an integer in 0..255, naming its position; with `rounded`, if it is NaN.
    """
    pixels = part.pixels
    if pixels.dtype == np.uint8:
        return pixels
    if rounded:
        if first == 0 and 0 < pixels.max() <= 1 and (pixels % 1 != 0).any():
            problem = "images lie between 0 and 1, and would be rounded to black and white: multiply them by 255 first"
            raise DataError(problem, index.file, index.dataset, sample=0)
        good, problem = ~np.isnan(pixels), "is not a number, and can't be rounded to one"
        whole = np.clip(np.rint(pixels), 0, 255)
    else:
        problem = f"is not a whole number from 0 to 255, as uint8 has them; loaders take {index.stored_dtype} as it is"
        whole = pixels
    with np.errstate(invalid="ignore"):
        result = whole.astype(np.uint8)
    if not rounded:
        good = result == pixels  # NaN and values out of range become some other number
    if not good.all():
        where = np.unravel_index(int(np.argmin(good)), good.shape)
        sample, row, column = first + int(where[0]), part.rows.start + int(where[1]), part.columns.start + int(where[2])
        position = f"at row {row}, column {column}, channel {int(where[3])}"
        raise InexactError(f"value {pixels[where]} {position} {problem}", index.file, index.dataset, sample=sample)
    return result
