"""Addresses of remote files: which texts are such, and their parts."""

from __future__ import annotations

import fnmatch
import os
import re

_ADDRESS = re.compile(r"(s3a?|gs|az|abfss?|https?)://")
_ANY_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_MAGIC = re.compile(r"[*?[]")


def is_address(path: object) -> bool:
    """Tell whether a path is the address of a remote file, such as s3://bucket/train.h5.

    Raises
    ------
    FileNotFoundError
        If it is an address of another kind, and there is no file of this name, strange as it would be.
    """
    if not isinstance(path, str) or _ANY_SCHEME.match(path) is None:
        return False
    if _ADDRESS.match(path) is None and not os.path.lexists(path):
        raise FileNotFoundError(
            f"{path!r} is no address that fastprep reads: these begin with s3://, gs://, az://, abfs:// or https://"
        )
    return _ADDRESS.match(path) is not None


def is_web(address: str) -> bool:
    """Tell whether an address is one of HTTP, which has no lists of files."""
    return address.startswith(("http://", "https://"))


def split(address: str) -> tuple[str, str]:
    """Split an address into that of the store, such as s3://bucket, and the key of the file in it.

    Raises
    ------
    ValueError
        If it names no file, or has a query, whose keys and signatures stores take by other ways.
    """
    scheme, _, rest = address.partition("://")
    place, _, key = rest.partition("/")
    if not place or not key:
        raise ValueError(f"an address must name a store and a file in it, such as s3://bucket/train.h5, got {address!r}")
    if is_web(address) and ("?" in key and "=" in key.partition("?")[2]):
        raise ValueError(f"an address must have no query, got {address!r}: pass headers or keys by storage_options=")
    return f"{scheme}://{place}", key


def has_pattern(address: str) -> bool:
    """Tell whether an address is a pattern for several files."""
    return _MAGIC.search(address.partition("://")[2]) is not None


def prefix_of(pattern: str) -> str:
    """Return the folders in front of the first sign of a pattern, by which keys are listed."""
    return _MAGIC.split(pattern)[0].rpartition("/")[0]


def matches(key: str, pattern: str) -> bool:
    """Tell whether a key matches a pattern: as in a shell, `*` stays within a folder, and `**` stands for any number of them."""
    return _match(key.split("/"), pattern.split("/"))


def _match(names: list[str], parts: list[str]) -> bool:
    if not parts:
        return not names
    if parts[0] == "**":
        return any(_match(names[k:], parts[1:]) for k in range(len(names) + 1))
    return bool(names) and fnmatch.fnmatchcase(names[0], parts[0]) and _match(names[1:], parts[1:])
