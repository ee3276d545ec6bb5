"""Doubts about the axes of a dataset of images: shapes that are probably not (N, H, W, C), though they could be."""

from __future__ import annotations

import math

import h5py
import numpy as np

from fastprep.h5.groups import ImageGroup
from fastprep.h5.marks import writer_of
from fastprep.h5.said_axes import is_from_matlab

AXES = {3: "NHW", 4: "NHWC"}
"""The axes that images are read with, by the rank of their dataset."""
MOST_CHANNELS = 16
"""A mean of more channels is stored only if the axes were named."""

_COLOURS = 4  # channels that ordinary images have at most
_BANDS = 16  # channels that one image of a multispectral camera may have
_REVERSED_OR_NOT = ("CWHN", "CHWN")  # R and others that store axes in reverse are the ones that commonly leave N last


def doubt(dataset: h5py.Dataset | ImageGroup, n_labels: int | None) -> tuple[str, tuple[str, ...]]:
    """Return why a dataset probably has other axes than (N, H, W) or (N, H, W, C), and which.

    Parameters
    ----------
    dataset : h5py.Dataset or ImageGroup
        Of rank 3 or 4.
    n_labels : int or None
        Number of labels, if the file has any.

    Returns
    -------
    (str, tuple of str)
        The reason, and names of the axes that may be right; both empty if there is no doubt.
    """
    shape = dataset.shape
    if is_from_matlab(dataset):
        likely = ("NCWH", "CWHN") if len(shape) == 4 else ("NWH", "WHN", "CWH")
        return (
            f"MATLAB has written them (attribute MATLAB_class), which stores axes in reverse order: {shape} is an array of "
            f"{shape[::-1]} there, and images would come transposed (channels first, if they have any)"
        ), likely
    if n_labels is not None and n_labels != shape[0] and n_labels > _COLOURS and n_labels in shape[1:]:
        axis = len(shape) - 1 - shape[::-1].index(n_labels)
        reason = f"{shape} has as many entries along axis {axis} as there are labels, {n_labels}: that seems to be N"
        return reason, _with_n_at(axis, shape)
    words, axes = _likely_axes(shape, n_labels == shape[0])
    return (f"{shape} looks like {words}", axes) if words else ("", ())


def likely_rows(shape: tuple[int, ...], n_labels: int | None) -> tuple[str | None, str]:
    """Return how flat rows are probably images.

    Parameters
    ----------
    shape : (int, int)
    n_labels : int or None
        Number of labels, if the file has any.

    Returns
    -------
    axes : str or None
        If the rows seem to lie along the second axis.
    shape : str
        Height, width and channels: those of a square image in grey or of three channels, or else words for them.
    """
    is_turned = n_labels == shape[1] != shape[0]
    length = shape[0] if is_turned else shape[1]
    sides = ((math.isqrt(length // channels), channels) for channels in (1, 3))
    found = next((f"{side}x{side}x{channels}" for side, channels in sides if side * side * channels == length), "")
    return "HWCN" if is_turned else None, found or "HEIGHTxWIDTHxCHANNELS"


def is_converted(dataset: h5py.Dataset | ImageGroup) -> bool:
    """Tell whether `fastprep.convert` has written a dataset: then its axes were named, if there was a doubt."""
    if isinstance(dataset, ImageGroup):
        return False  # it was copied as it was
    return dataset.ndim == 4 and dataset.dtype == np.uint8 and writer_of(dataset.file.filename) == "convert"


def _with_n_at(axis: int, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Return the axes with N at one of them, and the others in the orders that their lengths suggest, the likeliest first."""
    rest = (*shape[:axis], *shape[axis + 1 :])
    letters = "HW" if len(rest) == 2 else "CHW" if rest[0] <= _COLOURS < min(rest[1:]) else "HWC"
    if axis == 3 and letters == "CHW":
        return _REVERSED_OR_NOT
    return (f"{letters[:axis]}N{letters[axis:]}",)


def _likely_axes(shape: tuple[int, ...], is_counted: bool) -> tuple[str, tuple[str, ...]]:
    """Return what the axes of a shape seem to be, in words and by name; empty if they seem to be those that are read.

    `is_counted`: there is a label for each entry of the first axis.
    """
    first, second, third = shape[:3]
    if len(shape) == 4:
        last = shape[3]
        are_bands = second <= _BANDS < last and min(third, last) >= 3 * second
        if second <= _COLOURS < min(third, last) or are_bands:
            return "(N, C, H, W), channels first", ("NCHW",)
        if is_counted:
            return "", ()
        if third <= _COLOURS < min(first, second, last):
            return "(H, W, C, N), with the images along the last axis", ("HWCN",)
        if first <= _COLOURS < min(second, third) and last > MOST_CHANNELS:
            words = "(C, W, H, N), as R stores (N, H, W, C), or (C, H, W, N), with the images along the last axis"
            return words, _REVERSED_OR_NOT
        return "", ()
    if is_counted:
        return "", ()
    if third <= _COLOURS < min(first, second) or (third <= _BANDS and min(first, second) >= 4 * third):
        return "one image (H, W, C), which would become H strips of grey", ("HWC",)
    if first in (3, 4) and min(second, third) > _COLOURS:
        return "one image (C, H, W), channels first, which would become C images of grey", ("CHW",)
    if first == second != third:
        return "(H, W, N) or one image (H, W, C), with H = W", ("HWN", "HWC")
    return "", ()
