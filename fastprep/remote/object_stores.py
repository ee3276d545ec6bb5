"""The one door to obstore: facts about files, ranges of their bytes, and lists of keys."""

from __future__ import annotations

import datetime
import os
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

from fastprep.errors import ChangedError, MissingLibraryError, SettingsError
from fastprep.remote.addresses import is_web
from fastprep.remote.failures import one_line
from fastprep.remote.messenger import Messenger
from fastprep.system import begin_in_children

_ARGUMENTS = ("client_options", "retry_config", "credential_provider")
_TIMEOUT = "30s"  # of one request: a server that answers nothing more
_CONNECT_TIMEOUT = "5s"


class Facts(NamedTuple):
    """What tells a version of a file: its size in bytes, and its tag, the ETag or else the time of the last change."""

    size: int
    tag: str


class ObjectStore:
    """A store of files, such as a bucket.

    Parameters
    ----------
    base : str
        Address of the store, such as s3://bucket or https://host.
    options : mapping
        Arguments of `obstore.store.from_url`; further keys are settings of its store.

    Raises
    ------
    ModuleNotFoundError
        If obstore is not installed.
    ValueError
        If an option is none of the store's.
    """

    def __init__(self, base: str, options: Mapping[str, Any]) -> None:
        obstore = _obstore()
        arguments = {name: options[name] for name in _ARGUMENTS if name in options}
        client = {"timeout": _TIMEOUT, "connect_timeout": _CONNECT_TIMEOUT, **(arguments.get("client_options") or {})}
        settings = {name: value for name, value in options.items() if name not in _ARGUMENTS}
        if _is_without_encryption(base, settings):
            client.setdefault("allow_http", True)
        arguments["client_options"] = client
        # tried again here, where the whole answer counts, and not its beginning only
        retries = {**(arguments.get("retry_config") or {}), "max_retries": 0}
        retries.pop("retry_timeout", None)
        arguments["retry_config"] = retries
        self.base = base
        try:
            if is_web(base):
                arguments.pop("credential_provider", None)
                self._store = obstore.store.HTTPStore.from_url(base, **arguments, **settings)
            else:
                self._store = obstore.store.from_url(base, config=settings, **arguments)
        except (obstore.exceptions.BaseError, TypeError) as error:
            text = f"storage_options, and the environment, must be what obstore takes for {base}: {one_line(error)}"
            raise SettingsError(text) from error

    def facts(self, key: str) -> Facts:
        """Return what tells the version of a file that there is now."""
        return _facts_of(self._store.head(key))

    def fetch(self, key: str, start: int, stop: int, tag: str | None) -> tuple[Any, Facts]:
        """Return some bytes of a file, as a buffer, and the facts that the answer has about the file.

        Parameters
        ----------
        key : str
        start, stop : int
            The bytes start..stop-1, which the file has.
        tag : str or None
            The version that is wanted; None for any.

        Raises
        ------
        ChangedError
            If there is another version by now.
        ShortAnswerError
            If the answer has fewer bytes.
        """
        obstore = _obstore()
        options: dict[str, Any] = {"range": (start, stop)}
        if tag is not None and tag.startswith('"'):  # a strong one
            options["if_match"] = tag
        problem = f"it is another version by now than that of ETag {tag}, which was read before"
        another = ChangedError(problem, f"{self.base}/{key}")
        try:
            answer = self._store.get(key, options=options)
            facts = _facts_of(answer.meta)
            if tag is not None and facts.tag != tag:
                raise another
            data = answer.bytes()
        except obstore.exceptions.PreconditionError as error:
            raise another from error
        wanted = min(stop, facts.size) - start
        if len(data) != wanted:
            raise ShortAnswerError(f"{len(data)} bytes came of {wanted}")
        return data, facts

    def list(self, folder: str, is_deep: bool) -> list[tuple[str, Facts | None]]:
        """Return the keys in a folder, which is "" for all, and what the list tells of their versions.

        Parameters
        ----------
        folder : str
        is_deep : bool
            Whether folders in it are listed, too.

        Returns
        -------
        list of (str, Facts or None)
            None where the list tells no ETag.
        """
        if is_deep:
            items = [item for page in self._store.list(folder or None) for item in page]
        else:
            items = list(self._store.list_with_delimiter(folder or None)["objects"])
        return [(item["path"], _listed_facts(item)) for item in items]


class ShortAnswerError(OSError):
    """An answer that ended before the bytes that were asked for."""


class StoreOfProcess:
    """A store, made anew in a process that was forked: obstore has no threads there, so that another process is asked.

    Parameters
    ----------
    base, options
        As `ObjectStore` takes them.
    """

    def __init__(self, base: str, options: Mapping[str, Any]) -> None:
        self.base, self._options = base, options
        self._store: ObjectStore | Messenger | None = None
        self._lock = threading.Lock()
        if not _users:
            _users.append(os.getpid())
        self._get()
        begin_in_children(self)

    def begin(self) -> None:
        """Begin without a store in a child; the one of the process that it was forked from is left alone."""
        self._lock = threading.Lock()
        if _users[0] != os.getpid():
            self._of_parent, self._store = self._store, None

    def facts(self, key: str) -> Facts:
        """As that of `ObjectStore`."""
        return self._get().facts(key)

    def fetch(self, key: str, start: int, stop: int, tag: str | None) -> tuple[Any, Facts]:
        """As that of `ObjectStore`."""
        return self._get().fetch(key, start, stop, tag)

    def list(self, folder: str, is_deep: bool) -> list[tuple[str, Facts | None]]:
        """As that of `ObjectStore`."""
        return self._get().list(folder, is_deep)

    def _get(self) -> ObjectStore | Messenger:
        with self._lock:
            if self._store is None:
                kind = ObjectStore if _users[0] == os.getpid() else Messenger
                self._store = kind(self.base, self._options)
            return self._store


_users: list[int] = []  # the process in which obstore has its threads


def _is_without_encryption(base: str, settings: Mapping[str, Any]) -> bool:
    """Tell whether an address, or an endpoint among the settings, is one of http://, or the environment allows that.

    obstore does not look at the environment for it where it is passed options of its client.
    """
    named = any(isinstance(value, str) and value.startswith("http://") for value in (base, *settings.values()))
    return named or any(
        os.environ.get(f"{cloud}_ALLOW_HTTP", "").lower() in ("1", "true") for cloud in ("AWS", "AZURE", "GOOGLE")
    )


def _facts_of(meta: Any) -> Facts:
    tag, changed = meta["e_tag"], meta["last_modified"]
    if tag is None:
        tag = changed.isoformat() if isinstance(changed, datetime.datetime) else str(changed)
    return Facts(int(meta["size"]), tag)


def _listed_facts(item: Any) -> Facts | None:
    """Return the facts of a file in a list, with its ETag in quotes, as answers about the file have it."""
    tag = item["e_tag"]
    if not tag:
        return None
    return Facts(int(item["size"]), tag if '"' in tag else f'"{tag}"')


def _obstore() -> Any:
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ModuleNotFoundError as error:
        raise MissingLibraryError(
            "files in object stores and behind HTTP are read by obstore, which is not installed: "
            "`python -m pip install 'fastprep[remote]'`",
            name=error.name,
        ) from error
    return obstore
