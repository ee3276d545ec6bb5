"""What a conversion may write: not over a file that it reads, not where there is no room."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterable, Sequence

from fastprep.h5.marks import is_own
from fastprep.h5.sources import source_files
from fastprep.system import check_replaceable


def check_target(sources: Sequence[str], elsewhere: Iterable[str], target: str, overwrite: bool) -> None:
    """Check that a file may be written.

    Parameters
    ----------
    sources : sequence of str
        Files that are converted.
    elsewhere : iterable of str
        Other files that have some of their images.
    target : str
    overwrite : bool
        Whether the user asked for replacing it.

    Raises
    ------
    OSError
        If it is a folder, one of the sources, or there already, and may not be replaced.
    """
    if not os.path.basename(target):
        raise IsADirectoryError(f"the name of a file to write is needed, found {target!r}")
    if os.path.isdir(target):
        raise IsADirectoryError(f"{target!r} is a folder; the name of a file is needed")
    read = itertools.chain(sources, elsewhere)
    if os.path.exists(target) and any(os.path.exists(name) and os.path.samefile(name, target) for name in read):
        raise shutil.SameFileError(f"{target!r} is a file that the images are read from; a file is not converted in place")
    inputs = itertools.chain.from_iterable(map(source_files, sources))
    check_replaceable(target, asked=overwrite, is_own=is_own, inputs=inputs)


def check_space(target: str, n_bytes: int) -> None:
    """Check that the disk has room for a lower limit of what is needed.

    Raises
    ------
    OSError
        If it has not.
    """
    folder = os.path.dirname(os.path.abspath(target))
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    total, _, free = shutil.disk_usage(folder)
    if total and n_bytes > free:  # systems such as /proc have no room to count; writing there says what is wrong
        raise OSError(f"{target!r} needs {n_bytes / 1e6:,.0f} MB, but {folder!r} has {free / 1e6:,.0f} MB free")
