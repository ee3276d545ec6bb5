"""Faults of the machine while a file is read: tried again a few times, and then raised as what they are, never as damage."""

from __future__ import annotations

import errno
import logging
import os
import re
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from fastprep.remote import UnreachableError
from fastprep.system import is_machine_fault, with_retries

_WAY_OUT = "this is a fault of the machine, which says nothing about the file: try again when it has passed"
_WAYS_OUT = {
    errno.EMFILE: "this process may open more files after `ulimit -n`",
    errno.ENOMEM: "the machine has too little memory for what runs on it",
}
_DO_NOT_PASS = (FileNotFoundError, PermissionError, NotADirectoryError, UnreachableError)
_EXTERNAL = "unable to open external raw data file"  # in HDF5's words
_NUMBER = re.compile(r"\berrno = (\d+)")
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


def read_again(function: Callable[[], _T], before_again: Callable[[], None]) -> _T:
    """Return what a function returns, which is called again after a fault of the machine; see `fastprep.system.with_retries`.

    A file that is gone, or may not be read any more, is no damage either, but waiting does not bring it back.

    Parameters
    ----------
    function : callable
        It may be called again after it has failed.
    before_again : callable
        Called before each new try, to let go of what may be stale.
    """

    def wait(seconds: float, error: Exception) -> bool:
        _log.warning("reading again in %g s: %s", seconds, " ".join(str(error).split()) or type(error).__name__)
        time.sleep(seconds)
        before_again()
        return False

    return with_retries(function, lambda error: not isinstance(error, _DO_NOT_PASS) and is_machine_fault(error), wait)


def raise_machine_fault(error: BaseException, *location: str | int | None) -> None:
    """Raise an OSError, or the MemoryError itself, if an error of HDF5 or of the system says nothing about the bytes of a file.

    Parameters
    ----------
    error : exception
        Where h5py has not told the number of the system's error, it is in HDF5's text.
    *location
        File, dataset, chunk and sample, as far as they are known.

    Raises
    ------
    OSError
        With the number of the error, and a text that says where it happened.
    MemoryError
        If that is what `error` is.
    """
    if isinstance(error, MemoryError):
        raise error
    if _EXTERNAL in str(error):  # HDF5 does not say why
        raise OSError(errno.EIO, f"{_where(location)}: {_EXTERNAL}; {_WAY_OUT}") from error
    number = error.errno if isinstance(error, OSError) else None
    found = _NUMBER.search(str(error))
    number = int(found[1]) if number is None and found else number
    if number and is_machine_fault(OSError(number, "")):
        raise machine_fault(number, *location) from error


def machine_fault(number: int, *location: str | int | None) -> OSError:
    """Return the error of the system with a number such as EIO, and where it happened: file, dataset, chunk and sample."""
    return OSError(number, f"{_where(location)}: {os.strerror(number)}; {_WAYS_OUT.get(number, _WAY_OUT)}")


def _where(location: Iterable[str | int | None]) -> str:
    known = zip(("file", "dataset", "chunk", "sample"), location, strict=False)
    return ", ".join(f"{word} {value!r}" for word, value in known if value is not None)
