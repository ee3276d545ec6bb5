"""Files that an HDF5 file takes its contents from: sources of virtual datasets, external storage, external links."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence

import h5py
from h5py import h5d, h5g

from fastprep import remote
from fastprep.errors import DataError
from fastprep.h5.files import HDF5_ERRORS, open_file
from fastprep.h5.links import walk

VIRTUAL_PREFIX, STORAGE_PREFIX = "HDF5_VDS_PREFIX", "HDF5_EXTFILE_PREFIX"
"""Environment variables with folders for sources of virtual datasets (several, between colons) and for external storage (one)."""

_PREFIXES = (VIRTUAL_PREFIX, STORAGE_PREFIX, "HDF5_EXT_PREFIX")  # the last one is for external links
_MOST = 100_000  # files; what lies behind even more is not looked at


def source_files(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yield a file and all files that it reads, and that those read.

    Parameters
    ----------
    path : str or path

    Yields
    ------
    str
        The path itself first. The others may be missing; those whose place depends on settings of HDF5 are named at every place
        where HDF5 would look.
    """
    yield os.fspath(path)
    if remote.is_address(path):  # of which nothing is read from other files
        return
    found = {os.fspath(path)}
    todo = [os.fspath(path)]
    while todo and len(found) < _MOST:
        name = todo.pop()
        try:
            with open_file(name) as file:
                behind = set(_behind(file))
        except (DataError, *HDF5_ERRORS):
            continue  # missing or raw, or damaged: reading it reports that
        for other in behind:
            for place in places(other, os.path.dirname(os.path.abspath(name))):
                if place not in found:
                    yield place
                    found.add(place)
                    todo.append(place)


def _behind(file: h5py.File) -> Iterator[str]:
    """Yield names of files, as the file has them."""
    for link in walk(h5g.open(file.id, b"/")):
        if link.file is not None:
            yield os.fsdecode(link.file)
        if isinstance(link.item, h5d.DatasetID):
            yield from _behind_dataset(link.item)


def _behind_dataset(dataset: h5d.DatasetID) -> Iterator[str]:
    properties = dataset.get_create_plist()
    for k in range(properties.get_external_count()):
        yield os.fsdecode(properties.get_external(k)[0])
    if properties.get_layout() == h5d.VIRTUAL:
        for k in range(properties.get_virtual_count()):
            name = properties.get_virtual_filename(k)
            if name != ".":
                yield name


def search_folders(folder: str, variables: Sequence[str] = _PREFIXES, beside: bool = True) -> list[str]:
    """Return the folders in which HDF5 looks, in that order; see `places`."""
    folders = []
    for variable in variables:
        prefix = os.environ.get(variable, "").replace("${ORIGIN}", folder)
        folders += [prefix] if variable == STORAGE_PREFIX else prefix.split(":")
    return list(dict.fromkeys([*filter(None, folders), *([folder] if beside else []), os.getcwd()]))


def places(name: str, folder: str, variables: Sequence[str] = _PREFIXES, beside: bool = True) -> Iterator[str]:
    """Yield the paths at which HDF5 looks for a file that another one names, in that order; there need not be anything.

    Parameters
    ----------
    name : str
    folder : str
        Folder of the file that names it.
    variables : sequence of str
        Environment variables with folders that HDF5 tries first: all that there are, if it is not known what the file is named
        for.
    beside : bool
        Whether HDF5 looks in `folder`, which it does not for external storage.
    """
    for other in search_folders(folder, variables, beside):
        for plain in (name, os.path.basename(name)):
            place = os.path.join(other, plain)
            if "%b" in plain:  # of a virtual dataset without limits: a number for each block
                yield from glob.iglob(os.path.join(glob.escape(other), glob.escape(plain).replace("%b", "[0-9]*")))
            elif plain == name or os.path.exists(place):
                yield place
