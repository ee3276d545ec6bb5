"""What a file has, for the error about a dataset that it lacks."""

from __future__ import annotations

import contextlib
import difflib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h5py

from fastprep.errors import MissingDatasetError
from fastprep.h5.byte_types import is_row
from fastprep.h5.types import FAILURES, describe_dataset, number_type

_SHOWN = 8
_CLOSED = "that can't be opened"
_ENCODED = "rows of variable length, of uint8"
_MOST_LINKS = 2000  # a file may hold a million datasets, one for each image; and links may lead to slow places


def missing_dataset(file: h5py.File, name: str, argument: str) -> MissingDatasetError:
    """Return the error about a name that no dataset has. It lists those that there are, datasets that may be images first.

    Parameters
    ----------
    file : h5py.File
    name : str
        Name that was asked for: of nothing, or of a group.
    argument : str
        Argument of the Python interface that gave the name, such as "images".
    """
    group = get_quietly(file, encoded(name))
    inside = isinstance(group, h5py.Group)
    found = _datasets_below(group if inside else file, name.strip("/") if inside else "")
    if inside and not found:
        inside, found = False, _datasets_below(file, "")
    found.sort(key=lambda dataset: (dataset.may_be_images != (argument == "images"), dataset.words == _CLOSED))
    listed = [f"{dataset.path!r} {dataset.words}" for dataset in found[:_SHOWN]] + ["..."] * (len(found) > _SHOWN)
    suggestion = _suggestion(file, name)
    nothing = " and nothing that seems to be images" if name == "images" and not suggestion and found else ""
    near = "" if suggestion else "".join(f", perhaps {path!r} is meant" for path in _near(name, found))
    problem = f"there is no dataset {name!r}{nothing}{near}; it has {', '.join(listed) or 'no dataset at all'}"
    if nothing and any(dataset.words.endswith(_ENCODED) for dataset in found):
        problem += "; these may be encoded images such as JPEG: write them to files for python -m fastprep.build"
    if isinstance(group, h5py.Group):
        problem += f". {name!r} is a group, of which a dataset can be named"
        if argument == "images" and inside and sum(dataset.may_be_one_image for dataset in found) > 1:
            problem += f"; images that have one dataset each are named by their group, with a slash: {name.rstrip('/') + '/'!r}"
    return MissingDatasetError(problem, file.filename, argument=argument, suggestion=suggestion)


def _near(name: str, found: list[_Listed]) -> list[str]:
    """Return the path of a dataset that a name differs from by a slip of the pen; at most one."""
    return difflib.get_close_matches(name, [dataset.path for dataset in found], n=1, cutoff=0.8)


def _suggestion(file: h5py.File, name: str) -> dict[str, Any]:
    """Return arguments by which a loader takes the images of a file, if it lacks a dataset of the usual name."""
    from fastprep.h5.candidates import candidates_in  # which needs this module

    if name not in ("images", "labels"):
        return {}
    with contextlib.suppress(*FAILURES):
        found = [candidate for candidate in candidates_in(file) if candidate.image_shape is not None]
        usual = [candidate for candidate in found if candidate.images == "images"] if name == "labels" else []
        for best in (*usual, *found)[:1]:
            return best.arguments
    return {}


def encoded(name: str) -> bytes:
    """Return a name as HDF5 stores it. Bytes that are not UTF-8 are surrogates in the text, as in the arguments of a command."""
    return name.encode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class _Listed:
    path: str
    words: str
    may_be_images: bool
    may_be_one_image: bool = False


def _datasets_below(top: h5py.Group, prefix: str) -> list[_Listed]:
    """Describe the datasets in a group and the groups below it, near ones first, links followed."""
    found = datasets_below(top, prefix)
    return [_Listed(path, _CLOSED, False) if item is None else _describe(path, item) for path, item in found]


def datasets_below(top: h5py.Group, prefix: str) -> Iterator[tuple[str, h5py.Dataset | None]]:
    """Yield the datasets in a group and the groups below it, near ones first, links followed; there is a bound on their number.

    Parameters
    ----------
    top : h5py.Group
    prefix : str
        Path of the group.

    Yields
    ------
    path : str
    dataset : h5py.Dataset or None
        None for what can't be opened.
    """
    visited = {identity_of(top)}
    groups: deque[tuple[str, h5py.Group]] = deque([(prefix, top)])
    n_left = _MOST_LINKS
    while groups and n_left > 0:
        path, group = groups.popleft()
        for name in names_in(group, n_left):
            n_left -= 1
            item = get_quietly(group, name)
            below = f"{path}/{name.decode('utf-8', 'surrogateescape')}".lstrip("/")
            if item is None or isinstance(item, h5py.Dataset):
                yield below, item
            elif isinstance(item, h5py.Group) and (key := identity_of(item)) is not None and key not in visited:
                visited.add(key)
                groups.append((below, item))


def _describe(path: str, dataset: h5py.Dataset) -> _Listed:
    try:
        rank = len(dataset.shape or ())
        may_be_images, is_one = rank in (3, 4) and number_type(dataset) is not None, rank in (2, 3) or is_row(dataset)
        return _Listed(path, describe_dataset(dataset), may_be_images, is_one)
    except FAILURES:
        return _Listed(path, _CLOSED, False)


def names_in(group: h5py.Group, most: int) -> list[bytes]:
    """Return the names in a group, sorted, but no more of them than `most`."""
    names: list[bytes] = []

    def record(name: bytes) -> bool | None:
        names.append(name)
        return True if len(names) >= most else None  # anything but None ends the iteration

    with contextlib.suppress(*FAILURES):  # a list for people leaves out what can't be read
        group.id.links.iterate(record, order=h5py.h5.ITER_NATIVE)  # see fastprep.h5.links
    return sorted(names)


def get_quietly(group: h5py.Group, name: bytes) -> object:
    """Return what a name stands for, links followed; None for nothing, or for something that can't be opened."""
    with contextlib.suppress(*FAILURES):
        return group.get(name)
    return None


def identity_of(group: h5py.Group) -> tuple[int, int] | None:
    """Return what tells a group from all others; None if it can't be read."""
    with contextlib.suppress(*FAILURES):
        facts = h5py.h5o.get_info(group.id)
        return facts.fileno, facts.addr
    return None
