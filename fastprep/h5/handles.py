"""Open files of many readers, with a bound on how many there are at a time."""

from __future__ import annotations

import contextlib
import mmap
import os
import resource
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Protocol, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.errors import DataError
from fastprep.h5.files import get_dataset, identity_of, load_filters, opening_problem
from fastprep.system import begin_in_children

_SHARE_OF_LIMIT = 8  # a process has other loaders, sockets, and libraries that open files
_MOST = 128  # an open h5py.File takes 0.6 MB of memory
_LEAST = 2  # what indexing a file takes


def default_limit() -> int:
    """Return how many descriptors one dataset may hold: an eighth of what the system lets this process have, 2 to 128."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else min(_MOST, max(_LEAST, soft // _SHARE_OF_LIMIT))


class Resource(Protocol):
    """What can be kept open."""

    def close(self) -> None:
        """Give its descriptors back."""


_R = TypeVar("_R", bound=Resource)


class Handles:
    """What is open, least recently used closed first; nothing is closed while it is used.

    Whoever asks for room waits until there is some. So that somebody always goes on, nobody may wait for anything of another
    thread (room, a block, an index) while it has room of its own. After a fork nothing is open, and all is opened anew.

    Parameters
    ----------
    limit : int, optional
        Descriptors at a time, 2 and up; by default as `default_limit` says where it is made or unpickled.

    Attributes
    ----------
    limit : int
    n_open : int
        Descriptors that are open, or about to be.
    """

    def __init__(self, limit: int | None = None) -> None:
        if limit is not None and limit < _LEAST:
            raise ValueError(f"limit must be at least {_LEAST}, got {limit}")
        self._given = limit
        self.limit = default_limit() if limit is None else limit
        begin_in_children(self)

    @contextlib.contextmanager
    def use(self, key: Hashable, cost: int, open_it: Callable[[], _R]) -> Iterator[_R]:
        """Give what is open under a key, opened if it is not; it stays open as long as the context lasts, and maybe longer.

        Parameters
        ----------
        key : hashable
        cost : int
            Descriptors that it takes, 1 or 2.
        open_it : callable
            Opens it; its errors are handed on. Not called by two threads for one key at a time.
        """
        entry = self._take(key, cost)
        try:
            with entry.opening:
                if entry.resource is None:
                    entry.resource = open_it()
            yield entry.resource
        finally:
            self._give(key, entry)

    @contextlib.contextmanager
    def room(self, cost: int) -> Iterator[None]:
        """Keep room for descriptors that the caller opens and closes within the context."""
        with self._lock:
            self._make_room(cost)
        try:
            yield
        finally:
            with self._lock:
                self.n_open -= cost
                self._lock.notify_all()

    def close(self, key: Hashable) -> None:
        """Close what is open under a key, as soon as nobody uses it."""
        with self._lock:
            entry = self._entries.pop(key, None)
            if entry is not None and entry.users == 0:
                self._close(entry)

    def _take(self, key: Hashable, cost: int) -> _Entry:
        new = _Entry(cost)
        with self._lock:
            entry = self._entries.pop(key, None)
            if entry is None:
                self._make_room(cost)
                entry = self._entries.pop(key, None)  # another thread may have been here meanwhile
                if entry is not None:
                    self.n_open -= cost
                    self._lock.notify_all()
                else:
                    entry = new
            entry.users += 1
            self._entries[key] = entry  # the last one now
            return entry

    def _give(self, key: Hashable, entry: _Entry) -> None:
        with self._lock:
            entry.users -= 1
            if entry.users == 0 and (entry.resource is None or self._entries.get(key) is not entry):
                if self._entries.get(key) is entry:
                    self._entries.pop(key, None)
                self._close(entry)
            self._lock.notify_all()  # one that is not used any more can be closed for others

    def _make_room(self, cost: int) -> None:
        """Take note of `cost` more descriptors, once that keeps to the limit. The lock is held, but not all the time."""
        while self.n_open + cost > self.limit:
            key = next((key for key, entry in list(self._entries.items()) if entry.users == 0), None)
            if key is None:
                self._lock.wait()
            elif (entry := self._entries.pop(key, None)) is not None:
                self._close(entry)
        self.n_open += cost

    def _close(self, entry: _Entry) -> None:
        """Close what nobody can get at any more. The lock is held, but not while closing, which may wait for HDF5's."""
        self._lock.release()
        try:
            if entry.resource is not None:
                entry.resource.close()
        finally:
            self._lock.acquire()
            self.n_open -= entry.cost
            self._lock.notify_all()

    def begin(self) -> None:
        """Forget what is open: HDF5's handles do not survive a fork, and neither may the lock."""
        self.n_open = 0
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        # reentrant: garbage may be collected under it, and somebody's finalizer may close a loader
        self._lock = threading.Condition(threading.RLock())

    def __reduce__(self) -> tuple[Any, ...]:
        return Handles, (self._given,)


class _Entry:
    """Something open, or about to be, and how many use it."""

    def __init__(self, cost: int) -> None:
        self.cost, self.users = cost, 0
        self.resource: Any = None
        self.opening = threading.Lock()


class OpenFile:
    """A file open for reading by our own calls.

    Parameters
    ----------
    path : str
    mapped : bool
        Whether to map the whole of it, which takes a second descriptor (Python's mmap keeps one).

    Attributes
    ----------
    number : int
        Descriptor.
    mapping : ndarray of uint8, shape (n_bytes,), or None
    """

    def __init__(self, path: str, mapped: bool = False) -> None:
        self.number = -1
        self.mapping: NDArray[np.uint8] | None = None
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        if mapped:
            self.mapping = np.frombuffer(mmap.mmap(self.number, 0, prot=mmap.PROT_READ), np.uint8)

    def close(self) -> None:
        """Close it; the mapping goes with the last array over it."""
        number, self.number, self.mapping = self.number, -1, None
        if number >= 0:
            os.close(number)

    def __del__(self) -> None:
        self.close()


class OpenDataset:
    """A dataset open in HDF5.

    Parameters
    ----------
    path : str
    named : (str, str)
        What the user calls the file and the dataset.

    Attributes
    ----------
    dataset : h5py.Dataset

    Raises
    ------
    DataError
        If HDF5 can't open it.
    """

    def __init__(self, path: str, named: tuple[str, str]) -> None:
        load_filters()
        try:
            self._file = h5py.File(path, "r")
        except OSError as error:
            raise DataError(opening_problem(path, error), named[0]) from error
        self.dataset = get_dataset(self._file, named[1])
        self._was = self._identity()

    def has_changed(self) -> bool:
        """Tell whether somebody has written to the file since it was opened."""
        return self._identity() != self._was

    def _identity(self) -> tuple[int, ...]:
        holder = self.dataset.file  # another one behind an external link
        return identity_of(os.fstat(holder.id.get_vfd_handle()) if holder.driver == "sec2" else os.stat(holder.filename))

    def close(self) -> None:
        """Close the file, and with it the dataset."""
        self._file.close()
