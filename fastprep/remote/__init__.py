"""Files in object stores and behind HTTP, each with a local mirror that holds the blocks which were read; see README.md."""

from fastprep.remote.addresses import has_pattern, is_address
from fastprep.remote.failures import UnreachableError
from fastprep.remote.remote_file import RemoteFile
from fastprep.remote.sessions import Session, current, expand, expand_each, find

__all__ = ["RemoteFile", "Session", "UnreachableError", "current", "expand", "expand_each", "find", "has_pattern", "is_address"]
