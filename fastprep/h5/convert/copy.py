"""Copying of everything in a file except its images into another file, unchanged."""

from __future__ import annotations

import os

import h5py
import numpy as np
from h5py import h5a, h5o, h5r, h5s, h5t

from fastprep.errors import DataError
from fastprep.system.atomic import NO_ROOM

_Address = tuple[int, int]
"""File number and address of an object: the same for every name that it has."""


class RestCopier:
    """Copies groups, datasets, named types, links and attributes of a file, and leaves out its images.

    It walks the groups itself, because H5Ocopy, which copies whole groups, can't leave the images out, and would follow their
    other names. An object with several names stays one object.

    Parameters
    ----------
    source, target : h5py.File
        Open for reading, and for writing.
    images : h5py.Dataset
        The dataset to leave out; an external link may lead to it.
    folder : str
        Final folder of the target, to which relative external links are adjusted.

    Attributes
    ----------
    names : list of str
        Absolute names of the images in the target, found by `copy_all`: the first is for the dataset, the others are links to it.
    notes : list of str
        Descriptions, for people, of what could not be kept unchanged.
    """

    def __init__(self, source: h5py.File, target: h5py.File, images: h5py.Dataset, folder: str) -> None:
        self.names: list[str] = []
        self.notes: list[str] = []
        self._source, self._target = source, target
        self._images = _address_of(images)
        self._from_folder, self._to_folder = os.path.dirname(os.path.abspath(source.filename)), os.path.abspath(folder)
        self._copied: dict[_Address, str] = {}

    def copy_all(self) -> None:
        """Copy everything except the images.

        Raises
        ------
        DataError
            If an object can't be read, or the file has the images only in a group of another file.
        """
        if self._source.userblock_size:
            self.notes.append("the user block is left out: with one, HDF5 has to read the images")
        self._copy_group(self._source["/"], self._target["/"])
        if not self.names:
            problem = "the images lie in a group of another file, by an external link; convert that file"
            raise DataError(problem, self._source.filename)

    def copy_attributes(self, source: h5py.HLObject, target: h5py.HLObject, leave_out: tuple[str, ...] = ()) -> None:
        """Copy the attributes of one object, with their types in the file.

        Parameters
        ----------
        source, target : h5py.HLObject
        leave_out : tuple of str
            Names of attributes that are not copied.
        """
        for name in source.attrs:
            if name in leave_out:
                continue
            old = h5a.open(source.id, name.encode())
            if _holds_references(old.dtype):
                self.notes.append(f"attribute {name!r} of {source.name!r} is left out: it holds references into the old file")
                continue
            new = h5a.create(target.id, name.encode(), old.get_type().copy(), old.get_space())
            if old.get_space().get_simple_extent_type() == h5s.NULL:
                continue
            base, inner = old.dtype.subdtype or (old.dtype, ())
            values, memory_type = np.empty(old.shape + inner, base), h5t.py_create(old.dtype)
            old.read(values, mtype=memory_type)
            new.write(values, mtype=memory_type)

    def _copy_group(self, source: h5py.Group, target: h5py.Group) -> None:
        self._copied[_address_of(source)] = target.name
        self.copy_attributes(source, target)
        for name in source:
            try:
                self._copy_member(source, target, name)
            except (OSError, RuntimeError, KeyError, TypeError) as error:
                if getattr(error, "errno", None) in NO_ROOM:
                    raise
                raise DataError(f"can't be copied: {error}", self._source.filename, _join(source.name, name)) from error

    def _copy_member(self, source: h5py.Group, target: h5py.Group, name: str) -> None:
        path, link = _join(target.name, name), source.get(name, getlink=True)
        if isinstance(link, h5py.SoftLink):
            target[name] = h5py.SoftLink(link.path)
            return
        if isinstance(link, h5py.ExternalLink):
            if self._leads_to_images(source, name):
                self.names.append(path)
            else:
                target[name] = h5py.ExternalLink(self._adjusted(link.filename), link.path)
            return
        item = source[name]
        address = _address_of(item)
        if address == self._images:
            self.names.append(path)
        elif address in self._copied:
            target[name] = target.file[self._copied[address]]
        elif isinstance(item, h5py.Group):
            self._copy_group(item, target.create_group(name))
        else:
            self._copied[address] = path
            source.copy(name, target, name)
            self._note_external_values(item)

    def _leads_to_images(self, group: h5py.Group, name: str) -> bool:
        try:
            return _address_of(group[name]) == self._images
        except (OSError, RuntimeError, KeyError):
            return False  # a broken link is copied as it is

    def _adjusted(self, filename: str) -> str:
        linked_file = os.path.join(self._from_folder, filename)
        if os.path.isabs(filename) or self._from_folder == self._to_folder or not os.path.exists(linked_file):
            return filename
        return os.path.relpath(linked_file, self._to_folder)

    def _note_external_values(self, item: h5py.HLObject) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        if _holds_references(item.dtype):
            self.notes.append(f"dataset {item.name!r} holds references into the old file; they are empty now")
        elsewhere = item.is_virtual or item.id.get_create_plist().get_external_count()
        if elsewhere and self._from_folder != self._to_folder:
            self.notes.append(f"dataset {item.name!r} has its values in other files, named as before: see that they are found")


def _address_of(item: h5py.HLObject) -> _Address:
    info = h5o.get_info(item.id)
    return info.fileno, info.addr


def _join(group: str, name: str) -> str:
    return f"{group.rstrip('/')}/{name}"


def _holds_references(dtype: np.dtype) -> bool:
    if h5py.check_ref_dtype(dtype) in (h5r.Reference, h5r.RegionReference):
        return True
    inner = h5py.check_vlen_dtype(dtype) or (dtype.subdtype or (None,))[0]
    if isinstance(inner, np.dtype):
        return _holds_references(inner)
    return any(_holds_references(dtype[name]) for name in dtype.names or ())
