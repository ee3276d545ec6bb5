"""Doubts about the axes of a dataset of images: shapes that are probably not (N, H, W, C), though they could be."""

from __future__ import annotations

import contextlib

import h5py
import numpy as np

from fastprep.errors import DataError
from fastprep.h5.listing import encoded
from fastprep.h5.marks import writer_of

AXES = {3: "NHW", 4: "NHWC"}
"""The axes that images are read with, by the rank of their dataset."""
MOST_CHANNELS = 16
"""A mean of more channels is stored only if the axes were named."""

_COLOURS = 4  # channels that ordinary images have at most
_BANDS = 16  # channels that one image of a multispectral camera may have


def check_axes_name(axes: str | None) -> None:
    """Check the argument `axes`.

    Raises
    ------
    ValueError
        If it is neither None nor one of the values of `AXES`.
    """
    if axes is not None and axes not in AXES.values():
        raise ValueError(f'axes must be "NHWC", "NHW" or None, got {axes!r}')


def check_axes(dataset: h5py.Dataset, named: tuple[str, str], axes: str | None, n_labels: int | None) -> None:
    """Check that a dataset plausibly has the axes that it is read with.

    Parameters
    ----------
    dataset : h5py.Dataset
        Of rank 3 or 4.
    named : (str, str)
        File and dataset as the user named them.
    axes : {"NHWC", "NHW"} or None
        Axes that the user has named, which settle every doubt.
    n_labels : int or None
        Number of labels, if the file has any.

    Raises
    ------
    DataError
        If the shape looks like another one, and `fastprep.convert` has not written the dataset; or if the dataset does not have
        the rank of `axes`.
    """
    expected = AXES[dataset.ndim]
    if axes is not None:
        if axes != expected:
            raise DataError(f"axes={axes!r} are {len(axes)}, but images have the shape {dataset.shape}", *named)
        return
    problem = doubt(dataset.shape, n_labels, _is_from_matlab(dataset))
    if problem and not _is_converted(dataset):
        wanted = f"({', '.join(expected)})"
        say_so = f"if {wanted} is what they are, say so: axes={expected!r}, --axes {expected} of a command"
        way_out = f"store them as (N, H, W, C), or as (N, H, W) if they are grey; or, {say_so}"
        raise DataError(f"images are read as {wanted}, but {problem}; {way_out}", *named)


def doubt(shape: tuple[int, ...], n_labels: int | None, is_from_matlab: bool) -> str | None:
    """Return why a shape is probably not (N, H, W) or (N, H, W, C); None if it may well be.

    Parameters
    ----------
    shape : tuple of int
        Of rank 3 or 4.
    n_labels : int or None
    is_from_matlab : bool

    Returns
    -------
    str or None
    """
    if is_from_matlab:
        return (
            f"MATLAB has written them (attribute MATLAB_class), which stores axes in reverse order: {shape} is an array of "
            f"{shape[::-1]} there, and images would come transposed (channels first, if they have any)"
        )
    if n_labels is not None and n_labels != shape[0] and n_labels > _COLOURS and n_labels in shape[1:]:
        axis = len(shape) - 1 - shape[::-1].index(n_labels)
        return f"{shape} has as many entries along axis {axis} as there are labels, {n_labels}: that seems to be N"
    likely = _likely_axes(shape, n_labels == shape[0])
    return likely and f"{shape} looks like {likely}"


def find_labels(file: h5py.File, labels: str | None) -> h5py.Dataset | None:
    """Return the dataset of labels; None if there is none, or it can't be opened, which is an error only where it is read."""
    with contextlib.suppress(KeyError, OSError, RuntimeError, ValueError):
        dataset = file[encoded(labels)] if labels else None
        return dataset if isinstance(dataset, h5py.Dataset) else None
    return None


def n_labels_in(dataset: h5py.Dataset | None) -> int | None:
    """Return the number of labels in a dataset; None if there is none, or if they can't be told from other data."""
    return int(dataset.shape[0]) if dataset is not None and dataset.shape and len(dataset.shape) <= 2 else None


def _is_from_matlab(dataset: h5py.Dataset) -> bool:
    with contextlib.suppress(OSError, RuntimeError):  # damaged attributes are reported when they are needed
        return "MATLAB_class" in dataset.attrs
    return False


def _is_converted(dataset: h5py.Dataset) -> bool:
    """Tell whether `fastprep.convert` has written a dataset: then its axes were named, if there was a doubt."""
    return dataset.ndim == 4 and dataset.dtype == np.uint8 and writer_of(dataset.file.filename) == "convert"


def _likely_axes(shape: tuple[int, ...], is_counted: bool) -> str | None:
    """Return what the axes of a shape seem to be, in words; `is_counted`: there is a label for each entry of the first axis."""
    first, second, third = shape[:3]
    if len(shape) == 4:
        last = shape[3]
        if second <= _COLOURS < min(third, last):
            return "(N, C, H, W), channels first (numpy.moveaxis(images, 1, -1) puts them last)"
        if is_counted:
            return None
        if third <= _COLOURS < min(first, second, last):
            return "(H, W, C, N), with the images along the last axis"
        if first <= _COLOURS < min(second, third) and last > MOST_CHANNELS:
            return "(C, H, W, N), with the images along the last axis"
        return None
    if is_counted:
        return None
    if third <= _COLOURS < min(first, second) or (third <= _BANDS and min(first, second) >= 4 * third):
        return "one image (H, W, C), which would become H strips of grey"
    if first in (3, 4) and min(second, third) > _COLOURS:
        return "one image (C, H, W), channels first, which would become C images of grey"
    if first == second != third:
        return "(H, W, N) or one image (H, W, C), with H = W"
    return None
