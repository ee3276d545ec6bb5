"""Errors of requests: whether they may pass, and what is said about them.

obstore has classes for some answers of a store, and for others a text with the status of HTTP. Both are looked at by their names
and texts, which is what comes out of another process, too (see `messenger`).
"""

from __future__ import annotations

import errno
import re

from fastprep.remote.addresses import is_web

_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_QUERY = re.compile(r"(https?://[^\s?]*)\?\S*")  # a shared access signature of Azure's is one
_MISSING = ("NotFoundError", "FileNotFoundError")
_REFUSED = ("PermissionDeniedError", "PermissionError", "UnauthenticatedError")
_WRONG_REQUESTS = ("InvalidPathError", "UnknownConfigurationKeyError", "NotSupportedError", "NotImplementedError")
_PASSING_STATUS = (408, 425, 429)  # of those that say that a request is wrong: it came too late, too early, or too often
_OF_MACHINES = ("//169.254.", "//metadata.google.internal")  # services that have the credentials of a machine in a cloud

_CREDENTIALS = "pass credentials by storage_options= or the environment, as obstore takes them"
_HEADERS = 'pass storage_options={"client_options": {"default_headers": {"Authorization": ...}}}'
_PUBLIC = 'for what is public, storage_options={"skip_signature": True}'
_WAYS_OUT = (
    ("Range request not supported", "ranges of bytes are what is read: have the server answer them, or copy the file"),
    ("HTTP error: builder error", 'for an endpoint of http://, pass storage_options={"client_options": {"allow_http": True}}'),
    ("credential error", _CREDENTIALS),
    ("redirect without LOCATION", "the region of the bucket may be another one"),
)
"""Words of errors that do not pass, and what helps."""


class UnreachableError(OSError):
    """A store that did not answer within the deadline, or refuses a request. It is not tried again at once."""


def may_pass(error: BaseException) -> bool:
    """Tell whether an error of a request may be over when it is sent again."""
    if is_missing(error) or is_refused(error):
        return False
    if type(error).__name__ in _WRONG_REQUESTS or any(words in str(error) for words, _ in _WAYS_OUT):
        return False
    status = _status_of(error)
    return status is None or status >= 500 or status in _PASSING_STATUS or lacks_credentials(error)


def is_missing(error: BaseException) -> bool:
    """Tell whether an error says that there is no such file."""
    return type(error).__name__ in _MISSING or (_status_of(error) == 404 and not lacks_credentials(error))


def is_refused(error: BaseException) -> bool:
    """Tell whether an error says that a file may not be read."""
    return type(error).__name__ in _REFUSED or (_status_of(error) in (401, 403) and not lacks_credentials(error))


def lacks_credentials(error: BaseException) -> bool:
    """Tell whether an error is one of the service that was asked for this machine's own credentials, in want of others."""
    return any(service in one_line(error) for service in _OF_MACHINES)


def as_system_error(error: Exception, what: str) -> OSError:
    """Return an error that does not pass as one of the system, which says what was asked for, and what helps.

    Parameters
    ----------
    error : exception
    what : str
        Address and range.
    """
    if lacks_credentials(error):
        text = f"{what}: there are no credentials, and asking for those of this machine fails: {one_line(error)}"
        return PermissionError(errno.EACCES, f"{text}; {_CREDENTIALS}; {_PUBLIC}")
    if is_missing(error):
        return FileNotFoundError(errno.ENOENT, f"{what}: there is no such file")
    if is_refused(error):
        return PermissionError(errno.EACCES, f"{what}: access is denied; {_HEADERS if is_web(what) else _CREDENTIALS}")
    way_out = next((f"; {way_out}" for words, way_out in _WAYS_OUT if words in str(error)), "")
    return UnreachableError(errno.EPROTO, f"{what}: the request is refused: {one_line(error)}{way_out}")


def one_line(error: BaseException) -> str:
    """Return the first words of an error, without queries, which may be signed; obstore's go on with their inner parts."""
    text = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return _QUERY.sub(r"\1?***", text.strip())[:300]


def _status_of(error: BaseException) -> int | None:
    """Return the status of HTTP in the text of an error."""
    found = _STATUS.search(one_line(error))
    return int(found[1]) if found else None
