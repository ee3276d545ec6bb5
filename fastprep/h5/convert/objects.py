"""Objects of a file: where they are, errors that name them, and which of them are not copied."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator

import h5py
from h5py import h5d, h5g, h5l, h5o

from fastprep.errors import DataError
from fastprep.h5.files import HDF5_ERRORS
from fastprep.h5.links import names_of_links
from fastprep.h5.listing import encoded
from fastprep.system.atomic import NO_ROOM

Address = tuple[int, int]
"""File number and address of an object: the same for every name that it has."""


def address_of(item: h5o.ObjectID) -> Address:
    """Return where an object is."""
    info = h5o.get_info(item)
    return info.fileno, info.addr


def lies_elsewhere(dataset: h5d.DatasetID) -> bool:
    """Whether writing to a copy would write to other files, or to other datasets."""
    properties = dataset.get_create_plist()
    return properties.get_layout() == h5d.VIRTUAL or properties.get_external_count() > 0


@contextlib.contextmanager
def blamed_on(file: str, name: str) -> Iterator[None]:
    """Turn errors of HDF5 into one that names an object, except those of a full disk."""
    try:
        yield
    except DataError:
        raise
    except HDF5_ERRORS as error:
        if getattr(error, "errno", None) in NO_ROOM:
            raise
        raise DataError(f"can't be copied: {error}", file, name) from error


def free_name(file: h5py.File, wanted: str) -> str:
    """Return a name that a file does not have yet: the one that is wanted, or that with a number."""
    numbered = (f"{wanted}_{k}" for k in itertools.count(2))
    return next(name for name in itertools.chain([wanted], numbered) if name not in file)


def notes_on_name(name: str, wanted: str) -> list[str]:
    """Return a note, for people, if a new dataset did not get the name that is wanted for it."""
    return [f"something else has the name {wanted!r}: the new dataset is {name!r}"] if name != wanted else []


class LeftOut:
    """Datasets of a file that are not copied, because their values become rows of one dataset.

    Parameters
    ----------
    file : h5py.File
    names : iterable of str
    owner : Group, optional
        A group whose attributes are copied elsewhere.
    """

    def __init__(self, file: h5py.File, names: Iterable[str] = (), owner: h5py.Group | None = None) -> None:
        self._paths = {b"/" + encoded(name).strip(b"/") for name in names}
        self._addresses = {address_of(h5o.open(file.id, path)) for path in self._paths}
        self._owner = None if owner is None else address_of(owner.id)

    def has_path(self, path: bytes) -> bool:
        """Tell whether a name, from the root group on, is that of such a dataset."""
        return path in self._paths

    def has(self, item: h5o.ObjectID) -> bool:
        """Tell whether an object is such a dataset, by any of its names."""
        return bool(self._addresses) and address_of(item) in self._addresses

    def empties(self, group: h5g.GroupID, path: bytes) -> bool:
        """Tell whether nothing of a group would be left: it has no attributes, and no members but such datasets."""
        if not self._paths or (h5py.h5a.get_num_attrs(group) and address_of(group) != self._owner):
            return False
        names = names_of_links(group)
        return bool(names) and all(self._drops(group, name, path.rstrip(b"/") + b"/" + name) for name in names)

    def _drops(self, group: h5g.GroupID, name: bytes, path: bytes) -> bool:
        if self.has_path(path):
            return True
        if group.links.get_info(name).type != h5l.TYPE_HARD:
            return False
        item = h5o.open(group, name)
        return self.empties(item, path) if isinstance(item, h5g.GroupID) else self.has(item)
