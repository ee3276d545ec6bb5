"""Paths that begin with a scheme, such as s3://, whatever reads them; files of this machine have none."""

from __future__ import annotations

import re

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_USER = re.compile(r"//[^/]*@")


def has_scheme(path: str) -> bool:
    """Tell whether a path begins with a scheme."""
    return _SCHEME.match(path) is not None


def without_user(address: str) -> str:
    """Return an address as messages show it: without the user and the password that it may have."""
    return _USER.sub("//***@", address)
