"""Files and folders that appear completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_TEMPORARY = re.compile(r"\..*\.fastprep-[0-9a-f]{16}\.part(\..+)?", re.DOTALL)
_LONGEST_STEM = 180  # bytes; most file systems take names of 255


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
        Whether the system drops the file from its page cache, so that it is read back from the disk, if it can be told to.

    Raises
    ------
    OSError
        If the disk fails.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        if forget and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str], *, replace: bool = True) -> Iterator[str]:
    """Write a file under a temporary name beside `path`, and rename it at the end.

    Parameters
    ----------
    path : str or path
        Final path of the file. Missing folders are made. A link of that name is replaced, and not followed.
    replace : bool
        Replace an existing file.

    Yields
    ------
    str
        The temporary path: an empty file, hidden, in the same folder, with the same suffix, by which Keras chooses a format.

    Raises
    ------
    FileExistsError
        If `replace` is False, and there is something of that name at the end.
    OSError
        If the file can't be made, or the disk is full, naming `path`.
    """
    folder, name = os.path.split(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    stem, ending = os.path.splitext(name)
    temporary = os.path.join(folder, _temporary_name(stem) + ending)
    try:
        # whoever wrote in this folder before can't have known the name; if it exists in spite of that, O_EXCL fails
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), os.fspath(path)) from error
    try:
        with named_if_full(path):
            yield temporary
            if replace:
                os.replace(temporary, path)
            else:
                _name_once(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


@contextlib.contextmanager
def whole_folder(path: str | os.PathLike[str], *, replace: Collection[str] | None = None) -> Iterator[Path]:
    """Fill a folder under a temporary name, and rename it at the end.

    Parameters
    ----------
    path : str or path
        Final path of the folder. Missing folders above it are made.
    replace : collection of str, optional
        Replace an existing folder, in which files of these names are removed. Anything else in it moves into the new folder.

    Yields
    ------
    Path
        The temporary folder.

    Raises
    ------
    FileExistsError
        If the path exists and `replace` is None.
    OSError
        If the folder can't be made, or the disk is full, naming `path`.
    """
    target = Path(os.path.abspath(path))
    temporary, old = (target.with_name(_temporary_name(target.name + more)) for more in ("", ".old"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), os.fspath(path)) from error
    try:
        with named_if_full(path):
            yield temporary
        if os.path.lexists(target):
            if replace is None:
                raise FileExistsError(f"{os.fspath(path)!r} exists already; it is only replaced when asked to")
            target.rename(old)  # the system does not replace a folder that is not empty
        temporary.rename(target)
    finally:
        if old.exists():
            if target.exists():
                _empty_into(old, target, replace or ())
            else:
                old.rename(target)
        shutil.rmtree(temporary, ignore_errors=True)


def half_written(folder: Path) -> Iterator[Path]:
    """Yield the temporary files that `whole_file` left in a folder when its process was killed, or has not finished yet.

    A file counts only if it is a regular file, no link, and its name has the form of these names. Whatever else the folder holds
    is not fastprep's, even if it ends with ".part". Folders that are being filled are left out.
    """
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if _TEMPORARY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                yield Path(entry.path)


def _temporary_name(stem: str) -> str:
    """Return a hidden name that nobody can foresee, and that `half_written` recognises."""
    short = os.fsdecode(os.fsencode(stem)[:_LONGEST_STEM])
    return f".{short}.fastprep-{secrets.token_hex(8)}.part"


def _name_once(temporary: str, path: str | os.PathLike[str]) -> None:
    """Give a file its name; whatever has that name already stays."""
    try:
        os.link(temporary, path)  # unlike a check and a rename, this is one step
    except FileExistsError:
        raise FileExistsError(f"{os.fspath(path)!r} exists already; it is only replaced when asked to") from None
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            raise FileExistsError(f"{os.fspath(path)!r} exists already; it is only replaced when asked to") from None
        os.rename(temporary, path)


def _empty_into(old: Path, target: Path, remove: Collection[str]) -> None:
    """Remove a folder and its files of these names; everything else in it moves to the target, or stays where it is."""
    for entry in list(os.scandir(old)):
        if entry.name in remove and not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.path)
        elif not os.path.lexists(target / entry.name):
            os.rename(entry.path, target / entry.name)
    with contextlib.suppress(OSError):
        old.rmdir()
