"""The shape of images in flat rows (N, H * W * C): said by the file, or by the length of a row if they are square."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable

import h5py
import numpy as np

from fastprep.errors import DataError
from fastprep.h5.attributes import read_attribute
from fastprep.h5.types import FAILURES

_WHOLE = ("image_shape", "img_shape", "input_shape", "image_size", "shape")
_SIDES = (("height", "width"), ("image_height", "image_width"), ("rows", "cols"), ("nrows", "ncols"))
_CHANNELS = ("channels", "n_channels", "nchannels", "depth", "bands")
_COLOURS = 4
_SMALLEST = 8  # pixels of a side, of images whose shape only the length of a row tells


def shape_of_rows(dataset: h5py.Dataset, length: int) -> tuple[tuple[int, int, int], bool, str] | None:
    """Return the shape of images in flat rows.

    Parameters
    ----------
    dataset : h5py.Dataset
        Of rank 2.
    length : int
        Numbers of a row.

    Returns
    -------
    shape : (int, int, int)
        Height, width, channels.
    is_planar : bool
        Whether the file says that the channels come one after another.
    why : str
        For people.
    None if neither the file nor the length says a shape.
    """
    for owner, words in ((dataset, "its attribute"), (dataset.file, "the file's attribute")):
        with contextlib.suppress(*FAILURES, DataError):
            if (said := _said(owner, length)) is not None:
                shape, is_planar, name = said
                return shape, is_planar, f"{words} {name}"
    side = math.isqrt(length)
    if side * side == length and side >= _SMALLEST:
        return (side, side, 1), False, f"rows of {length} numbers fit grey squares of {side} pixels"
    side = math.isqrt(length // 3)
    if 3 * side * side == length and side >= _SMALLEST:
        why = f"rows of {length} numbers fit squares of {side} pixels with 3 channels; if these come first, axes NCHW"
        return (side, side, 3), False, why
    return None


def _said(owner: h5py.Dataset | h5py.File, length: int) -> tuple[tuple[int, int, int], bool, str] | None:
    for name in _WHOLE:
        sides = _numbers(owner, (name,), most=3)
        if len(sides) in (2, 3) and math.prod(sides) == length:
            is_planar = len(sides) == 3 and sides[0] <= _COLOURS < min(sides[1:])
            height, width, channels = (*sides[1:], sides[0]) if is_planar else (*sides, 1)[:3]
            return (height, width, channels), is_planar, name
    channels = (_numbers(owner, _CHANNELS, most=1) or [1])[0]
    for names in _SIDES:
        sides = [number for name in names for number in _numbers(owner, (name,), most=1)]
        if len(sides) == 2 and math.prod(sides) * channels == length:
            return (sides[0], sides[1], channels), False, ", ".join(names)
    return None


def _numbers(owner: h5py.Dataset | h5py.File, names: Iterable[str], most: int) -> list[int]:
    """Return the whole numbers, 1 and up, of the first of these attributes that holds at most `most` of them."""
    for name in names:
        value = read_attribute(owner, name, (owner.file.filename, str(owner.name))).value
        values = np.asarray(value).reshape(-1) if value is not None else np.empty(0)
        if 0 < len(values) <= most and values.dtype.kind in "iuf" and all(float(v).is_integer() and v >= 1 for v in values):
            return [int(v) for v in values]
    return []
