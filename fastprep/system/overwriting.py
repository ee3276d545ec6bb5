"""What an overwriting command may replace: only what fastprep wrote, and never what the same command reads."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from fastprep.errors import InputError, NotReplacedError
from fastprep.system.schemes import has_scheme, without_user

_WAY_OUT = "move it away, or choose another name"


def check_replaceable(
    path: str | os.PathLike[str],
    *,
    asked: bool,
    is_own: Callable[[Path], bool],
    inputs: Iterable[str | os.PathLike[str]] = (),
    folder: bool = False,
) -> None:
    """Check that there is nothing at a path, or only something that may be replaced.

    Parameters
    ----------
    path : str or path
        File or folder that a command is going to write.
    asked : bool
        Whether the user asked for replacing it.
    is_own : callable
        Function that takes the path and says whether what is there carries the mark of fastprep. The mark is inside the file or
        folder, because a name says nothing about who wrote it.
    inputs : iterable of str or path
        Files that the command reads; it is iterated over only if something is there.
    folder : bool
        Whether the command writes a folder.

    Raises
    ------
    FileExistsError
        If there is something, and the user did not ask for replacing it.
    NotReplacedError
        If it was not written by fastprep, is a link or of another kind, is one of the inputs (under this or another name, such
        as a hard link), or is a folder that holds an input or the working folder.
    InputError
        If it is the address of a remote file.
    """
    check_local(path)
    path = Path(path)
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    if not asked:
        raise FileExistsError(f"{str(path)!r} exists already; it is only replaced when asked to")
    if stat.S_ISLNK(found.st_mode):
        raise NotReplacedError(f"{str(path)!r} is a link to {os.readlink(path)!r}, and is not replaced: {_WAY_OUT}")
    if not (stat.S_ISDIR if folder else stat.S_ISREG)(found.st_mode):
        wanted = "a folder" if folder else "a regular file"
        raise NotReplacedError(f"{str(path)!r} is not {wanted}, and is not replaced: {_WAY_OUT}")
    if folder:
        _check_holds_nothing_in_use(path, inputs)
    else:
        _check_is_no_input(path, found, inputs)
    if not is_own(path):
        what = "folder" if folder else "file"
        problem = f"has no mark of fastprep, and a {what} that it did not write is not replaced"
        raise NotReplacedError(f"{str(path)!r} {problem}: {_WAY_OUT}")


def check_creatable(path: str | os.PathLike[str]) -> None:
    """Check, before long work, that a folder can be created at a path, or that something can be written beside it.

    Raises
    ------
    OSError
        If not, for example because the file system is read-only, naming `path`.
    InputError
        If it is the address of a remote file.
    """
    check_local(path)
    above = Path(os.path.abspath(path)).parent
    while not above.exists() and above != above.parent:
        above = above.parent
    probe = above / f".fastprep-{secrets.token_hex(8)}.part"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), os.fspath(path)) from None


def check_local(path: str | os.PathLike[str]) -> None:
    """Check that a path to write to is one of this machine, and no address, which would become a folder named ``s3:``.

    Raises
    ------
    InputError
        If it is not.
    """
    if has_scheme(os.fspath(path)):
        raise InputError(
            f"{without_user(os.fspath(path))!r} is an address, and files are written on this machine: copy them there afterwards"
        )


def _check_is_no_input(path: Path, found: os.stat_result, inputs: Iterable[str | os.PathLike[str]]) -> None:
    for name in inputs:
        try:
            other = os.stat(name)
        except OSError:
            continue  # a missing input is for the command to report
        if os.path.samestat(found, other):
            same = "" if os.path.abspath(name) == os.path.abspath(path) else f" (it is the same file as {os.fspath(name)!r})"
            raise NotReplacedError(f"{str(path)!r} is read by this command{same}, and is not replaced: choose another name")


def _check_holds_nothing_in_use(path: Path, inputs: Iterable[str | os.PathLike[str]]) -> None:
    real = os.path.realpath(path)
    if _is_inside(os.getcwd(), real):
        raise NotReplacedError(f"{str(path)!r} is the working folder, or holds it, and is not replaced: choose another name")
    names = list(inputs)
    for name in names:
        if _is_inside(os.path.realpath(name), real):
            raise NotReplacedError(
                f"{str(path)!r} holds {os.fspath(name)!r}, which this command reads, and is not replaced: choose another name"
            )
    inside = list(_stats_of_entries(path))
    for name in names:
        if os.path.exists(name) and any(os.path.samestat(os.stat(name), other) for other in inside):
            raise NotReplacedError(
                f"{str(path)!r} holds a hard link to {os.fspath(name)!r}, which this command reads: choose another name"
            )


def _stats_of_entries(folder: Path) -> Iterator[os.stat_result]:
    for entry in os.scandir(folder):
        with contextlib.suppress(FileNotFoundError):  # somebody removed it since it was listed
            yield entry.stat(follow_symlinks=False)


def _is_inside(path: str, folder: str) -> bool:
    return os.path.commonpath((path, folder)) == folder
