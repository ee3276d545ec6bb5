"""RemoteFile: a file of a store by its local mirror, of which every range is brought before it is read."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import logging
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprep.errors import ChangedError
from fastprep.remote.cache import MEMORY_BYTES, Cache
from fastprep.remote.fetching import REQUEST_BYTES, Fetcher
from fastprep.remote.mirror import Mirror, runs_of
from fastprep.remote.object_stores import Facts, StoreOfProcess
from fastprep.remote.records import BLOCK
from fastprep.system import begin_in_children

_SHARE_ASKED_FOR = 4  # of the cache, at most, that is asked for ahead at once: more would push out what is read before it
_METADATA_BYTES = 1 << 20  # read together where HDF5 asks for a little, because it will soon ask for what is next to it
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_log = logging.getLogger(__name__)


class RemoteFile:
    """One version of a remote file. Any number of threads may use it at once.

    Parameters
    ----------
    name : str
        Address by which it is known in this process.
    store : StoreOfProcess
    key : str
    facts : Facts
        Size and tag of the version that there is now.
    fetcher : Fetcher
    cache : Cache
    settings : object
        Those of the session, by which another one tells whether it may share the file.

    Attributes
    ----------
    size : int
        In bytes.
    tag : str
        ETag, or the time of the last change where the server tells none.
    identity : tuple of int
        What tells this version from others, in the form that `fastprep.h5.file_bytes.identity_of` has for local files.

    Raises
    ------
    OSError
        If the folder of the cache can't be written to.
    """

    def __init__(
        self,
        name: str,
        store: StoreOfProcess,
        key: str,
        facts: Facts,
        fetcher: Fetcher,
        cache: Cache,
        settings: object = None,
    ) -> None:
        self.name, self._store, self._key, self.fetcher, self._cache = name, store, key, fetcher, cache
        self.settings, self._address = settings, f"{store.base}/{key}"
        self.size, self.tag = facts
        digest = hashlib.blake2b(self.tag.encode(), digest_size=7).digest()
        self.identity = (-1, int.from_bytes(digest, "little"), self.size, 0)
        self._mirror = cache.mirror(store.base, key, *facts)
        self._has_changed = False
        begin_in_children(self)

    def begin(self) -> None:
        """Begin without requests under way, which are those of threads."""
        self._lock = threading.Lock()
        self._under_way: dict[int, Future[None]] = {}

    @property
    def cache_bytes(self) -> int | None:
        """Bytes that its mirror may hold, together with those of other files; None for no bound."""
        return self._cache.n_bytes

    def check_unchanged(self) -> None:
        """Raise a ChangedError if an answer had another version of the file."""
        if self._has_changed:
            raise ChangedError("it is another version by now, with another ETag", self.name)

    @contextlib.contextmanager
    def holding(self, offsets: ArrayLike, sizes: ArrayLike) -> Iterator[int]:
        """Bring ranges of bytes, and keep them as long as the context lasts.

        Parameters
        ----------
        offsets, sizes : array_like of int, shape (n,)
            What lies beyond the end of the file is not brought.

        Yields
        ------
        int
            A descriptor of the mirror, which has these bytes at their offsets.

        Raises
        ------
        OSError
            If they can't be had.
        ChangedError
            If there is another version of the file by now.
        """
        ranges = np.atleast_1d(np.asarray(offsets, np.int64)), np.atleast_1d(np.asarray(sizes, np.int64))
        mirror = self._mirror
        with contextlib.ExitStack() as stack:
            blocks = mirror.blocks_of(*ranges)
            self.fetcher.count_read(len(blocks))
            stack.enter_context(mirror.pinned(blocks))
            try:
                self._bring(mirror, blocks)
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                mirror = self._in_memory(mirror, error)
                stack.enter_context(mirror.pinned(blocks))
                self._bring(mirror, blocks)
            yield mirror.number

    def read(self, n_bytes: int, offset: int) -> bytes:
        """Return bytes at an offset, fewer at the end of the file."""
        with self.holding(offset, n_bytes) as number:
            return os.pread(number, n_bytes, offset)

    def bring(self, offsets: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
        """Bring ranges of bytes that will be read soon; they are not kept from being let go of."""
        with self.holding(offsets, sizes):
            pass

    def bring_near(self, offsets: ArrayLike, sizes: ArrayLike) -> None:
        """Bring ranges of bytes, all at once, and what HDF5 will bring with them when it reads them."""
        begins, ends = _near(np.asarray(offsets, np.int64), np.asarray(sizes, np.int64))
        self.bring(begins, ends - begins)

    def bring_ends(self) -> None:
        """Bring the beginning and the end of the file, which have most of what HDF5 reads of a file at first."""
        self.bring_near([0, max(0, self.size - BLOCK)], [1, BLOCK])

    def ask_for(self, offsets: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
        """Have ranges of bytes fetched without waiting for them; an error comes when they are read."""
        mirror = self._mirror
        blocks = mirror.blocks_of(offsets, sizes)
        with mirror.pinned(blocks):
            missing = mirror.missing(blocks)
        bound = self._cache.n_bytes
        if len(missing) and (bound is None or len(missing) * BLOCK <= bound // _SHARE_ASKED_FOR):
            self._futures(mirror, missing)

    def as_file(self) -> FileOfBytes:
        """Return an object as `open` returns, for HDF5."""
        return FileOfBytes(self)

    def _bring(self, mirror: Mirror, blocks: NDArray[np.int64]) -> None:
        """Fetch what is missing of pinned blocks. A block that another thread fetches is waited for."""
        missing = mirror.missing(blocks)
        while len(missing):
            futures = self._futures(mirror, missing)
            for future in futures:
                future.result()
            missing = mirror.missing(missing)

    def _futures(self, mirror: Mirror, missing: NDArray[np.int64]) -> set[Future[None]]:
        with self._lock:
            missing = mirror.missing(missing)  # some may have come since
            known = {block: self._under_way.get(block) for block in missing.tolist()}
            waits = {future for future in known.values() if future is not None}
            new = np.array([block for block, future in known.items() if future is None], np.int64)
            for first, n in runs_of(new, REQUEST_BYTES // BLOCK):
                future = self.fetcher.submit(lambda first=first, n=n: self._fetch(mirror, first, n))  # type: ignore[misc]
                waits.add(future)
                self._under_way.update(dict.fromkeys(range(first, first + n), future))
        return waits

    def _fetch(self, mirror: Mirror, first: int, n: int) -> None:
        start, stop = first * BLOCK, min((first + n) * BLOCK, self.size)

        def ask() -> tuple[Any, Facts]:
            return self._store.fetch(self._key, start, stop, self.tag)

        try:
            data, _ = self.fetcher.answer(ask, f"{self._address}, bytes {start}-{stop - 1}")
            mirror.write(first, data)
            self.fetcher.count(stop - start, n)
            self._cache.grown(stop - start)
        except ChangedError as error:
            self._has_changed = True
            raise ChangedError(error.problem, self.name) from error
        finally:
            with self._lock:
                for block in range(first, first + n):
                    self._under_way.pop(block, None)

    def _in_memory(self, full: Mirror, error: OSError) -> Mirror:
        """Return a mirror in memory, for the rest of this process, in the place of one whose disk is full."""
        with self._lock:
            if self._mirror is full:
                _log.warning("%s: the cache takes no more: %s; reading goes on without it", self.name, error.strerror)
                self._cache = Cache(None, MEMORY_BYTES, in_memory=True)
                self._mirror = self._cache.mirror(self._store.base, self._key, self.size, self.tag)
            return self._mirror


def _near(offset: Any, n_bytes: Any) -> tuple[Any, Any]:
    """Return begin and end of the range that is brought where one in it is read through HDF5."""
    return offset // _METADATA_BYTES * _METADATA_BYTES, -(-(offset + n_bytes) // _METADATA_BYTES) * _METADATA_BYTES


class FileOfBytes(io.RawIOBase):
    """A remote file as HDF5's driver for Python's files takes it."""

    def __init__(self, remote: RemoteFile) -> None:
        self.remote, self._at = remote, 0
        self.error: BaseException | None = None

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be read at any place."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.remote.size}[whence]
        return self._at

    def tell(self) -> int:
        """Return the place where it stands."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read as many bytes as the buffer takes, fewer at the end of the file."""
        view = memoryview(buffer).cast("B")
        self.error = None
        begin, end = _near(self._at, len(view))
        done = 0
        try:
            with self.remote.holding(begin, end - begin) as number:
                while done < len(view):
                    n = os.preadv(number, [view[done:]], self._at + done)
                    if n == 0:
                        break
                    done += n
        except Exception as error:
            self.error = error
            raise
        self._at += done
        return done
