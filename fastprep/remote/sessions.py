"""Which remote files this process has open, by their names, and how: each with the settings of whoever asked for it."""

from __future__ import annotations

import contextlib
import contextvars
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from fastprep.errors import AddressError, SettingsError
from fastprep.remote.addresses import check_kind, has_pattern, is_address, is_web, matches, prefix_of, split
from fastprep.remote.cache import Cache
from fastprep.remote.fetching import Fetcher
from fastprep.remote.mirror import check_locks
from fastprep.remote.object_stores import Facts, StoreOfProcess
from fastprep.remote.open_files import OpenFiles
from fastprep.remote.remote_file import RemoteFile
from fastprep.system import begin_in_children

CACHE_VARIABLE, BOUND_VARIABLE = "FASTPREP_CACHE", "FASTPREP_CACHE_BYTES"
"""Variables of the environment, for commands and for whoever does not write the program."""


class Session:
    """Remote files that one loader, or one command, reads. They stay open as long as the session is alive.

    Parameters
    ----------
    storage_options : mapping or None
        What obstore takes for the stores: settings, credentials, `client_options`, `retry_config`.
    cache : str, path or None
        Folder of the mirrors; None for that of ``FASTPREP_CACHE`` in the environment or, without it, for files without a name,
        which end with the session.
    cache_bytes : int or None
        Bytes that the mirrors hold together; None for ``FASTPREP_CACHE_BYTES`` or, without it, for what
        `fastprep.remote.cache.Cache` says.

    Raises
    ------
    ValueError
        If an argument breaks its rule.
    """

    def __init__(
        self,
        storage_options: Mapping[str, Any] | None = None,
        cache: str | os.PathLike[str] | None = None,
        cache_bytes: int | None = None,
    ) -> None:
        if storage_options is not None and not isinstance(storage_options, Mapping):
            raise ValueError(f"storage_options must be a dict of what obstore takes, got {storage_options!r}")
        if cache is not None and (not isinstance(cache, str | os.PathLike) or is_address(cache)):
            raise ValueError(f"cache must be a folder of this machine, got {cache!r}")
        if cache_bytes is not None and (isinstance(cache_bytes, bool) or not isinstance(cache_bytes, int) or cache_bytes < 1):
            raise ValueError(f"cache_bytes must be an integer of at least 1, got {cache_bytes!r}")
        folder = None if cache is None else os.path.abspath(os.path.expanduser(os.fspath(cache)))
        self._given = dict(storage_options or {}), folder, cache_bytes
        self.files: dict[str, RemoteFile] = {}  # by address
        self.fetcher = Fetcher(self._given[0])
        self._cache: Cache | None = None
        self._stores: dict[str, StoreOfProcess] = {}
        begin_in_children(self)

    def begin(self) -> None:
        """Make the lock anew, which does not survive a fork."""
        self._lock = threading.RLock()

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Have the addresses that are met within the context belong to this session."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def check_used(self) -> None:
        """Raise a ValueError if settings were given, and there is no remote file that they are for."""
        if not self.files and self._given != ({}, None, None):
            raise ValueError(
                "storage_options, cache and cache_bytes are for files with an address, such as s3://bucket/x.h5; there is none"
            )

    def open(self, address: str, name: str | None = None, facts: Facts | None = None) -> RemoteFile:
        """Return the file at an address, which is opened unless it is open with the same settings.

        Parameters
        ----------
        address : str
        name : str or None
            Name that the file had in another process; None for the address, or for one like it if that is taken.
        facts : Facts or None
            Size and tag of the version that there is now; None to ask for them.

        Raises
        ------
        ModuleNotFoundError
            If obstore is not installed.
        OSError
            If there is no such file, it may not be read, or the store does not answer.
        """
        with self._lock:
            if address in self.files:
                return self.files[address]
            known = facts or self._facts(address)
            file = self.files[address] = _open_files.shared(
                name or address, address, self._given, known, lambda name: self._opened(name, address, known)
            )
            return file

    def open_all(self, addresses: Sequence[str], listed: Mapping[str, Facts] | None = None) -> list[RemoteFile]:
        """Return the files at addresses, in order; what has to be asked for is asked for by many requests at a time.

        Parameters
        ----------
        addresses : sequence of str
        listed : mapping of str to Facts, or None
            What a list told of files. It is believed if it tells of the first of them what an answer about that file does.

        Raises
        ------
        OSError
            That of the first file, in order, for which there is one; see `open`.
        """
        facts = self.facts_of([address for address in dict.fromkeys(addresses) if address not in self.files], listed or {})
        return [self.open(address, facts=facts.get(address)) for address in addresses]

    def facts_of(self, addresses: Sequence[str], listed: Mapping[str, Facts] | None = None) -> dict[str, Facts]:
        """Return size and tag of the version that there is now of each file; see `open_all`."""
        facts: dict[str, Facts] = {}
        first = next((address for address in addresses if listed and address in listed), None)
        if listed and first is not None:
            facts[first] = self._facts(first)
            if facts[first] == listed[first]:
                facts = {address: listed[address] for address in addresses if address in listed}
        asked = {address: self.fetcher.submit(partial(self._facts, address)) for address in addresses if address not in facts}
        try:
            return facts | {address: answer.result() for address, answer in asked.items()}
        finally:
            for answer in asked.values():
                answer.cancel()

    def counts(self) -> dict[str, int] | None:
        """Count what was read of the session's files, by all that share them: requests, retries, bytes, and blocks.

        Returns
        -------
        dict of str to int, or None
            None if the session has no remote file.
        """
        fetchers = {id(file.fetcher): file.fetcher for file in self.files.values()}.values()
        names = ("requests", "retries", "bytes", "blocks_read", "blocks_fetched")
        return {name: sum(getattr(fetcher, f"n_{name}") for fetcher in fetchers) for name in names} if fetchers else None

    def expand(self, pattern: str) -> list[RemoteFile]:
        """Return the files that match a pattern, in alphabetical order of their addresses.

        Raises
        ------
        AddressError
            If the address is one of HTTP, which has no lists of files.
        FileNotFoundError
            If no file matches.
        """
        split(pattern)  # whatever is wrong with it as an address comes first
        if is_web(pattern):
            raise AddressError(
                f"a pattern can't be looked up behind HTTP, which has no list of files: name each file of {pattern!r}"
            )
        store, wanted = self._store(pattern)
        folder = prefix_of(wanted)
        is_deep = "/" in wanted[len(folder) :].lstrip("/")
        try:
            keys = dict(self.fetcher.answer(lambda: store.list(folder, is_deep), pattern))
        except FileNotFoundError:
            raise FileNotFoundError(f"no file matches {pattern!r}: there is no {store.base}") from None
        found = sorted(key for key in keys if matches(key, wanted))
        if not found:
            raise FileNotFoundError(f"no file matches {pattern!r}")
        listed = {f"{store.base}/{key}": facts for key in found if (facts := keys[key]) is not None}
        return self.open_all([f"{store.base}/{key}" for key in found], listed)

    def _facts(self, address: str) -> Facts:
        """Ask the store for size and tag of the version that there is now."""
        store, key = self._store(address)
        return self.fetcher.answer(lambda: store.facts(key), address)

    def _opened(self, name: str, address: str, facts: Facts) -> RemoteFile:
        store, key = self._store(address)
        if self._cache is None:
            self._cache = Cache(*_cache_settings(*self._given[1:]))
        return RemoteFile(name, store, key, facts, self.fetcher, self._cache, self._given)

    def _store(self, address: str) -> tuple[StoreOfProcess, str]:
        base, key = split(address)
        with self._lock:
            if base not in self._stores:
                check_locks()
                self._stores[base] = StoreOfProcess(base, self._given[0])
            return self._stores[base], key

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened_again, (self._given, {address: file.name for address, file in self.files.items()})


_open_files = OpenFiles()
"""Their names are what paths, indexes and HDF5 have: h5py keeps no object of ours with a file."""

_current: contextvars.ContextVar[Session | None] = contextvars.ContextVar("fastprep.remote session", default=None)
_of_process: list[Session] = []  # of files that were asked for outside of any session


def current() -> Session:
    """Return the session of the context, or that of the process."""
    session = _current.get()
    if session is None:
        if not _of_process:
            _of_process.append(Session())
        session = _of_process[0]
    return session


def find(name: str | os.PathLike[str] | bytes) -> RemoteFile | None:
    """Return the remote file of a name; None for a local one. One that is not open is opened by the session of the context."""
    if not is_address(name):
        check_kind(name)
        return None
    file = _open_files.get(str(name))
    return current().open(str(name)) if file is None else file


def expand(address: str) -> list[str]:
    """Return the names of the files that an address, or a pattern, stands for, all of them open."""
    session = current()
    return [file.name for file in (session.expand(address) if has_pattern(address) else [session.open(address)])]


def expand_each(addresses: Sequence[str]) -> list[str]:
    """Return the names of the files at addresses, none of which is a pattern, all of them open."""
    return [file.name for file in current().open_all(addresses)]


def _cache_settings(folder: str | None, n_bytes: int | None) -> tuple[str | None, int | None]:
    """Return the folder of a cache and its bound: what was given, else what the environment says.

    Raises
    ------
    SettingsError
        If what it says is no folder of this machine, or no number of bytes.
    """
    if folder is None and (said := os.environ.get(CACHE_VARIABLE)):
        if is_address(said):
            raise SettingsError(f"{CACHE_VARIABLE} must be a folder of this machine, got {said!r}")
        folder = os.path.abspath(os.path.expanduser(said))
    if n_bytes is None and (said := os.environ.get(BOUND_VARIABLE)):
        if not said.isdecimal() or int(said) < 1:
            raise SettingsError(f"{BOUND_VARIABLE} must be a number of bytes of at least 1, got {said!r}")
        n_bytes = int(said)
    return folder, n_bytes


def _opened_again(given: tuple[Any, Any, Any], names: dict[str, str]) -> Session:
    session = Session(*given)
    facts = session.facts_of(list(names))
    for address, name in names.items():
        session.open(address, name, facts[address])
    return session
