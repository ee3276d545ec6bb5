"""Other files that labels and weights are in: FILE:NAME, and which of them goes with which file of images."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence

from fastprep import remote
from fastprep.h5 import marks_of, wrong_pair

SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5", ".mat", ".nc", ".nc4")


def is_of_other_file(name: str) -> bool:
    """Tell whether a name of labels, or weights, is FILE:NAME of a file that exists."""
    return other_files(name) is not None


def other_files(name: str) -> tuple[tuple[str, ...], str] | None:
    """Return the files and the column of FILE:NAME; None if there is no such file."""
    for place in (k for k, letter in enumerate(name) if letter == ":"):
        if remote.is_address(name[:place]):
            if name[place + 1 :] and not name[place + 1 :].isdigit() and name[:place].endswith(SUFFIXES):  # no port
                return tuple(remote.expand(name[:place])), name[place + 1 :]
            continue
        file, column = os.path.expanduser(name[:place]), name[place + 1 :]
        files = [file] if os.path.isfile(file) else sorted(glob.glob(file, recursive=True)) if glob.has_magic(file) else []
        if files and column:
            return tuple(files), column
    return None


def images_of_each(argument: str, what: str, n_files: int, sizes: Sequence[int]) -> list[int]:
    """Return for how many images each of some files has to have something, as the files of the images have so many.

    Parameters
    ----------
    argument, what : str
        Argument that names the files, and what is in them, for the error; empty for images.
    n_files : int
    sizes : sequence of int
        Number of images in each file of images.

    Raises
    ------
    ValueError
        If there is neither one file for all images, nor one for each file of images.
    """
    if n_files == len(sizes):
        return list(sizes)
    if n_files == 1:
        return [sum(sizes)]
    rule = "there must be one for all images, or one for each file of images"
    raise ValueError(f"{argument}: {n_files} files{what and f' of {what}'} for {len(sizes)} files of images; {rule}")


def check_order(name: str, argument: str, files: Sequence[str], paths: Sequence[str], may_be_array: bool = True) -> None:
    """Check that files of labels, which a pattern names, come in the order of the files of images.

    Parameters
    ----------
    name : str
        FILE:NAME.
    argument : str
        What errors call it, such as "labels".
    files, paths : sequence of str
        Files of labels, in alphabetical order, and of images.
    may_be_array : bool
        Whether the argument may be an array instead.

    Raises
    ------
    ValueError
        If the files of images are in another order, or the names tell that a file belongs to another one.
    """
    if len(files) != len(paths) or len(paths) == 1:
        return
    or_array = f", or pass {argument} as an array, in the order of the images" if may_be_array else ""
    way_out = f"name both by patterns that sort alike{or_array}"
    if (place := wrong_pair(files, paths, alike=False)) is not None:
        pair = f"{files[place]!r} with {paths[place]!r}"
        raise ValueError(f"{argument}={name!r} are files in alphabetical order, which would pair {pair}; {way_out}")
    if list(paths) != sorted(paths) and marks_of(files) != marks_of(paths):
        place = next(k for k, path in enumerate(sorted(paths)) if path != paths[k])
        found = f"which files= are not: {paths[place]!r} is at place {place}"
        raise ValueError(f"{argument}={name!r} are files in alphabetical order, {found}; sort them, or {way_out}")
