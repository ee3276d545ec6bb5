"""A mean stored in an existing file, so that the file is whole whatever fails.

HDF5 changes several blocks of a file for an attribute, and leaves it damaged if it can write only some of them. So it works on
an `Overlay`, which keeps what it writes in memory, and what has changed is then written by `fastprep.system.change_file`.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.errors import DataError
from fastprep.h5.files import HDF5_ERRORS, open_file, opening_problem
from fastprep.h5.groups import ImageGroup, get_images, owner_of
from fastprep.system import Change, change_file, lock, undo_half_made
from fastprep.system.atomic import named_if_full

_PAGE = 4096


class Overlay(io.RawIOBase):
    """A file whose changes stay in memory.

    Parameters
    ----------
    descriptor : int
        A file that is open for reading; the overlay does not close it.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor, self._position = descriptor, 0
        self._old_size = self._size = os.fstat(descriptor).st_size
        self._pages: dict[int, bytearray] = {}

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def writable(self) -> bool:
        """Whether it can be written: yes."""
        return True

    def seekable(self) -> bool:
        """Whether it has a position: yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position."""
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read from the position on, and return the number of bytes."""
        view = memoryview(buffer).cast("B")
        n = max(0, min(len(view), self._size - self._position))
        found = os.pread(self._descriptor, n, self._position)
        view[: len(found)] = found
        view[len(found) :] = bytes(len(view) - len(found))
        for page, inside, start, length in _pieces(self._position, n):
            if page in self._pages:
                view[start : start + length] = self._pages[page][inside : inside + length]
        self._position += n
        return n

    def write(self, values: memoryview) -> int:  # type: ignore[override]
        """Write at the position, and return the number of bytes."""
        view = memoryview(values).cast("B")
        for page, inside, start, length in _pieces(self._position, len(view)):
            if page not in self._pages:
                self._pages[page] = bytearray(os.pread(self._descriptor, _PAGE, page * _PAGE).ljust(_PAGE, b"\0"))
            self._pages[page][inside : inside + length] = view[start : start + length]
        self._position += len(view)
        self._size = max(self._size, self._position)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Make the file longer. It never gets shorter than it was, because what follows its contents is not HDF5's."""
        self._size = max(self._old_size, self._position if size is None else size)
        return self._size

    def changes(self) -> list[Change]:
        """Return what has been written and differs from the file: a change or two for each page of 4 KiB."""
        found = []
        for page, values in sorted(self._pages.items()):
            start, end = page * _PAGE, min((page + 1) * _PAGE, self._size)
            middle = min(max(start, self._old_size), end)
            old = os.pread(self._descriptor, middle - start, start)
            differing = [k for k in range(len(old)) if old[k] != values[k]]
            if differing:
                first, last = differing[0], differing[-1] + 1
                found.append(Change(start + first, old[first:last], bytes(values[first:last])))
            if end > middle:
                found.append(Change(middle, b"", bytes(values[middle - start : end - start])))
        return found


def _pieces(position: int, n: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield for each page of `n` bytes: its number, where they begin in it, where among all of them, and how many there are."""
    start = 0
    while start < n:
        page, inside = divmod(position + start, _PAGE)
        length = min(_PAGE - inside, n - start)
        yield page, inside, start, length
        start += length


def store_mean(
    path: str | os.PathLike[str],
    images: str,
    mean: NDArray[np.float64],
    overwrite: bool = False,
    channels: int | None = None,
    covariance: NDArray[np.float64] | None = None,
) -> None:
    """Write the mean of each channel into an existing file: attribute `mean` of the images.

    Only that attribute, and `covariance` if it is given, changes. If the disk is full, or anything else fails, the file has its
    old bytes; if the process is killed in the middle, the next call puts them back.

    Parameters
    ----------
    path : str or path
    images : str
        Name of the dataset; or "X/" for images that have a dataset each in a group, which then gets the attribute.
    mean : ndarray of float64, shape (C,)
        Finite.
    overwrite : bool
        Replace an existing mean.
    channels : int, optional
        Number of channels of the images. None: that of a dataset (N, H, W, C) or (N, H, W).
    covariance : ndarray of float64, shape (C, C), optional
        Covariance of the channels, which is stored as the attribute `covariance`.

    Raises
    ------
    FileExistsError
        If the file has a mean and `overwrite` is False.
    OSError
        If the file can't be written to, or the disk is full.
    DataError
        If the mean is not one finite number for each channel, or the images lie in another file; see also
        `fastprep.h5.open_images`.
    """
    path = os.fspath(path)
    undo_half_made(path)
    with open_file(path) as file:
        _check(file, path, images, np.asarray(mean, np.float64), overwrite, channels)
    stored = {"mean": np.asarray(mean, np.float64)}
    if covariance is not None:
        stored["covariance"] = np.asarray(covariance, np.float64)
    with named_if_full(path), _locked(path) as descriptor:
        overlay = Overlay(descriptor)
        try:
            with h5py.File(overlay, "r+") as file:
                owner, dataset = _owner_of(file, images)
                before = _storage(dataset)
                for name, values in stored.items():
                    owner.attrs[name] = values
            with h5py.File(overlay, "r") as file:
                owner, dataset = _owner_of(file, images)
                as_wanted = all(np.array_equal(owner.attrs[name], values) for name, values in stored.items())
                as_wanted = as_wanted and _storage(dataset) == before
        except HDF5_ERRORS as error:
            problem = opening_problem(path, error) if isinstance(error, OSError) else str(error)
            raise DataError(f"the mean can't be stored: {problem}", path, images) from error
        if not as_wanted:
            raise DataError("the mean can't be stored: HDF5 does not read it back; the file has not been changed", path, images)
        change_file(path, descriptor, overlay.changes())


def _owner_of(file: h5py.File, images: str) -> tuple[h5py.Group | h5py.Dataset, h5py.Dataset]:
    """Return what has the attributes of the images, and the dataset that has them, or the first of them."""
    found = get_images(file, images)
    return owner_of(found), found.first if isinstance(found, ImageGroup) else found


def _check(file: h5py.File, path: str, images: str, mean: NDArray[np.float64], overwrite: bool, channels: int | None) -> None:
    owner, dataset = _owner_of(file, images)
    holder = os.fsdecode(owner.file.filename)
    if not os.path.samefile(holder, path):
        problem = f"the images lie in another file, {holder!r}, as {owner.name!r}: store the mean there"
        raise DataError(problem, path, images)
    if channels is None:
        channels = dataset.shape[-1] if dataset.ndim == (3 if owner is not dataset else 4) else 1
    if mean.shape != (channels,) or not np.isfinite(mean).all():
        raise DataError(f"a mean is {channels} finite numbers, found {mean.tolist()}; it is not stored", path, images)
    if "mean" in owner.attrs and not overwrite:
        raise FileExistsError(f"file {path!r}, dataset {images!r} has a mean already; it is only replaced when asked to")


def _storage(dataset: h5py.Dataset) -> tuple:
    """Return facts about a dataset that an attribute must not change."""
    return dataset.shape, dataset.dtype, dataset.chunks, dataset.id.get_offset(), dataset.id.get_storage_size()


@contextlib.contextmanager
def _locked(path: str) -> Iterator[int]:
    """Open a file for reading and writing, with the lock that HDF5 takes; where there are no locks, it goes without.

    Raises
    ------
    OSError
        If it may not be written to.
    DataError
        If another program, or this one, has it open.
    """
    descriptor = os.open(path, os.O_RDWR)  # the system's own error, which names the path
    try:
        if os.environ.get("HDF5_USE_FILE_LOCKING", "").upper() not in ("FALSE", "0") and not lock(descriptor):
            raise DataError("the mean can't be stored: a program has the file open", path)
        yield descriptor
    finally:
        os.close(descriptor)
