"""What a file says of the meaning of its numbers, and loaders do not apply: packed numbers, missing values, palettes."""

from __future__ import annotations

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.h5.attributes import read_attribute
from fastprep.h5.files import HDF5_ERRORS
from fastprep.h5.texts import text_of
from fastprep.h5.types import number_type

_PACKING = {"scale_factor": 1.0, "add_offset": 0.0}  # of the conventions of netCDF, with the values that change nothing
_MISSING = ("_FillValue", "missing_value")
_HUGE = 1e30  # netCDF fills with 9.97e36, which is finite


def notes_of_meaning(dataset: h5py.Dataset, named: tuple[str, str]) -> list[str]:
    """Return notes on images whose numbers mean something else than brightness; empty for nearly all files.

    Parameters
    ----------
    dataset : h5py.Dataset
    named : (str, str)
        File and dataset as the user named them, for errors.

    Notes
    -----
    Packing and missing values are those of netCDF [1]_, and palettes those of HDF5's image format [2]_.

    .. [1] NetCDF Users' Guide, appendix A, attribute conventions.
    .. [2] HDF5 Image and Palette Specification, version 1.2.

    Raises
    ------
    DataError
        If the attributes are damaged.
    """
    found = {name: _number(dataset, name, named) for name in (*_PACKING, *_MISSING)}
    notes = []
    packed = [f"{name} {found[name]:g}" for name, plain in _PACKING.items() if found[name] not in (None, plain)]
    if packed:
        notes.append(f"attributes {' and '.join(packed)} are not applied: numbers are taken as they are stored")
    for name in _MISSING:
        value = found[name]
        if value is not None and np.isfinite(value):
            notes.append(f"attribute {name!r} names {value:g} as missing values, which are taken for numbers like others")
    fill = fill_value_of(dataset)
    if fill is not None and found["_FillValue"] is None and _HUGE < abs(fill) < np.inf:
        notes.append(f"its fill value, {fill:g}, is finite: numbers that were never written are taken for numbers like others")
    subclass = read_attribute(dataset, "IMAGE_SUBCLASS", named).value
    if isinstance(subclass, str | bytes) and text_of(subclass) == "IMAGE_INDEXED":
        notes.append("its numbers are places in a palette (IMAGE_SUBCLASS=IMAGE_INDEXED), and are taken for brightness")
    return notes


def _number(dataset: h5py.Dataset, name: str, named: tuple[str, str]) -> float | None:
    """Return the number in an attribute; None if there is none."""
    value = np.asarray(read_attribute(dataset, name, named).value)
    return float(value.reshape(-1)[0]) if value.size == 1 and value.dtype.kind in "iuf" else None


def fill_value_of(dataset: h5py.Dataset) -> float | None:
    """Return the number that a dataset has where nobody has written; None for 0, and where it names none."""
    if number_type(dataset) is None:
        return None
    try:
        if dataset.id.get_create_plist().fill_value_defined() != h5py.h5d.FILL_VALUE_USER_DEFINED:
            return None
        fill = dataset.fillvalue
    except HDF5_ERRORS:  # of a damaged header; it matters for a warning only
        return None
    return fill if fill and not np.isnan(fill) else None


def describe_filled(dataset: h5py.Dataset, values: NDArray, what: str) -> str:
    """Return, in words, how many rows of labels or weights are the fill value of their dataset; empty if none is.

    Parameters
    ----------
    dataset : h5py.Dataset
    values : ndarray, shape (N, ...)
        What it holds.
    what : str
        What the rows are, in the plural.
    """
    fill = fill_value_of(dataset)
    if fill is None or not len(values):
        return ""
    n = int(np.count_nonzero((values == fill).reshape(len(values), -1).all(axis=1)))
    if not n:
        return ""
    return f"{n:,} of {len(values):,} {what} are the fill value of the dataset, {fill}, as those are that nobody has written"
