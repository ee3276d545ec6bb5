"""Hidden work folder of a build: for one process at a time, with complete files that get their names at the end."""

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
from fastprep.system import flush_to_disk

_LOCK, _FINISHED, _CONTENTS = "lock", "finished", "contents.json"


def key_of(*parts: object) -> str:
    """Return a digest of values that JSON can hold."""
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create the folder, and keep other processes out of it.

    Raises
    ------
    InputError
        If another process is building there.
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
    part = folder / "finishing"
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


def publish(folder: Path, names: Sequence[str]) -> None:
    """Give the complete files their names in the folder above, and remove the work folder; call it again if it was interrupted.

    Parameters
    ----------
    folder : Path
        Work folder for which `is_finished` is true.
    names : sequence of str
        Names of all possible files, the most important first. Files of an earlier build that this build does not replace are
        removed, because they would not fit the others.
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
