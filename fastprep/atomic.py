"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[str]:
    """Write under a temporary name beside `path`, and give the file its name at the end.

    Parameters
    ----------
    path : str or path
        Where the file shall be; one that is there is replaced. Missing folders are made.

    Yields
    ------
    str
        The temporary name: hidden, in the same folder, with the same ending (Keras chooses its format by it).
    """
    folder, name = os.path.split(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    stem, ending = os.path.splitext(name)
    temporary = os.path.join(folder, f".{stem}.{os.getpid()}.part{ending}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


@contextlib.contextmanager
def whole_folder(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Fill a folder under a temporary name, and give it its name at the end.

    Parameters
    ----------
    path : str or path
        Missing folders above it are made.
    overwrite : bool
        Replace one that is there.

    Yields
    ------
    Path
        The temporary folder.

    Raises
    ------
    FileExistsError
        If there is something of that name, and it shall not be replaced.
    """
    target = Path(os.path.abspath(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    old = target.with_name(f".{target.name}.{os.getpid()}.old.part")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if target.exists():
            if not overwrite:
                raise FileExistsError(f"{os.fspath(path)!r} exists already; it is only replaced when asked to")
            target.rename(old)  # the system replaces no folder that has something in it
        try:
            temporary.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    finally:
        for rest in (temporary, old):
            shutil.rmtree(rest, ignore_errors=True)
