"""Files and folders that appear completely or not at all."""

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
    """Name the file in errors of a full disk, which neither HDF5 nor writing to an open file does.

    Parameters
    ----------
    path : str or path
        Name of the file in errors.

    Raises
    ------
    OSError
        If the disk is full, with the name of the file.
    """
    try:
        yield
    except Exception as problem:  # HDF5 raises RuntimeError for a file that can't be closed, and copying raises DataError
        found: BaseException | None = problem
        while found is not None:  # the first failure may be hidden by another one of the cleaning up
            code = next((code for code in NO_ROOM if f"errno = {code}," in str(found)), getattr(found, "errno", None))
            if code in NO_ROOM:
                raise OSError(code, os.strerror(code), os.fspath(path)) from problem
            found = found.__context__
        raise


def flush_to_disk(path: str | os.PathLike[str], *, forget: bool = False) -> None:
    """Wait until a file, or the names in a folder, are on the disk.

    Parameters
    ----------
    path : str or path
    forget : bool
        Whether the system drops the file from its page cache, so that it is read back from the disk.

    Raises
    ------
    OSError
        If the disk fails.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        if forget:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[str]:
    """Write a file under a temporary name beside `path`, and rename it at the end.

    Parameters
    ----------
    path : str or path
        Final path of the file. An existing file is replaced, and missing folders are made.

    Yields
    ------
    str
        The temporary path: hidden, in the same folder, with the same suffix, by which Keras chooses a format.

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
    """Fill a folder under a temporary name, and rename it at the end.

    Parameters
    ----------
    path : str or path
        Final path of the folder. Missing folders above it are made.
    overwrite : bool
        Replace an existing folder.

    Yields
    ------
    Path
        The temporary folder.

    Raises
    ------
    FileExistsError
        If the path exists and `overwrite` is False.
    OSError
        If the disk is full, naming `path`.
    """
    target = Path(os.path.abspath(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    old = target.with_name(f".{target.name}.{os.getpid()}.old.part")
    shutil.rmtree(temporary, ignore_errors=True)  # left by a process with the same number, such as one in another container
    temporary.mkdir(parents=True)
    try:
        with named_if_full(path):
            yield temporary
        if target.exists():
            if not overwrite:
                raise FileExistsError(f"{os.fspath(path)!r} exists already; it is only replaced when asked to")
            target.rename(old)  # the system does not replace a folder that is not empty
        try:
            temporary.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    finally:
        for rest in (temporary, old):
            shutil.rmtree(rest, ignore_errors=True)
