"""Files by path, glob pattern, or list of paths."""

from __future__ import annotations

import glob
import logging
import os
from collections import Counter
from collections.abc import Sequence

from fastprep import remote

_log = logging.getLogger(__name__)

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def expand_paths(files: Paths, argument: str = "files") -> list[str]:
    """Return the paths that a `files` argument stands for.

    Parameters
    ----------
    files : path, glob pattern, or sequence of paths
    argument : str
        Name of the argument, for errors.

    Returns
    -------
    list of str
        Files of a pattern come in alphabetical order. A list may name a file more than once, which is said in a warning.

    Raises
    ------
    FileNotFoundError
        If no file matches a pattern.
    ValueError
        If `files` is an empty sequence, or something other than paths.
    """
    several = isinstance(files, Sequence) and not isinstance(files, bytes)
    if not isinstance(files, str | os.PathLike) and not (several and all(isinstance(path, str | os.PathLike) for path in files)):
        raise ValueError(f"{argument} must be a path, a glob pattern, or a list of paths, got {files!r}")
    if isinstance(files, str | os.PathLike):
        if remote.is_address(files):
            return remote.expand(os.fspath(files))
        path = os.path.expanduser(os.fspath(files))
        if os.path.exists(path) or not glob.has_magic(path):
            return [path]
        found = sorted(glob.glob(path, recursive=True))
        if not found:
            raise FileNotFoundError(f"{argument}: no file matches {path!r}")
        return found
    named = [os.fspath(path) for path in files]
    addresses = [path for path in named if remote.is_address(path)]
    names = dict(zip(addresses, remote.expand_each(addresses), strict=True)) if addresses else {}
    paths = [names.get(path) or os.path.expanduser(path) for path in named]
    if not paths:
        raise ValueError(f"{argument} must name at least one file, got an empty list")
    if again := [path for path, n in Counter(paths).items() if n > 1]:
        others = "" if len(again) == 1 else f", and {len(again) - 1} others"
        _log.warning("%s names %r more than once%s: each sample of it comes as often in an epoch", argument, again[0], others)
    return paths
