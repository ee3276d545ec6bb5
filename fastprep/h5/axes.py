"""The axes of a dataset of images: which of them counts the samples, and in which order those of an image follow."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.errors import DataError
from fastprep.h5.convert_line import convert_line, has_one_name
from fastprep.h5.groups import ImageGroup
from fastprep.h5.plausibility import AXES, doubt, is_converted, likely_rows
from fastprep.h5.said_axes import said_axes
from fastprep.h5.types import as_numbers

_log = logging.getLogger(__name__)

Sides = tuple[int, int, int, int]
"""Samples, and the three axes of an image."""


@dataclass(frozen=True)
class Axes:
    """The axes of one dataset.

    Attributes
    ----------
    name : str
        A letter for each axis, or, in a dataset of flat rows, for each axis that a row has.
    shape : (int, int, int, int)
        Samples, height, width, channels.
    sides : (int, int, int, int)
        Samples, and the sides of an image as they are stored: in the order of the dataset's axes, with 1 for those that it lacks.
        Those of flat rows are (length, 1, 1).
    n_axis : int or None
        Which axis of the dataset counts the samples; None if it is one image.
    why : str
        For people: what in the file names these axes; empty if the user did, or nobody.
    must_be_said : bool
        Whether a command that is not told of these axes, and knows no labels, would read other ones, or refuse the images.
    """

    name: str
    shape: Sides
    sides: Sides
    n_axis: int | None = 0
    why: str = ""
    must_be_said: bool = False

    @property
    def order(self) -> str:
        """Order of an image's axes as they are stored: "HWC", or another order of these letters; a single channel comes last."""
        letters = self.name.replace("N", "")
        return letters if self.shape[3] > 1 else f"{letters.replace('C', '')}C"

    @property
    def is_flat(self) -> bool:
        """Whether each image is a flat row in the file."""
        return self.sides[2:] == (1, 1) and self.sides[1:] != self.stored_shape

    @property
    def stored_shape(self) -> tuple[int, int, int]:
        """Shape of an image in `order`."""
        lengths = dict(zip("HWC", self.shape[1:], strict=True))
        first, second, third = (lengths[letter] for letter in self.order)
        return first, second, third

    def four_sides(self, sides: tuple[int, ...]) -> Sides:
        """Return the sides of a chunk, which has an axis for each axis of the dataset, in the order of `sides`."""
        return four_sides(sides, self.n_axis)

    def of_one_image(self) -> Axes:
        """Return the axes of a dataset of one image, for those of several such datasets, which have N first."""
        return replace(self, name=self.name[1:], shape=(1, *self.shape[1:]), sides=(1, *self.sides[1:]), n_axis=None)

    def rows(self, dataset: h5py.Dataset, first: int, stop: int) -> NDArray:
        """Read samples of a dataset, or of an `ImageGroup`, through HDF5.

        Returns
        -------
        ndarray of the stored numbers, shape (stop - first, *sides[1:]), C-contiguous
        """
        if self.n_axis is None:
            values = dataset[()]
        elif self.n_axis == 0:
            values = dataset[first:stop]
        else:
            values = np.moveaxis(dataset[(slice(None),) * self.n_axis + (slice(first, stop),)], self.n_axis, 0)
        return np.ascontiguousarray(as_numbers(values).reshape(stop - first, *self.sides[1:]))

    def as_images(self, block: NDArray) -> NDArray:
        """Return stored images, shape (n, ...), as (n, H, W, C), C-contiguous."""
        images = block.reshape(len(block), *self.stored_shape)
        return np.ascontiguousarray(images.transpose(0, *(1 + self.order.index(letter) for letter in "HWC")))


def four_sides(sides: tuple[int, ...], n_axis: int | None = 0) -> Sides:
    """Return the sides of a dataset or a chunk with the samples first, and with 1 for each axis that is missing behind."""
    n = 1 if n_axis is None else sides[n_axis]
    rest = sides if n_axis is None else (*sides[:n_axis], *sides[n_axis + 1 :])
    first, second, third = (*rest, 1, 1, 1)[:3]
    return n, first, second, third


def check_axes_name(axes: str | None) -> None:
    """Check the argument `axes`.

    Raises
    ------
    ValueError
        If it is neither None nor the letters H and W, and possibly N and C, each once.
    """
    known = isinstance(axes, str) and {"H", "W"} <= set(axes) <= set("NHWC") and len(set(axes)) == len(axes)
    if axes is not None and not known:
        raise ValueError(
            "axes must be the letters H and W, and N and C where there are such axes, each once and in the order of the dataset, "
            f'such as "NHWC", "NCHW", "NHW" or "HWC", or None, got {axes!r}'
        )


def check_image_shape(shape: Sequence[int] | None) -> tuple[int, int, int] | None:
    """Check the argument `shape`, and return it with channels.

    Raises
    ------
    ValueError
        If it is neither None nor two or three integers, 1 and up.
    """
    if shape is None:
        return None
    is_known = isinstance(shape, Sequence) and len(shape) in (2, 3) and all(_is_side(side) for side in shape)
    if not is_known:
        raise ValueError(f"shape must be (height, width, channels), or (height, width), of integers from 1 on, got {shape!r}")
    height, width, channels = (*map(int, shape), 1)[:3]
    return height, width, channels


def _is_side(side: object) -> bool:
    return isinstance(side, int | np.integer) and not isinstance(side, bool) and bool(side > 0)


def find_axes(
    dataset: h5py.Dataset | ImageGroup,
    named: tuple[str, str],
    axes: str | None,
    n_labels: int | None,
    shape: tuple[int, int, int] | None = None,
) -> Axes:
    """Find out which axes a dataset has: those that the user names, or the file, or that its rank makes plausible.

    Parameters
    ----------
    dataset : h5py.Dataset or ImageGroup
        Datasets of one image each have an axis N before those of the first of them.
    named : (str, str)
        File and dataset as the user named them.
    axes : str or None
        Axes that the user has named, which settle every doubt.
    n_labels : int or None
        Number of labels, if the file has any.
    shape : (int, int, int) or None
        Height, width and channels of an image, for datasets of flat rows.

    Raises
    ------
    DataError
        If the dataset does not have the axes that were named; or if none were named, and its shape looks like other ones,
        though `fastprep.convert` has not written it.
    """
    sides = dataset.shape
    if sides is None or 0 in sides:
        raise DataError(f"images have the shape (N, height, width, channels) or (N, height, width), found {sides}", *named)
    if isinstance(dataset, ImageGroup):
        _check_one_image_each(dataset, named)
        axes, n_labels = _with_n_first(axes, named), len(dataset)
    if shape is not None and len(sides) == 2:
        return _flat_axes(sides, named, axes, shape)
    why = ""
    if axes is None and (said := said_axes(dataset, n_labels)) is not None and not is_converted(dataset):
        axes, why = said
    if axes is None:
        axes = _plausible_axes(dataset, named, n_labels)
    if len(axes) != len(sides):
        raise DataError(f"axes={axes!r} are {len(axes)}, but images have the shape {sides}", *named)
    lengths = {"N": 1, "C": 1} | dict(zip(axes, sides, strict=True))
    n_axis = axes.index("N") if "N" in axes else None
    logical = lengths["N"], lengths["H"], lengths["W"], lengths["C"]
    found = Axes(axes, logical, four_sides(sides, n_axis), n_axis, why, axes != _axes_by_file(dataset))
    if shape is not None and found.shape[1:] != shape:
        raise DataError(f"shape={shape} was said, and images of {sides} with the axes {axes} are {found.shape[1:]}", *named)
    if why:
        _log.info("%s: dataset %r has the axes %s: %s", named[0], named[1], axes, why)
    return found


def _with_n_first(axes: str | None, named: tuple[str, str]) -> str | None:
    """Return the axes of images that have a dataset each: those that the user named, where N may be left out."""
    if axes is None:
        return None
    letters = axes.replace("N", "")
    if "N" in axes[1:]:
        raise DataError(f"each of these datasets is one image, without an axis N: axes={letters!r}, found axes={axes!r}", *named)
    return f"N{letters}"


def _check_one_image_each(group: ImageGroup, named: tuple[str, str]) -> None:
    """Check that the datasets that a group, a pattern or a list names may be one image each."""
    if group.ndim > 4:
        rule = "a group, a pattern or a list names datasets of one image each, (height, width, channels) or (height, width)"
        way_out = "load one of several datasets of images by its name; or all of them as a list of files, each of which links "
        way_out += "to one (h5py.ExternalLink)"
        raise DataError(f"{rule}, found {group.shape[1:]} in {group.names[0]!r}; {way_out}", *named)


def _flat_axes(sides: tuple[int, ...], named: tuple[str, str], axes: str | None, shape: tuple[int, int, int]) -> Axes:
    axes = "NHWC" if axes is None else axes
    if axes[0] != "N" and axes[-1] != "N":
        raise DataError(f"flat rows of shape {sides} need axes with N first or last, such as 'NHWC', got axes={axes!r}", *named)
    if shape[2] > 1 and "C" not in axes:
        raise DataError(
            f"shape={shape} has {shape[2]} channels, and axes={axes!r} no C: say where they are, as in 'NHWC'", *named
        )
    n_axis = 0 if axes[0] == "N" else 1
    if sides[1 - n_axis] != math.prod(shape):
        wanted = f"shape={shape} are {math.prod(shape)} numbers"
        raise DataError(f"{wanted}, and a row of the images, which have the shape {sides}, has {sides[1 - n_axis]}", *named)
    return Axes(axes, (sides[n_axis], *shape), four_sides(sides, n_axis), n_axis, must_be_said=axes != "NHWC")


def _axes_by_file(dataset: h5py.Dataset | ImageGroup) -> str | None:
    """Return the axes that images have if neither the user nor any labels settle them; None if that leaves a doubt."""
    n_images = len(dataset) if isinstance(dataset, ImageGroup) else None
    expected = AXES.get(dataset.ndim)
    if (said := said_axes(dataset, n_images)) is not None:
        axes: str | None = said[0]
    else:
        axes = None if expected and doubt(dataset, n_images)[0] else expected
    return axes if axes == expected or not is_converted(dataset) else expected  # the last question opens the file once more


def _plausible_axes(dataset: h5py.Dataset | ImageGroup, named: tuple[str, str], n_labels: int | None) -> str:
    """Return the axes that images of a rank are read with, if the shape is not that of others."""
    can_convert = has_one_name(named[1], isinstance(dataset, ImageGroup))
    if dataset.ndim == 2:
        problem = f"(N, height, width, channels) or (N, height, width), found {dataset.shape}"
        flat = "if these are flat rows, say the shape of an image: shape=(height, width, channels)"
        if can_convert:
            axes, shape = likely_rows(dataset.shape, n_labels)
            flat += f"; or `{convert_line(*named, axes=axes, shape=shape)}` writes them as images"
        raise DataError(f"images have the shape {problem}; {flat}; if it is one image, say axes='HW'", *named)
    if dataset.ndim not in AXES:
        problem = f"(N, height, width, channels) or (N, height, width), found {dataset.shape}"
        raise DataError(f"images have the shape {problem}", *named)
    expected = AXES[dataset.ndim]
    problem, likely = doubt(dataset, n_labels)
    if isinstance(dataset, ImageGroup):
        likely = tuple(name for name in likely if name.startswith("N"))
    if problem and not is_converted(dataset):
        wanted = f"({', '.join(expected)})"
        say = " or ".join(f"axes={name!r}" for name in likely)
        say_so = f"{say}, if that is so, and if {wanted} is what they are, axes={expected!r}"
        if can_convert:
            say_so += f"; or `{convert_line(*named, axes=likely[0])}` writes a file that needs no axes"
        raise DataError(f"images are read as {wanted}, but {problem}; say {say_so}", *named)
    return expected
