"""Which other files the values of a dataset come from: by a link, by external storage, or as sources of a virtual dataset."""

from __future__ import annotations

import os
from collections.abc import Iterator

import h5py

from fastprep.errors import DataError
from fastprep.h5.files import HDF5_ERRORS, get_dataset, open_file

_ITSELF = "."  # name of the file that a virtual dataset is in, among its sources


def files_beside(path: str | os.PathLike[str], name: str) -> tuple[str, ...]:
    """Return the files, other than the one named, that hold values of a dataset; see `other_files`.

    Parameters
    ----------
    path : str or path
    name : str
        Name of the dataset.

    Returns
    -------
    tuple of str

    Raises
    ------
    OSError, DataError
        As `fastprep.h5.open_images`.
    """
    with open_file(path) as file:
        return other_files(get_dataset(file, name), os.fspath(path))


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
        # HDF5 starts from the current folder here, unless the variable names another
        found[_located(os.fsdecode(properties.get_external(k)[0]), "HDF5_EXTFILE_PREFIX", folder, ".")] = None
    if properties.get_layout() != h5py.h5d.VIRTUAL:
        return
    for k in range(properties.get_virtual_count()):
        name, source = properties.get_virtual_filename(k), properties.get_virtual_dsetname(k)
        place = holder if name == _ITSELF else _located(name, "HDF5_VDS_PREFIX", folder, folder, ".")
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


def _located(name: str, variable: str, origin: str, *folders: str) -> str:
    """Return where HDF5 finds a file: in the folder that an environment variable names, or else in the first that has it."""
    prefix = os.environ.get(variable, "").replace("${ORIGIN}", origin)
    places = [os.path.abspath(os.path.join(folder, name)) for folder in ([prefix] if prefix else []) + list(folders)]
    return next((place for place in places if os.path.exists(place)), places[0])


def _same(first: str, second: str) -> bool:
    try:
        return os.path.samefile(first, second)
    except (OSError, ValueError):
        return os.path.abspath(first) == os.path.abspath(second)
