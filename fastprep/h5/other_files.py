"""Which other files the values of a dataset come from: by a link, by external storage, or as sources of a virtual dataset."""

from __future__ import annotations

import os
from collections.abc import Iterator

import h5py

from fastprep.errors import DataError
from fastprep.h5.columns import find_quietly
from fastprep.h5.files import HDF5_ERRORS, open_file
from fastprep.h5.groups import ImageGroup, get_images
from fastprep.h5.sources import STORAGE_PREFIX, VIRTUAL_PREFIX, places, search_folders

_ITSELF = "."  # name of the file that a virtual dataset is in, among its sources


def files_beside(path: str | os.PathLike[str], name: str) -> tuple[str, ...]:
    """Return the files, other than the one named, that hold values of a dataset; see `other_files`.

    Parameters
    ----------
    path : str or path
    name : str
        Name of the dataset, or of images that have one each, of which the first is looked at.

    Returns
    -------
    tuple of str

    Raises
    ------
    OSError, DataError
        As `fastprep.h5.open_images`.
    """
    with open_file(path) as file:
        column = find_quietly(file, name)
        dataset = get_images(file, name) if column is None else column.dataset
        return other_files(dataset.first if isinstance(dataset, ImageGroup) else dataset, os.fspath(path))


def other_files(dataset: h5py.Dataset, path: str) -> tuple[str, ...]:
    """Return the files, other than the one named, that hold values of an open dataset.

    Sources of a virtual dataset that lie in the same file are followed, because they may lead elsewhere in turn.

    Parameters
    ----------
    dataset : h5py.Dataset
    path : str
        Path of the file that was named.

    Returns
    -------
    tuple of str
        Absolute paths, each of them once, in the order in which they are met; a pattern such as ``part%b.h5`` as it is. They
        need not exist.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    found: dict[str, None] = {}
    try:
        _collect(dataset, path, found, set())
    except HDF5_ERRORS as error:
        raise DataError(f"where its values are can't be read: {error}", path, dataset.name) from error
    return tuple(found)


def _collect(dataset: h5py.Dataset, path: str, found: dict[str, None], seen: set[int]) -> None:
    holder = os.fsdecode(dataset.file.filename)
    if not _same(holder, path):
        found[os.path.abspath(holder)] = None
    address = h5py.h5o.get_info(dataset.id).addr
    if address in seen:
        return
    seen.add(address)
    folder = os.path.dirname(os.path.abspath(holder))
    properties = dataset.id.get_create_plist()
    for k in range(properties.get_external_count()):
        name = os.fsdecode(properties.get_external(k)[0])
        found[_located(places(name, folder, (STORAGE_PREFIX,), beside=False))] = None
    if properties.get_layout() != h5py.h5d.VIRTUAL:
        return
    for k in range(properties.get_virtual_count()):
        name, source = properties.get_virtual_filename(k), properties.get_virtual_dsetname(k)
        place = holder if name == _ITSELF else _place_of_source(name, folder)
        if not _same(place, holder):
            found[place] = None
            continue
        for inner in _datasets_named(dataset.file, source):
            _collect(inner, path, found, seen)


def _datasets_named(file: h5py.File, name: str) -> Iterator[h5py.Dataset]:
    """Yield the dataset of that name, or those that a pattern with ``%b`` counts, as far as there are any."""
    k = 0
    while True:
        try:
            item = file.get(name.replace("%b", str(k)))
        except HDF5_ERRORS:
            return
        if not isinstance(item, h5py.Dataset):
            return
        yield item
        if "%b" not in name:
            return
        k += 1


def _place_of_source(name: str, folder: str) -> str:
    """Return where a source of a virtual dataset is; a pattern in the first folder where HDF5 looks."""
    if "%b" in name:
        return os.path.abspath(os.path.join(search_folders(folder, (VIRTUAL_PREFIX,))[0], name))
    return _located(places(name, folder, (VIRTUAL_PREFIX,)))


def _located(candidates: Iterator[str]) -> str:
    """Return the first path at which there is a file, or the first one."""
    paths = [os.path.abspath(path) for path in candidates]
    return next((path for path in paths if os.path.exists(path)), paths[0])


def _same(first: str, second: str) -> bool:
    try:
        return os.path.samefile(first, second)
    except (OSError, ValueError):
        return os.path.abspath(first) == os.path.abspath(second)
