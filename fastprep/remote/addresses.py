"""Addresses of remote files: which texts are such, and their parts."""

from __future__ import annotations

import fnmatch
import os
import re

from fastprep.errors import AddressError
from fastprep.system import has_scheme, without_user

_ADDRESS = re.compile(r"(s3a?|gs|az|abfss?|https?)://")
_MAGIC = re.compile(r"[*?[]")
_SIGNATURE = re.compile(r"(^|&)(x-amz-|x-goog-|awsaccesskeyid=|sig=|signature=)", re.IGNORECASE)  # a "?" may be a pattern's
_WAYS = {
    True: 'pass storage_options={"client_options": {"default_headers": {"Authorization": "Basic ..."}}}',
    False: "pass keys by storage_options=, or by the environment",
}
"""Ways of a password to a server, and to an object store."""


def is_address(path: object) -> bool:
    """Tell whether a path is the address of a remote file, such as s3://bucket/train.h5."""
    return isinstance(path, str) and _ADDRESS.match(path) is not None


def check_kind(path: object) -> None:
    """Check that a path is not an address of a kind that nothing here reads, such as ftp://.

    Raises
    ------
    FileNotFoundError
        If it is, and there is no file of this name either.
    """
    if isinstance(path, str) and has_scheme(path) and not is_address(path) and not os.path.lexists(path):
        known = "these begin with s3://, gs://, az://, abfs:// or https://"
        raise FileNotFoundError(f"{without_user(path)!r} is no address that fastprep reads: {known}")


def is_web(address: str) -> bool:
    """Tell whether an address is one of HTTP, which has no lists of files."""
    return address.startswith(("http://", "https://"))


def split(address: str) -> tuple[str, str]:
    """Split an address into that of the store, such as s3://bucket, and the key of the file in it.

    Raises
    ------
    AddressError
        If it names no file, or has a password or a query: names of files are shown, in logs and notebooks, and passwords, keys
        and signatures are not for that. The error leaves them out.
    """
    scheme, _, rest = address.partition("://")
    place, _, key = rest.partition("/")
    user, _, host = place.rpartition("@")
    shown, query = f"{scheme}://***@{host}/{key}" if ":" in user else address, key.partition("?")[2]
    if (is_web(address) and "=" in query) or _SIGNATURE.search(query):
        shown = f"{shown.partition('?')[0]}?***"
        raise AddressError(f"an address must have no query, got {shown!r}: pass headers or keys by storage_options=")
    if ":" in user:
        raise AddressError(f"an address must have no password, got {shown!r}: {_WAYS[is_web(address)]}")
    if not place or not key:
        raise AddressError(f"an address must name a store and a file in it, such as s3://bucket/train.h5, got {address!r}")
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
