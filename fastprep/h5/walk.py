"""The groups of a file with what is in them, looked at with a bound: a file may hold a million datasets, one for each image."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import h5py

from fastprep.h5.byte_types import is_row
from fastprep.h5.listing import get_quietly, identity_of, names_in
from fastprep.h5.name_words import split_of

_SAMPLED = 64  # members of a group that are looked at, if these are all alike
_MOST_LINKS = 2000  # that are followed; links may lead to slow places
_HIDDEN = {b"#refs#", b"#subsystem#"}  # of MATLAB's files


@dataclass
class Folder:
    """A group.

    Attributes
    ----------
    path : str
        Empty for the root.
    n_links : int
        Number of members, those that were not looked at included.
    datasets : list of (str, h5py.Dataset)
        Paths and datasets; those that can't be opened, or have no values, are left out.
    subgroups : list of str
        Paths of the groups.
    """

    path: str
    n_links: int
    datasets: list[tuple[str, h5py.Dataset]] = field(default_factory=list)
    subgroups: list[str] = field(default_factory=list)

    @property
    def holds_only_datasets(self) -> bool:
        """Whether every member that was looked at is a dataset, and there are several."""
        return len(self.datasets) > 1 and not self.subgroups

    def are_alike(self) -> bool:
        """Tell whether the datasets have the same shape and type, or are all one row of bytes."""
        return all(_are_alike(self.datasets[0][1], other) for _, other in self.datasets)


def folders_of(file: h5py.File) -> Iterator[Folder]:
    """Yield the groups of a file, near ones first, links followed.

    Of a group whose first members are all alike, the others are only counted.
    """
    visited = {identity_of(file)}
    groups: deque[tuple[str, h5py.Group]] = deque([("", file)])
    n_left = _MOST_LINKS
    while groups and n_left > 0:
        path, group = groups.popleft()
        folder = Folder(path, _count(group))
        for number, name in enumerate(names_in(group, n_left)):
            if number == _SAMPLED and _is_sampled_enough(folder):
                break
            n_left -= 1
            if name in _HIDDEN:
                continue
            item, below = get_quietly(group, name), f"{path}/{name.decode('utf-8', 'surrogateescape')}".lstrip("/")
            if isinstance(item, h5py.Dataset) and item.shape is not None:
                folder.datasets.append((below, item))
            elif isinstance(item, h5py.Group) and (key := identity_of(item)) is not None and key not in visited:
                visited.add(key)
                folder.subgroups.append(below)
                groups.append((below, item))
        yield folder


def patterns_below(folder: Folder, folders: Sequence[Folder]) -> Iterator[tuple[str, int, h5py.Dataset]]:
    """Yield what several groups in a group have alike: its pattern, such as "*/image", how often it is there, and the first."""
    if len(folder.subgroups) < 2:
        return
    paths = set(folder.subgroups)
    below = [other for other in folders if other.path in paths]
    if len(below) < 2 or any(split_of(other.path) for other in below):
        return
    n = folder.n_links if len(folder.subgroups) == _SAMPLED else len(below)
    for path, dataset in below[0].datasets:
        pattern = pattern_of(path)
        others = [other for each in below[1:] for name, other in each.datasets if pattern_of(name) == pattern]
        if len(others) == len(below) - 1 and all(_have_one_shape(dataset, other) for other in others):
            yield pattern, n, dataset


def pattern_of(path: str) -> str:
    """Return the pattern of a dataset's name for all groups beside its own, such as "*/image" of "0/image"."""
    group, _, name = path.rpartition("/")
    return f"{group.rpartition('/')[0]}/*/{name}".lstrip("/")


def _are_alike(one: h5py.Dataset, other: h5py.Dataset) -> bool:
    if one.id.shape == other.id.shape and one.id.get_type().equal(other.id.get_type()):
        return True
    return is_row(one) and is_row(other) and one.id.get_type().get_class() == other.id.get_type().get_class()


def _have_one_shape(one: h5py.Dataset, other: h5py.Dataset) -> bool:
    return one.shape == other.shape or (is_row(one) and is_row(other))


def _is_sampled_enough(folder: Folder) -> bool:
    if folder.datasets and folder.subgroups:
        return False
    return not folder.datasets or folder.are_alike()


def _count(group: h5py.Group) -> int:
    try:
        return int(group.id.get_num_objs())
    except (OSError, RuntimeError, ValueError):
        return 0
