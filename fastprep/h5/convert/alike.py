"""Attributes that say the same in several files."""

from __future__ import annotations

import contextlib
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5t

from fastprep.h5.attributes import Attribute, read_attribute
from fastprep.h5.convert.attributes import copy_attributes
from fastprep.h5.files import HDF5_ERRORS
from fastprep.h5.links import names_of_attributes


class AlikeAttributes:
    """Attributes of an object that every file has: those with the same value in all files are kept.

    Attributes
    ----------
    differing : set of str
        Names of the others.
    """

    def __init__(self) -> None:
        self.differing: set[str] = set()
        self._values: dict[str, Attribute] | None = None

    def add(self, owner: h5py.Group | h5py.Dataset, named: tuple[str, str]) -> None:
        """Compare the attributes of one more file; `named`: file and object, for errors."""
        names = [name.decode("utf-8", "surrogateescape") for name in names_of_attributes(owner.id)]
        found = {name: read_attribute(owner, name, named) for name in names}
        self.differing |= {name for name, attribute in found.items() if attribute.problem or attribute.value is None}
        if self._values is None:
            self._values = found
        self.differing |= {name for name in {*found, *self._values} if not _are_alike(found.get(name), self._values.get(name))}

    def copy(self, source: h5py.Group | h5py.Dataset, target: h5py.Group | h5py.Dataset) -> None:
        """Copy the attributes that are alike from the object of the first file."""
        wanted = {name.encode("utf-8", "surrogateescape") for name in self._values or {} if name not in self.differing}
        references, left_out = copy_attributes(source.id, target.id, _own_type, keeps_axes=False, only=wanted)
        for name in references:
            h5a.delete(target.id, name)
        self.differing |= {name.decode("utf-8", "surrogateescape") for name in (*references, *left_out)}


def have_same_values(first: Any, second: Any) -> bool:
    """Tell whether values are the same, where NaN is the same as NaN, in fields of records, too."""
    first, second = np.asarray(first), np.asarray(second)
    if first.dtype.kind in "fc" and second.dtype.kind in "fc":
        return np.array_equal(first, second, equal_nan=True)
    if first.dtype.fields and first.dtype == second.dtype:
        return first.shape == second.shape and all(have_same_values(first[name], second[name]) for name in first.dtype.fields)
    return np.array_equal(first, second)


def _are_alike(first: Attribute | None, second: Attribute | None) -> bool:
    with contextlib.suppress(*HDF5_ERRORS):
        return first is not None and second is not None and have_same_values(first.value, second.value)
    return False


def _own_type(kind: h5t.TypeID) -> h5t.TypeID:
    """Return a type without its name in the source."""
    return kind.copy() if kind.committed() else kind
