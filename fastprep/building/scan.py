"""Find the images in a folder, so that every file that is there is accounted for."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fastprep.building.decode import ENDINGS
from fastprep.errors import InputError

IMAGE, USED, UNREADABLE, SKIPPED, MISSING = "image", "used", "unreadable", "skipped", "missing"


@dataclass
class SourceFile:
    """A file, or a folder that is not looked into, and what becomes of it on the way to a data set.

    Attributes
    ----------
    name : str
        Path below the folder of images, parts separated by "/"; a folder's ends with one.
    path : str
        To open it by.
    status : str
        IMAGE until it is USED or UNREADABLE; SKIPPED; MISSING where only a list names it.
    why : str
        Why it is not used, or what its owner should know.
    label : str
        Name of its class; empty without.
    split : str
        "train", "val" or "test"; empty without.
    n_bytes, mtime_ns : int
        As they were when it was found.
    width, height : int
        Of the source, upright; 0 before it was read.
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
    """List what is in a folder and below it.

    Links are followed, but no file or folder is taken twice: one under two names could come into training and test.

    Parameters
    ----------
    root : str or path
    out : str or path, optional
        A folder that is not looked into.

    Returns
    -------
    list of SourceFile
        By name. Status IMAGE, or SKIPPED.

    Raises
    ------
    InputError
        If `root` is no folder, or can't be read.
    """
    root = os.fspath(root)
    if not os.path.isdir(root):
        there = "is a file, not a folder" if os.path.exists(root) else "does not exist"
        raise InputError(f"IMAGES: {root!r} {there}")
    found: list[SourceFile] = []
    folders: dict[tuple[int, int], str] = {}
    if out is not None and os.path.isdir(out) and not os.path.samefile(root, out):
        folders[_identity(os.stat(out))] = "OUT"
    linked = [("", root)]
    while linked:  # real folders first, so that it is the link that counts as the second name
        name, path = linked.pop(0)
        if name and (other := folders.get(_identity(os.stat(path)))) is not None:
            found.append(SourceFile(name, path, SKIPPED, f"link to a folder that is taken already: {other or '.'}"))
            continue
        below, links = _walk(name, path, folders)
        found += below
        linked = sorted(linked + links)
    _leave_out_twins(found)
    return sorted(found, key=lambda one: one.name)


def _walk(name: str, path: str, folders: dict[tuple[int, int], str]) -> tuple[list[SourceFile], list[tuple[str, str]]]:
    """List a folder; return what is there, and the links to folders."""
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
            if not name:
                raise InputError(f"IMAGES: {path!r}: {error.strerror}") from None
            found.append(SourceFile(name, path, SKIPPED, f"folder that can't be read: {error.strerror}"))
            continue
        if not entries and name:
            found.append(SourceFile(name, path, SKIPPED, "empty folder"))
        for entry in entries:
            one = _look_at(name, entry)
            if one.status == IMAGE and one.name.endswith("/"):
                (links if entry.is_symlink() else left).append((one.name, one.path))
            else:
                found.append(one)
    return found, links


def _look_at(folder: str, entry: os.DirEntry[str]) -> SourceFile:
    """Return what an entry is; for a folder to look into, status IMAGE and a name that ends with "/"."""
    one = SourceFile(folder + entry.name, entry.path)
    try:
        about = entry.stat()
    except FileNotFoundError:
        one.skip("link that leads nowhere")
        return one
    except OSError as error:
        one.skip(f"link in a circle: {error.strerror}" if entry.is_symlink() else str(error.strerror))
        return one
    if stat.S_ISDIR(about.st_mode):
        one.name += "/"
        if entry.name.startswith("."):
            one.skip("hidden folder, not looked into")
    elif entry.name.startswith("."):
        one.skip("hidden")
    elif not stat.S_ISREG(about.st_mode):
        one.skip("no regular file")
    elif Path(entry.name).suffix.lower() not in ENDINGS:
        one.skip("not an image, by the ending of its name")
    one.n_bytes, one.mtime_ns = about.st_size, about.st_mtime_ns
    return one


def _leave_out_twins(found: list[SourceFile]) -> None:
    """Keep one of several names of the same file: a real one before a link, then the first by name."""
    first: dict[tuple[int, int], str] = {}
    for one in sorted(_images(found), key=lambda one: (os.path.islink(one.path), one.name)):
        try:
            identity = _identity(os.stat(one.path))
        except OSError:
            continue  # gone since: reading it will say so
        if identity in first:
            one.skip(f"the same file as {shown(first[identity])}")
        else:
            first[identity] = one.name


def _images(found: list[SourceFile]) -> Iterator[SourceFile]:
    return (one for one in found if one.status == IMAGE)


def _identity(about: os.stat_result) -> tuple[int, int]:
    return about.st_dev, about.st_ino
