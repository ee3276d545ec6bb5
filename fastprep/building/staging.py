"""Hidden work folder of a build: for one process at a time, with complete files that get their names at the end."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fastprep.errors import InputError
from fastprep.system import flush_to_disk

_LOCK, _FINISHING, _FINISHED, _CONTENTS = "lock", "finishing", "finished", "contents.json"
_FILES, _FOLDERS = ("key", "pixels", "journal"), (_FINISHING, _FINISHED)
_MARK = b"This folder belongs to fastprep.build, which goes on from it, and removes it at its end.\n"  # in the lock
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


def key_of(*parts: object) -> str:
    """Return a digest of values that JSON can hold."""
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def check(folder: Path) -> None:
    """Check that there is no work folder yet, or one that a build made.

    Raises
    ------
    InputError
        If the folder, or one of the names that a build uses in it, is a link or of another kind, or a build did not make it.
    """
    kinds = {name: stat.S_ISREG for name in (_LOCK, *_FILES)} | {name: stat.S_ISDIR for name in _FOLDERS}
    if not _is_kind(folder, stat.S_ISDIR, "folder"):
        return
    there = [name for name, kind in kinds.items() if _is_kind(folder / name, kind, "file" if kind is stat.S_ISREG else "folder")]
    if _LOCK in there:
        with contextlib.closing(_Descriptor(folder / _LOCK, os.O_RDONLY)) as lock:
            if os.read(lock.number, len(_MARK) + 1) in (b"", _MARK):  # it was empty before it had a mark
                return
    elif not any(folder.iterdir()):
        return
    raise InputError(f"{str(folder)!r} was not made by fastprep.build: move it away, or choose another OUT")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create the folder, and keep other processes out of it.

    Raises
    ------
    InputError
        If another process is building there, or the folder is not that of a build; see `check`.
    """
    check(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(_Descriptor(folder / _LOCK, os.O_RDWR | os.O_CREAT)) as lock:
        try:
            fcntl.flock(lock.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another build is at work in {str(folder.parent)!r}") from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        if os.fstat(lock.number).st_size == 0:
            os.write(lock.number, _MARK)
        yield


def open_own(path: Path, flags: int) -> int:
    """Open a file of the work folder; return its descriptor.

    Parameters
    ----------
    path : Path
    flags : int
        As for `os.open`.

    Raises
    ------
    InputError
        If it is a link, has a second name, or is not a regular file: then it is not one that a build made.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise _foreign(path, "file") from None
        raise
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise _foreign(path, "file")
    return descriptor


def clear(folder: Path) -> None:
    """Remove everything that a build made in the folder but the lock."""
    for name in _FOLDERS:
        if (folder / name).exists():
            shutil.rmtree(folder / name)
    for name in _FILES:
        (folder / name).unlink(missing_ok=True)


def remove(folder: Path) -> None:
    """Remove the folder; if it holds anything that a build did not make, that stays."""
    clear(folder)
    (folder / _LOCK).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


@contextlib.contextmanager
def finishing(folder: Path, key: str) -> Iterator[Path]:
    """Write files that `publish` can name, all of them or none.

    Parameters
    ----------
    folder : Path
        The work folder.
    key : str
        Digest of everything that the files depend on.

    Yields
    ------
    Path
        Folder to write them to.
    """
    part = folder / _FINISHING
    for old in (part, folder / _FINISHED):
        if old.exists():
            shutil.rmtree(old)
    part.mkdir()
    yield part
    contents = {"key": key, "names": sorted(path.name for path in part.iterdir())}
    (part / _CONTENTS).write_text(json.dumps(contents))
    for path in part.iterdir():
        flush_to_disk(path)
    part.rename(folder / _FINISHED)


def is_finished(folder: Path, key: str) -> bool:
    """Return whether the files of that key are complete; some of them may have their names already."""
    contents = _contents(folder)
    return contents is not None and contents["key"] == key


def publish(folder: Path, names: Sequence[str], check_target: Callable[[Sequence[str]], None]) -> None:
    """Give the complete files their names in the folder above, and remove the work folder; call it again if it was interrupted.

    Parameters
    ----------
    folder : Path
        Work folder for which `is_finished` is true.
    names : sequence of str
        Names of all possible files, the most important first. Files of an earlier build that this build does not replace are
        removed, because they would not fit the others.
    check_target : callable
        Function that takes those names that are going to be replaced or removed now, and raises an error if one must stay.
    """
    contents = _contents(folder)
    assert contents is not None
    out = folder.parent
    obsolete = [name for name in names if name not in contents["names"]]
    ready = [name for name in names if (folder / _FINISHED / name).exists()]
    check_target([*obsolete, *ready])
    for name in obsolete:
        (out / name).unlink(missing_ok=True)
    for name in reversed(ready):
        os.replace(folder / _FINISHED / name, out / name)
    remove(folder)


def finished_files(folder: Path) -> list[Path]:
    """Return the complete files that have not been published yet, of any key."""
    contents = _contents(folder)
    return [] if contents is None else [path for name in contents["names"] if (path := folder / _FINISHED / name).exists()]


def _contents(folder: Path) -> dict | None:
    try:
        contents = json.loads((folder / _FINISHED / _CONTENTS).read_text())
    except (OSError, ValueError, RecursionError):
        return None
    is_whole = isinstance(contents, dict) and {"key", "names"} <= contents.keys() and isinstance(contents["names"], list)
    return contents if is_whole and all(isinstance(name, str) and "/" not in name for name in contents["names"]) else None


class _Descriptor:
    """A file of the work folder that is closed at the end."""

    def __init__(self, path: Path, flags: int) -> None:
        self.number = open_own(path, flags)

    def close(self) -> None:
        os.close(self.number)


def _is_kind(path: Path, is_kind: Callable[[int], bool], word: str) -> bool:
    """Return whether a path exists, which must be of that kind and no link."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    if not is_kind(status.st_mode) or (stat.S_ISREG(status.st_mode) and status.st_nlink > 1):
        raise _foreign(path, word)
    return True


def _foreign(path: Path, word: str) -> InputError:
    link = f", but a link to {os.readlink(path)!r}" if path.is_symlink() else ""
    return InputError(f"{str(path)!r} is not a {word} that fastprep.build made{link}: move it away, or choose another OUT")
