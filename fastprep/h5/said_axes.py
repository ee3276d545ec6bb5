"""Axes that a file names itself: by its writer, by the attributes of HDF5's image format, or by the names of dimensions."""

from __future__ import annotations

import contextlib

import h5py
import numpy as np

from fastprep.errors import DataError
from fastprep.h5.attributes import read_attribute
from fastprep.h5.file_bytes import bytes_of, has_plain_bytes
from fastprep.h5.groups import ImageGroup
from fastprep.h5.texts import text_of
from fastprep.h5.types import FAILURES

_COLOURS = 4  # channels that ordinary images have at most
_REVERSED = "MATLAB has written it, which stores axes in reverse order"
_MATLAB_HEADER = b"MATLAB 7.3 MAT-file"

# INTERLACE_MODE of HDF5's image specification, version 1.2: https://docs.hdfgroup.org/hdf5/v1_14/_i_m_g.html
_INTERLACED = {"INTERLACE_PIXEL": "HWC", "INTERLACE_PLANE": "CHW", "INTERLACE_LINE": "HCW"}

# Names of dimensions, as netCDF's conventions and common programs write them
_DIMENSIONS = {
    "N": {"n", "sample", "samples", "image", "images", "time", "index", "batch", "record", "records", "obs", "observation"},
    "H": {"h", "height", "y", "row", "rows", "lat", "latitude", "northing"},
    "W": {"w", "width", "x", "col", "cols", "column", "columns", "lon", "longitude", "easting"},
    "C": {"c", "channel", "channels", "band", "bands", "color", "colour", "colors", "colours", "rgb", "wavelength", "spectral"},
}


def said_axes(dataset: h5py.Dataset | ImageGroup, n_labels: int | None) -> tuple[str, str] | None:
    """Return the axes that a file names for a dataset.

    Parameters
    ----------
    dataset : h5py.Dataset or ImageGroup
        Of datasets of one image each, the first is asked.
    n_labels : int or None
        Number of labels, if the file has any.

    Returns
    -------
    (str, str) or None
        The axes, and what names them, for people; None if nothing does, or leaves a doubt.
    """
    with contextlib.suppress(*FAILURES, DataError):  # damaged attributes are reported when they are needed
        if isinstance(dataset, ImageGroup):
            one = dataset.first
            said = _of_dimensions(one) or _of_image_attributes(one, 1) or _of_matlab_image(one)
            return None if said is None or "N" in said[0] else (f"N{said[0]}", said[1])
        return _of_dimensions(dataset) or _of_image_attributes(dataset, n_labels) or _of_matlab(dataset, n_labels)
    return None


def is_from_matlab(dataset: h5py.Dataset | ImageGroup) -> bool:
    """Tell whether MATLAB has written a dataset: by its attribute, or by the header of the file."""
    with contextlib.suppress(*FAILURES):
        return "MATLAB_class" in dataset.attrs or _has_matlab_header(dataset.file)
    return False


def _has_matlab_header(file: h5py.File) -> bool:
    if file.userblock_size < 512 or not has_plain_bytes(file):
        return False
    return bytes_of(file).read(len(_MATLAB_HEADER), 0) == _MATLAB_HEADER


def _of_dimensions(dataset: h5py.Dataset) -> tuple[str, str] | None:
    """Return the axes by the names of the dimensions: labels, or scales such as those of netCDF."""
    names = _labels(dataset) or _names_of_scales(dataset)
    letters = [next((letter for letter, known in _DIMENSIONS.items() if name.lower() in known), "?") for name in names]
    axes = "".join(letters)
    if not axes or "?" in axes or len(set(axes)) < len(axes) or not {"H", "W"} <= set(axes):
        return None
    return axes, f"its dimensions have the names {', '.join(names)}"


def _labels(dataset: h5py.Dataset) -> list[str]:
    values = _read(dataset, "DIMENSION_LABELS")
    if not isinstance(values, np.ndarray) or values.shape != (dataset.ndim,):
        return []
    return [text_of(value) if isinstance(value, str | bytes) else "" for value in values]


def _names_of_scales(dataset: h5py.Dataset) -> list[str]:
    name = "DIMENSION_LIST"  # its size is looked at first: a file may claim any, and HDF5 reads an attribute as a whole
    if name not in dataset.attrs or dataset.attrs.get_id(name).shape != (dataset.ndim,):
        return []
    scales = [dataset.dims[axis] for axis in range(dataset.ndim)]
    return [str(scale[0].name).rpartition("/")[2] if len(scale) else "" for scale in scales]


def _read(dataset: h5py.Dataset, name: str) -> object:
    """Return the value of an attribute, within the limits that hold for all of them; None if there is none."""
    if name not in dataset.attrs:  # of most files; the names for errors take longer to ask for
        return None
    return read_attribute(dataset, name, (dataset.file.filename, str(dataset.name))).value


def _of_image_attributes(dataset: h5py.Dataset, n_labels: int | None) -> tuple[str, str] | None:
    """Return the axes of an image as HDF5's specification describes it: one image, or several if there is an axis before."""
    if _text(dataset, "CLASS") != "IMAGE" or (mode := _text(dataset, "INTERLACE_MODE")) not in _INTERLACED:
        return None
    axes = _INTERLACED[mode]
    axes = {3: axes, 4: f"N{axes}"}.get(dataset.ndim, "")
    if not axes or dataset.shape[axes.index("C")] > _COLOURS or (axes[0] != "N" and n_labels not in (None, 1)):
        return None
    return axes, f"its attributes are CLASS=IMAGE and INTERLACE_MODE={mode}"


def _text(dataset: h5py.Dataset, name: str) -> str:
    value = _read(dataset, name)
    value = value.item() if hasattr(value, "item") and getattr(value, "size", 0) == 1 else value
    return text_of(value) if isinstance(value, str | bytes) else ""


def _of_matlab(dataset: h5py.Dataset, n_labels: int | None) -> tuple[str, str] | None:
    """Return the axes of MATLAB's arrays, which are stored in reverse order, if there is only one way to read them."""
    if not is_from_matlab(dataset):
        return None
    shape = dataset.shape
    channels_fit = {"NCWH": 1, "CWHN": 0}
    if dataset.ndim == 4:  # (H, W, C, N) and (N, H, W, C) of MATLAB
        possible = [axes for axes, axis in channels_fit.items() if shape[axis] <= _COLOURS < min(_sides(axes, shape))]
        possible = [axes for axes in possible if n_labels in (None, shape[axes.index("N")])]
    elif dataset.ndim == 3 and n_labels is not None:  # (H, W, N) and (N, H, W)
        possible = [axes for axes in ("NWH", "WHN") if n_labels == shape[axes.index("N")]]
    else:
        possible = []
    if len(possible) != 1:
        return None
    return possible[0], _REVERSED


def _of_matlab_image(dataset: h5py.Dataset) -> tuple[str, str] | None:
    """Return the axes of one image of MATLAB's: (H, W), or (H, W, C) with few channels."""
    shape = dataset.shape
    axes = "WH" if len(shape) == 2 else "CWH" if len(shape) == 3 and shape[0] <= _COLOURS < min(shape[1:]) else ""
    return (axes, _REVERSED) if axes and is_from_matlab(dataset) else None


def _sides(axes: str, shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[axes.index("H")], shape[axes.index("W")]
