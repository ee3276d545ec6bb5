"""The hidden folder of a build: one process at a time, and whole files that get their names at the end."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from fastprep.errors import InputError

_LOCK, _FINISHED, _CONTENTS = "lock", "finished", "contents.json"


def key_of(*parts: object) -> str:
    """Return a digest of anything that JSON can hold."""
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder, and keep other processes out of it.

    Raises
    ------
    InputError
        If another process is at it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / _LOCK, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another build is at work in {str(folder.parent)!r}") from None
        yield


def clear(folder: Path) -> None:
    """Remove everything in the folder but the lock."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != _LOCK:
            path.unlink()


def remove(folder: Path) -> None:
    """Remove the folder."""
    clear(folder)
    (folder / _LOCK).unlink(missing_ok=True)
    folder.rmdir()


@contextlib.contextmanager
def finishing(folder: Path, key: str) -> Iterator[Path]:
    """Make files that `publish` can name, all of them or none.

    Parameters
    ----------
    folder : Path
        The work folder.
    key : str
        Of everything that the files depend on.

    Yields
    ------
    Path
        Where to write them.
    """
    part = folder / "finishing"
    for old in (part, folder / _FINISHED):
        if old.exists():
            shutil.rmtree(old)
    part.mkdir()
    yield part
    contents = {"key": key, "names": sorted(path.name for path in part.iterdir())}
    (part / _CONTENTS).write_text(json.dumps(contents))
    for path in part.iterdir():
        _to_disk(path)
    part.rename(folder / _FINISHED)


def is_finished(folder: Path, key: str) -> bool:
    """Return whether there are whole files of that key, some of which may have their names already."""
    contents = _contents(folder)
    return contents is not None and contents["key"] == key


def publish(folder: Path, names: Sequence[str]) -> None:
    """Give whole files their names in the folder above, and remove the work folder; if this is ended, call it again.

    Parameters
    ----------
    folder : Path
        The work folder; `is_finished`.
    names : sequence of str
        Of all files there may be, that which people look for first first. Those that were not made now, but by an earlier
        build, are removed: they would not fit the others.
    """
    contents = _contents(folder)
    assert contents is not None
    out = folder.parent
    for name in names:
        if name not in contents["names"]:
            (out / name).unlink(missing_ok=True)
    for name in reversed(names):
        if (folder / _FINISHED / name).exists():
            os.replace(folder / _FINISHED / name, out / name)
    remove(folder)


def _contents(folder: Path) -> dict | None:
    try:
        return json.loads((folder / _FINISHED / _CONTENTS).read_text())
    except (OSError, ValueError):
        return None


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
