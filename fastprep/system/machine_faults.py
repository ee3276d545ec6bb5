"""Faults of the machine, as opposed to damage of a file: a disk that went away, too many open files, no memory."""

from __future__ import annotations

import errno

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
        Its causes and contexts count too, because libraries wrap the errors of the system in their own.

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
        error = error.__cause__ or error.__context__
    return False
