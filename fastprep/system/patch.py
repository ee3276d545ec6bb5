"""Small changes inside a large file: either all of them are made, or the old bytes are put back.

A copy that is renamed at the end would be simpler, and costs the whole file once more. Here the old bytes of what changes are
kept in a small file beside it until the change is on the disk, and room for what is added is reserved first.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import json
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from fastprep.system.atomic import flush_to_disk

_MARK = "fastprep undo"
_FOLDER_IS_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_RESERVING = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


@dataclass(frozen=True)
class Change:
    """New bytes for a part of a file.

    Attributes
    ----------
    offset : int
        First byte in the file.
    old, new : bytes
        Of the same length; `old` is empty where the file ends before `offset`.
    """

    offset: int
    old: bytes
    new: bytes


def change_file(path: str | os.PathLike[str], descriptor: int, changes: Sequence[Change]) -> None:
    """Make changes in a file; if that fails, the file has its old bytes again.

    What is added behind the end comes first, where no reader looks yet, and then the rest in ascending order. A process that is
    killed between leaves the file with old bytes beside it, which `undo_half_made` puts back.

    Parameters
    ----------
    path : str or path
    descriptor : int
        The file, open for reading and writing, and locked.
    changes : sequence of Change
        Each either inside the file or behind its end.

    Raises
    ------
    OSError
        If the disk is full or fails; then nothing has changed. If the old bytes can't be put back either, the text says where
        they are.
    """
    size = os.fstat(descriptor).st_size
    inside = sorted((change for change in changes if change.offset < size), key=lambda change: change.offset)
    behind = sorted((change for change in changes if change.offset >= size), key=lambda change: change.offset)
    kept = _keep_old_bytes(undo_path(path), inside)
    try:
        if behind:
            _reserve(descriptor, size, behind[-1].offset + len(behind[-1].new))
        for change in behind:
            _write(descriptor, change.offset, change.new)
        os.fsync(descriptor)
        for change in inside:
            _write(descriptor, change.offset, change.new)
        os.fsync(descriptor)
    except BaseException as error:
        try:
            for change in inside:
                _write(descriptor, change.offset, change.old)
            os.ftruncate(descriptor, size)
            os.fsync(descriptor)
        except OSError as second:
            where = f"; its old bytes are in {undo_path(path)!r}, and are put back by the next attempt" if kept else ""
            raise OSError(
                second.errno, f"{second.strerror}, and the file is only half changed{where}", os.fspath(path)
            ) from error
        _forget(path, kept)
        raise
    _forget(path, kept)


def undo_half_made(path: str | os.PathLike[str]) -> bool:
    """Put the old bytes back into a file in whose change a process was killed.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    bool
        Whether there was such a change.

    Raises
    ------
    OSError
        If what lies there was not made by this user, or does not fit the file, or if the disk fails.
    """
    kept = undo_path(path)
    if not os.path.lexists(kept):
        return False
    descriptor = os.open(path, os.O_RDWR)
    try:
        if not lock(descriptor):
            raise OSError(errno.EAGAIN, "a program has it open", os.fspath(path))
        changes = _read_kept(kept, path)
        if changes is not None:
            _put_back(descriptor, changes, kept, path)
        with contextlib.suppress(FileNotFoundError):  # a change that came to its end before the lock was free
            os.unlink(kept)
    finally:
        os.close(descriptor)
    return changes is not None


def lock(descriptor: int) -> bool:
    """Take the lock of a file for this process alone, as HDF5 does; where there are no locks, go without.

    Returns
    -------
    bool
        False if a program has it.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EAGAIN, errno.EACCES)
    return True


def undo_path(path: str | os.PathLike[str]) -> str:
    """Return where the old bytes of a file are while it is changed: beside the file, whatever link leads to it."""
    folder, name = os.path.split(os.path.realpath(path))
    return os.path.join(folder, f".{name}.fastprep-undo")


def _read_kept(kept: str, path: str | os.PathLike[str]) -> list[Change] | None:
    """Return the changes that were to be made; None if the process was killed before it had begun, or after it was done."""
    in_the_way = f"it is in the way of a change of {os.fspath(path)!r}"
    try:
        descriptor = os.open(kept, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}; {in_the_way}", kept) from error
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise OSError(errno.EPERM, f"not a file of this user; {in_the_way}", kept)
        return _parsed(file.read())


def _put_back(descriptor: int, changes: list[Change], kept: str, path: str | os.PathLike[str]) -> None:
    for change in changes:
        found = os.pread(descriptor, len(change.old), change.offset)
        same_length = len(found) == len(change.old)
        if not same_length or any(byte not in pair for byte, *pair in zip(found, change.old, change.new, strict=True)):
            problem = f"does not fit {os.fspath(path)!r}, which has changed since; remove it if that file is good"
            raise OSError(errno.EINVAL, problem, kept)
    for change in changes:
        _write(descriptor, change.offset, change.old)
    os.fsync(descriptor)


def _keep_old_bytes(kept: str, changes: list[Change]) -> bool:
    """Write the old bytes beside the file; False if its folder can't be written to, so that only a kill would do harm."""
    try:
        descriptor = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if error.errno in _FOLDER_IS_CLOSED:
            return False
        raise
    listed = [[change.offset, _as_text(change.old), _as_text(change.new)] for change in changes]
    try:
        with open(descriptor, "wb") as file:
            file.write(json.dumps({"what": _MARK, "changes": listed}).encode())
        flush_to_disk(kept)
        flush_to_disk(os.path.dirname(kept))
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(kept)
        raise
    return True


def _forget(path: str | os.PathLike[str], kept: bool) -> None:
    if kept:
        with contextlib.suppress(OSError):  # the file is whole, and the next change finds that, too
            os.unlink(undo_path(path))


def _parsed(text: bytes) -> list[Change] | None:
    """Return the changes of a text; None if it is not complete."""
    try:
        read = json.loads(text)
        if read["what"] != _MARK:
            return None
        changes = [Change(int(offset), base64.b64decode(old), base64.b64decode(new)) for offset, old, new in read["changes"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return changes if all(len(change.old) == len(change.new) for change in changes) else None


def _as_text(values: bytes) -> str:
    return base64.b64encode(values).decode("ascii")


def _reserve(descriptor: int, start: int, end: int) -> None:
    if not hasattr(os, "posix_fallocate"):  # as on macOS; then writing finds out
        return
    try:
        os.posix_fallocate(descriptor, start, end - start)
    except OSError as error:
        if error.errno not in _NO_RESERVING:  # then writing finds out
            raise


def _write(descriptor: int, offset: int, values: bytes) -> None:
    rest = memoryview(values)
    while rest:
        n = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[n:], offset + n
