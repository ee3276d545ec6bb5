"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def named_if_full(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name the file where a disk is full: neither writing to an open file nor HDF5 says which it was.

    Parameters
    ----------
    path : str or path
        What errors call it.

    Raises
    ------
    OSError
        With the file's name, if there is no room left.
    """
    try:
        yield
    except Exception as problem:  # HDF5 has a RuntimeError for a file that can't be closed, and a copy has a DataError
        found: BaseException | None = problem
        while found is not None:  # what failed first may be hidden by what failed in cleaning up
            code = next((code for code in NO_ROOM if f"errno = {code}," in str(found)), getattr(found, "errno", None))
            if code in NO_ROOM:
                raise OSError(code, os.strerror(code), os.fspath(path)) from problem
            found = found.__context__
        raise


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

    Raises
    ------
    OSError
        If the disk is full, naming `path`.
    """
    folder, name = os.path.split(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    stem, ending = os.path.splitext(name)
    temporary = os.path.join(folder, f".{stem}.{os.getpid()}.part{ending}")
    try:
        with named_if_full(path):
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
    OSError
        If the disk is full, naming `path`.
    """
    target = Path(os.path.abspath(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    old = target.with_name(f".{target.name}.{os.getpid()}.old.part")
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that had the same number, in another container, say
    temporary.mkdir(parents=True)
    try:
        with named_if_full(path):
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
