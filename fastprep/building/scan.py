"""Search of a folder for images, with an account of every file in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fastprep.building.decode import ENDINGS
from fastprep.errors import InputError
from fastprep.system import is_machine_fault

IMAGE, USED, UNREADABLE, SKIPPED, MISSING = "image", "used", "unreadable", "skipped", "missing"


@dataclass
class SourceFile:
    """A file, or a folder that is not searched, and its fate on the way to a data set.

    Attributes
    ----------
    name : str
        Path below the folder of images, with "/" as separator and at the end of a folder's name.
    path : str
        Path to open it by.
    status : str
        IMAGE until it is USED or UNREADABLE; SKIPPED; MISSING if only a list names it.
    why : str
        Reason why it is not used, or a remark for its owner.
    label : str
        Name of its class; empty if it has none.
    split : str
        "train", "val" or "test"; empty if it has none.
    n_bytes, mtime_ns : int
        Size and time of the last change when it was found.
    width, height : int
        Size of the upright image in pixels; 0 until it is read.
    """

    name: str
    path: str
    status: str = IMAGE
    why: str = ""
    label: str = ""
    split: str = ""
    n_bytes: int = 0
    mtime_ns: int = 0
    width: int = 0
    height: int = 0

    def skip(self, why: str) -> None:
        """Mark it as not used."""
        self.status, self.why = SKIPPED, why

    @property
    def shown(self) -> str:
        """The name as text that can be written anywhere, even where it is not UTF-8."""
        return shown(self.name)


def shown(name: str) -> str:
    r"""Return a file name as text: bytes that are not UTF-8 become \x escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def find(root: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> list[SourceFile]:
    """List everything in a folder and below it.

    Links are followed, but no file or folder is taken twice, because an image under two names could end up in both training and
    test.

    Parameters
    ----------
    root : str or path
    out : str or path, optional
        Folder that is not searched.

    Returns
    -------
    list of SourceFile
        Sorted by name, with status IMAGE or SKIPPED.

    Raises
    ------
    InputError
        If `root` is not a folder, or can't be read.
    """
    root = os.fspath(root)
    if not os.path.isdir(root):
        problem = "is a file, not a folder" if os.path.exists(root) else "does not exist"
        raise InputError(f"IMAGES: {root!r} {problem}")
    found: list[SourceFile] = []
    folders: dict[tuple[int, int], str] = {}
    if out is not None and os.path.isdir(out) and not os.path.samefile(root, out):
        folders[_identity(os.stat(out))] = "OUT"
    linked = [("", root)]
    while linked:  # real folders come first, so that the link counts as the second name
        name, path = linked.pop(0)
        if name and (other := folders.get(_identity(os.stat(path)))) is not None:
            found.append(SourceFile(name, path, SKIPPED, f"link to a folder that is taken already: {other or '.'}"))
            continue
        below, links = _walk(name, path, folders)
        found += below
        linked = sorted(linked + links)
    _leave_out_twins(found)
    return sorted(found, key=lambda file: file.name)


def _walk(name: str, path: str, folders: dict[tuple[int, int], str]) -> tuple[list[SourceFile], list[tuple[str, str]]]:
    """Return everything in a folder, and the links to other folders."""
    found: list[SourceFile] = []
    links: list[tuple[str, str]] = []
    left = [(name, path)]
    while left:
        name, path = left.pop()
        if name and (other := folders.get(_identity(os.stat(path)))) is not None:
            found.append(
                SourceFile(name, path, SKIPPED, "the output folder" if other == "OUT" else f"the same folder as {other}")
            )
            continue
        folders[_identity(os.stat(path))] = name
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError as error:
            if not name or not isinstance(error, PermissionError):
                raise InputError(f"IMAGES: {path!r}: {error.strerror}") from None
            found.append(SourceFile(name, path, SKIPPED, f"folder that can't be read: {error.strerror}"))
            continue
        if not entries and name:
            found.append(SourceFile(name, path, SKIPPED, "empty folder"))
        for entry in entries:
            file = _look_at(name, entry)
            if file.status == IMAGE and file.name.endswith("/"):
                (links if entry.is_symlink() else left).append((file.name, file.path))
            else:
                found.append(file)
    return found, links


def _look_at(folder: str, entry: os.DirEntry[str]) -> SourceFile:
    """Return the kind of an entry; a folder to search has status IMAGE and a name that ends with "/"."""
    file = SourceFile(folder + entry.name, entry.path)
    try:
        status = entry.stat()
    except FileNotFoundError:
        file.skip("link that leads nowhere" if entry.is_symlink() else "gone before it was looked at")
        return file
    except OSError as error:
        if is_machine_fault(error) and not isinstance(error, (PermissionError, NotADirectoryError)):
            raise InputError(f"IMAGES: {entry.path!r}: {error.strerror}; the machine is at fault, not the file") from None
        file.skip(f"link in a circle: {error.strerror}" if entry.is_symlink() else str(error.strerror))
        return file
    if stat.S_ISDIR(status.st_mode):
        file.name += "/"
        if entry.name.startswith("."):
            file.skip("hidden folder, not searched")
    elif entry.name.startswith("."):
        file.skip("hidden")
    elif not stat.S_ISREG(status.st_mode):
        file.skip("not a regular file")
    elif Path(entry.name).suffix.lower() not in ENDINGS:
        file.skip("not an image, by the ending of its name")
    file.n_bytes, file.mtime_ns = status.st_size, status.st_mtime_ns
    return file


def _leave_out_twins(found: list[SourceFile]) -> None:
    """Keep one of several names of a file: a real one rather than a link, then the first in alphabetical order."""
    first: dict[tuple[int, int], str] = {}
    for file in sorted(_images(found), key=lambda file: (os.path.islink(file.path), file.name)):
        try:
            identity = _identity(os.stat(file.path))
        except OSError:
            continue  # it has disappeared; reading it will report that
        if identity in first:
            file.skip(f"the same file as {shown(first[identity])}")
        else:
            first[identity] = file.name


def _images(found: list[SourceFile]) -> Iterator[SourceFile]:
    return (file for file in found if file.status == IMAGE)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
