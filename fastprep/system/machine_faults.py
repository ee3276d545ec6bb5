"""Faults of the machine, as opposed to damage of a file: a disk that went away, too many open files, no memory.

They may pass, so what met one is tried again a few times.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TypeVar

WAITS = (0.1, 0.5, 2.0)
"""Seconds to wait before each new try."""

_T = TypeVar("_T")

_DRIVES = "EIO ENXIO ENODEV ESTALE EREMOTEIO ENOMEDIUM EMEDIUMTYPE ESHUTDOWN EBUSY EAGAIN EINTR EBADF"
_SCARCE = "EMFILE ENFILE ENOMEM ENOBUFS ENOLCK EDEADLK"
_OUT_OF_REACH = "ENOENT ENOTDIR EACCES EPERM ENOKEY EKEYEXPIRED EKEYREVOKED"  # for a file that was there
_NETWORK = (
    "ETIMEDOUT EHOSTDOWN EHOSTUNREACH ENETDOWN ENETUNREACH ENETRESET ENOTCONN ECONNRESET ECONNREFUSED ECONNABORTED "
    "ENOLINK ECOMM EPROTO ENONET"
)
_NAMES = f"{_DRIVES} {_SCARCE} {_OUT_OF_REACH} {_NETWORK}"
_NUMBERS = frozenset(getattr(errno, name) for name in _NAMES.split() if hasattr(errno, name))


def is_machine_fault(error: BaseException | None) -> bool:
    """Whether an error of reading says something about the machine, and nothing about the bytes of the file.

    Parameters
    ----------
    error : exception or None
        Its causes count too, because libraries wrap the errors of the system in their own. Its context does not: that may be
        any error which the caller was handling.

    Returns
    -------
    bool
        True for MemoryError, and for an OSError with a number such as EIO, ESTALE, EMFILE or ENOMEM. A missing file (ENOENT), or
        one that may not be read (EACCES), counts, too: ask only about files that were found or open before.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _NUMBERS):
            return True
        error = error.__cause__
    return False


def with_retries(
    function: Callable[[], _T], may_pass: Callable[[Exception], bool], wait: Callable[[float, Exception], bool]
) -> _T:
    """Return what a function returns; after an error that may pass it is called again, as often as `WAITS` has waits.

    Parameters
    ----------
    function : callable
        It may be called again after it has failed.
    may_pass : callable
        Function that takes an error and says whether to try again.
    wait : callable
        Function that waits for a number of seconds after an error, and says whether the next try is to be the last one.

    Returns
    -------
    object

    Raises
    ------
    Exception
        That of the last try, or the first one that does not pass.
    """
    for seconds in WAITS:
        try:
            return function()
        except Exception as error:
            if not may_pass(error):
                raise
            met = error
        if wait(seconds, met):
            break
    return function()
