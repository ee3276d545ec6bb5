"""Open files of many readers, and a bound on how many are open at a time."""

from __future__ import annotations

import contextlib
import mmap
import os
import resource
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from fastprep import remote
from fastprep.h5.file_bytes import FileBytes, bytes_of, has_plain_bytes, identity_at
from fastprep.h5.files import load_filters, open_hdf5
from fastprep.h5.groups import Images, get_images
from fastprep.system import begin_in_children

_SHARE_OF_LIMIT = 8  # a process has other loaders, sockets, and libraries that open files
_MOST = 128  # an open h5py.File takes 0.6 MB of memory
_LEAST = 2  # indexing a file takes as many
# before Python 3.13 an object of mmap keeps a descriptor of its own, until nothing refers to it any more
_MAPPING: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}
MAPPED_DESCRIPTORS = 1 if _MAPPING else 2
"""Descriptors of an `OpenFile` that is mapped."""


def default_limit() -> int:
    """Return the number of descriptors that one dataset may hold: an eighth of the process's limit, 2 to 128."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else min(_MOST, max(_LEAST, soft // _SHARE_OF_LIMIT))


class Resource(Protocol):
    """Something that can be kept open."""

    def close(self) -> None:
        """Close its descriptors."""


_R = TypeVar("_R", bound=Resource)


class Handles:
    """A pool of open files. The least recently used file is closed first, and none is closed while it is used.

    A thread that asks for room waits until there is some. To exclude deadlocks, a thread that has room must not wait for anything
    that another thread has or makes (room, a block, an index). After a fork the pool is empty, and files are opened again.

    Parameters
    ----------
    limit : int, optional
        Descriptors at a time, 2 and up. By default it is `default_limit()` in the process that makes or unpickles the pool.

    Attributes
    ----------
    limit : int
    n_open : int
        Number of descriptors that are open, or about to be.
    """

    def __init__(self, limit: int | None = None) -> None:
        if limit is not None and limit < _LEAST:
            raise ValueError(f"limit must be at least {_LEAST}, got {limit}")
        self._given = limit
        self.limit = default_limit() if limit is None else limit
        begin_in_children(self)

    def use(self, key: Hashable, cost: int, open_it: Callable[[], _R]) -> _Use[_R]:
        """Return a context that has the resource of a key, which is opened if it is not open, as long as it lasts or longer.

        Parameters
        ----------
        key : hashable
        cost : int
            Number of descriptors that the resource takes, 1 or 2.
        open_it : callable
            Opens the resource; its errors are passed on. Two threads never call it for one key at a time.
        """
        return _Use(self, key, cost, open_it)

    @contextlib.contextmanager
    def room(self, cost: int) -> Iterator[None]:
        """Reserve room for descriptors that the caller opens and closes within the context."""
        with self._lock:
            self._make_room(cost)
        try:
            yield
        finally:
            with self._lock:
                self.n_open -= cost
                self._lock.notify_all()

    def close(self, key: Hashable) -> None:
        """Close the resource of a key, as soon as nobody uses it."""
        with self._lock:
            entry = self._entries.pop(key, None)
            if entry is not None and entry.users == 0:
                self._close(entry)

    def _take(self, key: Hashable, cost: int) -> _Entry:
        with self._lock:
            entry = self._entries.pop(key, None)
            if entry is None:
                new = _Entry(cost)
                self._make_room(cost)
                entry = self._entries.pop(key, None)  # another thread may have opened it meanwhile
                if entry is not None:
                    self.n_open -= cost
                    self._lock.notify_all()
                else:
                    entry = new
            entry.users += 1
            self._entries[key] = entry  # now the last in order
            return entry

    def _give(self, key: Hashable, entry: _Entry) -> None:
        with self._lock:
            entry.users -= 1
            if entry.users == 0 and (entry.resource is None or self._entries.get(key) is not entry):
                if self._entries.get(key) is entry:
                    self._entries.pop(key, None)
                self._close(entry)
            self._lock.notify_all()  # an entry that is not used any more can be closed to make room

    def _make_room(self, cost: int) -> None:
        """Count `cost` more descriptors, once the limit allows it. The lock is held on entry and exit, but not all the time."""
        while self.n_open + cost > self.limit:
            key = next((key for key, entry in list(self._entries.items()) if entry.users == 0), None)
            if key is None:
                self._lock.wait()
            elif (entry := self._entries.pop(key, None)) is not None:
                self._close(entry)
        self.n_open += cost

    def _close(self, entry: _Entry) -> None:
        """Close an entry that no thread can reach any more. The lock is released meanwhile: closing may wait for HDF5's."""
        self._lock.release()
        try:
            if entry.resource is not None:
                entry.resource.close()
        finally:
            self._lock.acquire()
            self.n_open -= entry.cost
            self._lock.notify_all()

    def begin(self) -> None:
        """Begin with an empty pool: neither HDF5's handles nor the lock survive a fork."""
        self.n_open = 0
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        # reentrant: garbage may be collected while it is held, and a finalizer may close a loader
        self._lock = threading.Condition(threading.RLock())

    def __reduce__(self) -> tuple[Any, ...]:
        return Handles, (self._given,)


class _Use(Generic[_R]):
    """A context that has a resource; see `Handles.use`. Each batch enters one, and a generator would take several calls more."""

    def __init__(self, handles: Handles, key: Hashable, cost: int, open_it: Callable[[], _R]) -> None:
        self._handles, self._key, self._cost, self._open_it = handles, key, cost, open_it

    def __enter__(self) -> _R:
        self._entry = entry = self._handles._take(self._key, self._cost)
        try:
            with entry.opening:
                if entry.resource is None:
                    entry.resource = self._open_it()
            resource: _R = entry.resource
            return resource
        except BaseException:
            self._handles._give(self._key, entry)
            raise

    def __exit__(self, *_: object) -> None:
        self._handles._give(self._key, self._entry)


class _Entry:
    """A resource that is open, or about to be, and the number of its users."""

    def __init__(self, cost: int) -> None:
        self.cost, self.users = cost, 0
        self.resource: Any = None
        self.opening = threading.Lock()


class OpenFile(FileBytes):
    """A file that is open for reading without HDF5.

    Parameters
    ----------
    path : str
    mapped : bool
        Whether to map the whole file, which then has `MAPPED_DESCRIPTORS`.

    Attributes
    ----------
    number : int
        File descriptor; -1 once it is closed.
    mapping : ndarray of uint8, shape (n_bytes,), or None
    """

    def __init__(self, path: str, mapped: bool = False) -> None:
        super().__init__(-1, None, remote.find(path))
        if self.remote_file is not None:  # its mirror is open, and is not mapped: another one may take its place
            return
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        if mapped:
            self.mapping = np.frombuffer(mmap.mmap(self.number, 0, prot=mmap.PROT_READ, **_MAPPING), np.uint8)

    def close(self) -> None:
        """Close the file. The mapping lasts as long as any array over it."""
        number, self.number, self.mapping = self.number, -1, None
        if number >= 0:
            os.close(number)

    def __del__(self) -> None:
        self.close()


class OpenDataset:
    """A dataset that is open in HDF5.

    Parameters
    ----------
    path : str
    named : (str, str or sequence of str)
        File and dataset as the user named them, or the names of images that have one each.

    Attributes
    ----------
    dataset : h5py.Dataset or ImageGroup

    Raises
    ------
    DataError
        If HDF5 can't open it.
    """

    def __init__(self, path: str, named: tuple[str, Images]) -> None:
        load_filters()
        self._file = open_hdf5(path, named[0])
        self.dataset = get_images(self._file, named[1])
        self._identity_at_opening = self._identity()

    def has_changed(self) -> bool:
        """Tell whether the file was written to since it was opened."""
        return self._identity() != self._identity_at_opening

    def _identity(self) -> tuple[int, ...]:
        holder = self.dataset.file  # another file, behind an external link
        return bytes_of(holder).identity() if has_plain_bytes(holder) else identity_at(holder.filename)

    def close(self) -> None:
        """Close the file, and with it the dataset."""
        self._file.close()
