"""Sources of virtual datasets: which of them are not there, and which rows have values of none."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.errors import DataError
from fastprep.h5.external import missing_external_file
from fastprep.h5.files import HDF5_ERRORS, open_hdf5
from fastprep.h5.listing import encoded
from fastprep.h5.retries import raise_machine_fault
from fastprep.h5.sources import STORAGE_PREFIX, VIRTUAL_PREFIX, places

_ITSELF = "."  # name of the file that a virtual dataset is in, among its sources
_UNLIMITED = 2**63  # a count of at least this, in a selection, has no end
_MOST_BLOCKS = 2**16  # of a selection that is no regular one
_MOST_FILES = 500  # of which the rows are looked at, at a millisecond each
_DEEPEST = 16  # virtual datasets of virtual datasets; HDF5 has no limit, and needs stack for each

_Place = tuple[int, int]  # number of an open file, and address in it


class _Box(NamedTuple):
    """Numbers along each axis whose product is a selection, or a part of one."""

    sides: tuple[NDArray[np.int64], ...]

    def rows(self, axis: int) -> NDArray[np.int64]:
        return self.sides[axis]

    def n_in_a_row(self, axis: int) -> int:
        return math.prod(len(side) for k, side in enumerate(self.sides) if k != axis)


def check_sources(dataset: h5py.Dataset, named: tuple[str, str]) -> None:
    """Check that what a dataset takes its values from is there: sources of a virtual one, or files of external storage.

    HDF5 reads a fill value in the place of a source that is not. Sources that are virtual, too, are followed. Patterns with
    ``%b`` stand for as many files, or datasets, as exist.

    Parameters
    ----------
    dataset : h5py.Dataset
    named : (str, str)
        File and dataset as the user named them, for errors.

    Raises
    ------
    DataError
        If a file, or a dataset in it, is not there, or can't be opened; or if a dataset takes values from itself.
    """
    try:
        problem, name = _problem_of(dataset, set(), ()), missing_external_file(dataset)
    except HDF5_ERRORS as error:
        raise_machine_fault(error, *named)
        raise DataError(f"where its values are can't be read: {error}", *named) from error
    if problem:
        raise DataError(problem, *named)
    if name is not None:
        where = f"HDF5 looks in the current folder, or in that of {STORAGE_PREFIX} in the environment"
        raise DataError(f"its values are in the file {name!r}, which is not there; {where}", *named)


def missing_file(dataset: h5py.Dataset) -> str | None:
    """Return the name of a file that a virtual dataset takes values from, and that is not there; None if there is none."""
    for name in dict.fromkeys(part.file_name for part in dataset.virtual_sources()):
        if name != _ITSELF and "%" not in name and _located(name, dataset) is None:
            return name
    return None


def unwritten_rows_of_virtual(
    dataset: h5py.Dataset, axis: int, unwritten: Callable[[h5py.Dataset, int | None], NDArray[np.bool_] | None]
) -> NDArray[np.bool_] | None:
    """Tell which rows of a virtual dataset have a part that no source fills, or that was never written in its source.

    Of sources in very many files only the first is told.

    Parameters
    ----------
    dataset : h5py.Dataset
    axis : int
        Which axis counts the rows.
    unwritten : callable
        Tells the same of a source: it is called with a dataset and its axis, None if all of it is one row.

    Returns
    -------
    ndarray of bool, shape (rows,), or None
        None where that can't be known: of sources without an end, or of selections of very many pieces.
    """
    properties, n_rows = dataset.id.get_create_plist(), dataset.shape[axis]
    filled, by_file = np.zeros(n_rows, np.int64), _by_file(properties)
    for name, parts in by_file.items():
        for k in parts:
            boxes = _boxes(properties.get_virtual_vspace(k), dataset.shape)
            if boxes is None or "%" in name or "%" in properties.get_virtual_dsetname(k):
                return None
            for box in boxes:
                filled[box.rows(axis)] += box.n_in_a_row(axis)
    is_unwritten = filled < dataset.size // n_rows  # parts that overlap may hide a gap
    for name, parts in by_file.items() if len(by_file) <= _MOST_FILES else ():
        with _opened(name, dataset) as file:
            for k in parts:
                _add_unwritten_of_source(file, properties, k, dataset.shape, axis, unwritten, is_unwritten)
    return is_unwritten


def _add_unwritten_of_source(
    file: h5py.File,
    properties: h5py.h5p.PropDCID,
    k: int,
    shape: tuple[int, ...],
    axis: int,
    unwritten: Callable[[h5py.Dataset, int | None], NDArray[np.bool_] | None],
    is_unwritten: NDArray[np.bool_],
) -> None:
    """Mark the rows of a virtual dataset that come from rows of a source which were never written."""
    source = file[encoded(properties.get_virtual_dsetname(k))]
    to, origin = _boxes(properties.get_virtual_vspace(k), shape), _boxes(properties.get_virtual_srcspace(k), source.shape)
    if to is None or origin is None or len(to) != 1 or len(origin) != 1:
        return
    rows = to[0].rows(axis)
    if source.ndim == len(shape) - 1 and len(rows) == 1:  # a source of one row
        lacks = unwritten(source, None)
        is_unwritten[rows] |= lacks is not None and lacks.any()
    elif source.ndim == len(shape) and len(origin[0].rows(axis)) == len(rows):
        lacks, from_rows = unwritten(source, axis), origin[0].rows(axis)
        is_there = from_rows < source.shape[axis]  # a source may have become shorter
        is_unwritten[rows[~is_there]] = True
        if lacks is not None:
            is_unwritten[rows[is_there]] |= lacks[from_rows[is_there]]


def _problem_of(dataset: h5py.Dataset, seen: set[_Place], chain: tuple[_Place, ...]) -> str:
    """Describe what a dataset lacks; empty if it lacks nothing.

    Parameters
    ----------
    dataset : h5py.Dataset
    seen : set of (int, int)
        Datasets that lack nothing, or are looked at.
    chain : tuple of (int, int)
        Datasets that take values from this one, all of which are open.
    """
    properties = dataset.id.get_create_plist()
    if properties.get_layout() != h5py.h5d.VIRTUAL:
        return ""
    place = _place_of(dataset)
    if place in chain or len(chain) > _DEEPEST:  # HDF5 follows these until the process ends
        problem = "takes its values from itself" if place in chain else f"leads on over more than {_DEEPEST} virtual datasets"
        return f"it is virtual, and {problem}"
    if place in seen:
        return ""
    seen.add(place)
    for name, parts in _by_file(properties).items():
        if "%" in name:
            continue
        if name != _ITSELF and _located(name, dataset) is None:
            return f"it is virtual, and its file {name!r} is not there"
        try:
            with _opened(name, dataset) as file:
                for source in dict.fromkeys(properties.get_virtual_dsetname(k) for k in parts):
                    problem = _problem_in(file, name, source, seen, (*chain, place))
                    if problem:
                        return problem
        except HDF5_ERRORS as error:
            return f"it is virtual, and its file {name!r} can't be read: {error}"
    return ""


def _problem_in(file: h5py.File, name: str, source: str, seen: set[_Place], chain: tuple[_Place, ...]) -> str:
    """Describe why a source in an open file has no values; empty if it has."""
    if "%" in source:
        return ""
    found = None
    with contextlib.suppress(KeyError):  # h5py's error about an external link that leads nowhere
        found = file.get(encoded(source))
    if isinstance(found, h5py.Dataset):
        return _problem_of(found, seen, chain)
    where = "it" if name == _ITSELF else f"its file {name!r}"
    return f"it is virtual, and {where} has no dataset {source!r}, or one that can't be opened"


def _place_of(dataset: h5py.Dataset) -> _Place:
    """Return what tells a dataset from all others of the files that are open."""
    facts = h5py.h5o.get_info(dataset.id)
    return facts.fileno, facts.addr


def _by_file(properties: h5py.h5p.PropDCID) -> dict[str, list[int]]:
    """Return the numbers of the parts that come from each file, so that each is opened once."""
    parts: dict[str, list[int]] = {}
    for k in range(properties.get_virtual_count()):
        parts.setdefault(properties.get_virtual_filename(k), []).append(k)
    return parts


@contextlib.contextmanager
def _opened(name: str, dataset: h5py.Dataset) -> Iterator[h5py.File]:
    """Yield the file of that name, which a virtual dataset takes values from."""
    place = None if name == _ITSELF else _located(name, dataset)
    if place is None:
        yield dataset.file
        return
    with open_hdf5(place, place) as file:
        yield file


def _located(name: str, dataset: h5py.Dataset) -> str | None:
    """Return the first path at which HDF5 finds a source; None if it is at none."""
    folder = os.path.dirname(os.path.abspath(dataset.file.filename))
    return next(filter(os.path.exists, places(name, folder, (VIRTUAL_PREFIX,))), None)


def _boxes(space: h5py.h5s.SpaceID, shape: tuple[int, ...]) -> list[_Box] | None:
    """Return what is selected, in boxes; None if it has no end, is of points, or of very many blocks."""
    kind = space.get_select_type()
    if kind == h5py.h5s.SEL_ALL:
        return [_Box(tuple(map(np.arange, shape)))]
    if kind == h5py.h5s.SEL_NONE:
        return []
    if kind != h5py.h5s.SEL_HYPERSLABS:
        return None
    if space.is_regular_hyperslab():
        sides = list(zip(*space.get_regular_hyperslab(), strict=True))
        if any(count >= _UNLIMITED or block >= _UNLIMITED for _, _, count, block in sides):
            return None
        return [_Box(tuple(_numbers(*side) for side in sides))]
    if space.get_select_hyper_nblocks() > _MOST_BLOCKS:
        return None
    corners = space.get_select_hyper_blocklist()
    return [
        _Box(tuple(_numbers(first, 1, 1, last - first + 1) for first, last in zip(*pair, strict=True)))
        for pair in corners.tolist()
    ]


def _numbers(start: int, stride: int, count: int, block: int) -> NDArray[np.int64]:
    return (start + stride * np.arange(count, dtype=np.int64)[:, None] + np.arange(block, dtype=np.int64)).reshape(-1)
