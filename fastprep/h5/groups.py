"""Images that have a dataset each, of a group, a pattern or a list of names; read like one dataset."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np
from h5py import h5d
from numpy.typing import NDArray

from fastprep.errors import DataError
from fastprep.h5.columns import quiet_dataset
from fastprep.h5.files import HDF5_ERRORS, check_in_one_file, get_dataset
from fastprep.h5.header_checks import check_whole
from fastprep.h5.links import names_of_links
from fastprep.h5.listing import encoded
from fastprep.h5.name_pairs import natural_order, wrong_pair
from fastprep.h5.retries import raise_machine_fault
from fastprep.h5.texts import text_of
from fastprep.h5.types import as_numbers, describe_dataset, number_type

_SHOWN = 2
_LONGEST_LABEL = 2**16  # values

Images = str | Sequence[str]
"""A dataset; "X/" for the datasets of a group; a pattern such as "X/*/image"; or a list of names."""


class ImageGroup:
    """Datasets of one image each, as one dataset whose rows they are.

    Parameters
    ----------
    file : h5py.File
    names : sequence of str
        Names of the datasets, in the order of the images.
    owner : h5py.Group
        What has the attributes of the images: their group; of a pattern, the group that its fixed part names; of a list, the one
        that has them all below it.

    Attributes
    ----------
    shape : tuple of int
        N, and the shape of each dataset.
    dtype : dtype
    """

    is_virtual = False
    fillvalue: Any = None  # which matters for virtual datasets

    def __init__(self, file: h5py.File, names: Sequence[str], owner: h5py.Group) -> None:
        self.file, self.names, self.owner = file, tuple(names), owner
        self.first = self.member(0)
        self.shape = (len(self.names), *self.first.shape)
        self.dtype, self.attrs, self.id = self.first.dtype, self.first.attrs, self.first.id

    @property
    def ndim(self) -> int:
        """Number of axes, that of the images included."""
        return len(self.shape)

    def __len__(self) -> int:
        return len(self.names)

    def member(self, number: int) -> h5py.Dataset:
        """Open the dataset of an image.

        Raises
        ------
        DataError
            If it can't be opened, or is no dataset.
        """
        name = self.names[number]
        try:
            member = h5py.Dataset(h5d.open(self.file.id, encoded(name)))
        except HDF5_ERRORS as error:
            raise_machine_fault(error, self.file.filename, name)
            get_dataset(self.file, name)  # raises the error that lists what there is
            raise DataError(f"can't be opened: {error}", self.file.filename, name) from error
        check_in_one_file(member, self.file, name)
        return member

    def __getitem__(self, rows: int | slice) -> NDArray:
        if not isinstance(rows, slice):
            return self.member(int(rows))[()]
        images = [self.member(row)[()] for row in range(*rows.indices(len(self)))]
        if any(image.shape != self.shape[1:] for image in images):
            raise ValueError(f"an image has another shape than {self.shape[1:]} by now")
        return np.stack(images)


def get_images(file: h5py.File, images: Images) -> h5py.Dataset | ImageGroup:
    """Return the images of an open file.

    Parameters
    ----------
    file : h5py.File
    images : str or sequence of str
        See `Images`.

    Raises
    ------
    ValueError
        If the argument is nothing of these.
    DataError
        If there are none.
    """
    check_images(images)
    if not isinstance(images, str):
        get_dataset(file, images[0])  # an error that lists what there is, if this is nothing
        return ImageGroup(file, images, _group_of(file, os.path.commonpath([os.path.dirname(f"/{name}") for name in images])))
    if images.endswith("/") or (is_pattern(images) and quiet_dataset(file, images) is None):
        parts = images.split("/")
        fixed = next((k for k, part in enumerate(parts) if is_pattern(part)), len(parts))
        return ImageGroup(file, names_of_group(file, images), _group_of(file, "/".join(parts[:fixed])))
    return get_dataset(file, images)


def _group_of(file: h5py.File, path: str) -> h5py.Group:
    """Return the group that has the images below it, which has their attributes."""
    found = _get(file, path.strip("/")) if path.strip("/") else file
    return found if isinstance(found, h5py.Group) else file


def owner_of(dataset: h5py.Dataset | ImageGroup) -> h5py.Dataset | h5py.Group:
    """Return what has the attributes of open images: their dataset, or the group of those that have one each."""
    return dataset.owner if isinstance(dataset, ImageGroup) else dataset


def is_pattern(images: str) -> bool:
    """Tell whether a name is a pattern of names."""
    return any(letter in images for letter in "*?[")


def check_images(images: Images) -> None:
    """Check the argument `images`.

    Raises
    ------
    ValueError
        If it is neither a name nor a list of names.
    """
    is_list = isinstance(images, Sequence) and len(images) > 0 and all(isinstance(name, str) for name in images)
    if not isinstance(images, str) and not is_list:
        raise ValueError(
            f"images must be the name of a dataset, a pattern or group of datasets, or a list of names, got {images!r}"
        )


def describe_images(images: Images) -> str:
    """Return the name of the images in errors; of a list, its first names."""
    check_images(images)
    if isinstance(images, str):
        return images
    return ", ".join(images[:_SHOWN]) + (f", ... ({len(images)} names)" if len(images) > _SHOWN else "")


def read_group(file: h5py.File, labels: str, images: Sequence[str], n_rows: int) -> NDArray:
    """Read labels that have a dataset each, in the order of the images.

    Parameters
    ----------
    file : h5py.File
    labels : str
        A group, "y/", or a pattern.
    images : sequence of str
        Names of the images' datasets; empty if they are in one.
    n_rows : int
        Number of images.

    Returns
    -------
    ndarray, shape (n_rows, ...)
        Numbers, or texts of type object.

    Raises
    ------
    DataError
        If the labels are not alike, or not those of the images.
    """
    names = names_of_group(file, labels)
    if len(names) != n_rows:
        problem = f"there must be one label for each of the {n_rows} images, found {len(names)} datasets"
        raise DataError(problem, file.filename, labels)
    if images and (place := wrong_pair(names, images, alike=True)) is not None:
        problem = f"labels and images are paired in natural order, but {names[place]!r} is not the label of {images[place]!r}"
        raise DataError(f"{problem}; labels= takes an array, too, in the order of the images", file.filename)
    group = ImageGroup(file, names, file)
    values = [_read_label(group, number) for number in range(n_rows)]
    if number_type(group.first) is not None:
        return as_numbers(np.array(values))
    if h5py.check_string_dtype(group.first.dtype) is None or group.first.shape != ():
        problem = f"labels must be numbers or texts, found {describe_dataset(group.first)}"
        raise DataError(problem, file.filename, names[0])
    texts = np.empty(n_rows, object)
    texts[:] = [text_of(value) for value in values]
    return texts


def _read_label(group: ImageGroup, number: int) -> Any:
    """Return the value of a label that has a dataset to itself, if it is like the first one."""
    dataset, first = group.member(number), group.first
    named = group.file.filename, group.names[number]
    if dataset.shape is None or dataset.shape != first.shape or dataset.id.get_type() != first.id.get_type():
        problem = f"labels must be alike, it is {describe_dataset(dataset)}, {group.names[0]!r} is {describe_dataset(first)}"
        raise DataError(problem, *named)
    if dataset.size > _LONGEST_LABEL:
        rule = f"a label in a dataset of its own must have {_LONGEST_LABEL} values or fewer, it is {describe_dataset(dataset)}"
        raise DataError(f"{rule}; store the labels as one dataset of shape (N, ...), or pass them as an array", *named)
    try:
        if dataset.shape:
            check_whole(dataset, named)
        return dataset[()]
    except DataError:
        raise
    except HDF5_ERRORS as error:
        raise_machine_fault(error, *named)
        raise DataError(f"HDF5 can't read it: {error}", *named) from error


def is_group(name: str) -> bool:
    """Tell whether a name is one of a group, or a pattern."""
    return name.endswith("/") or is_pattern(name)


def names_of_group(file: h5py.File, images: str) -> list[str]:
    """Return the names of the datasets that a group or a pattern stands for, naturally sorted.

    Raises
    ------
    DataError
        If there are none.
    """
    pattern = f"{images}*" if images.endswith("/") else images
    parts = [part for part in pattern.split("/") if part]
    found: list[tuple[str, h5py.Group]] = [("", file)]
    for depth, part in enumerate(parts):
        is_last, following = depth == len(parts) - 1, []
        for path, group in found:
            for name in _matching(group, part):
                below = f"{path}/{name}".lstrip("/")
                if is_last:
                    following.append((below, group))
                elif isinstance(item := _get(group, name), h5py.Group):
                    following.append((below, item))
        found = following
    names = [path for path, group in found if _is_dataset(group, path.rpartition("/")[2])]
    if not names:
        what = f"group {images!r} has no datasets" if images.endswith("/") else f"no dataset matches {images!r}"
        raise DataError(f"{what}; images in a group have one dataset each", file.filename)
    return sorted(names, key=natural_order)


def _matching(group: h5py.Group, part: str) -> list[str]:
    if not is_pattern(part):
        return [part] if encoded(part) in group else []
    try:
        names = [name.decode("utf-8", "surrogateescape") for name in names_of_links(group.id)]
    except HDF5_ERRORS as error:
        raise_machine_fault(error, group.file.filename)
        raise DataError(f"its list of names is damaged: {error}", group.file.filename, group.name) from error
    return [name for name in names if fnmatch.fnmatchcase(name, part)]


def _get(group: h5py.Group, name: str) -> object:
    try:
        return group.get(encoded(name))
    except HDF5_ERRORS as error:
        raise_machine_fault(error, group.file.filename, name)
        return None


def _is_dataset(group: h5py.Group, name: str) -> bool:
    """Tell whether a name is a dataset, or can't be opened, which is then an error."""
    try:
        return bool(h5py.h5o.get_info(group.id, encoded(name)).type == h5py.h5o.TYPE_DATASET)
    except HDF5_ERRORS:
        return True
