"""Threads that start with an empty context, whoever asks first for their work."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import TypeVar

_T = TypeVar("_T")


def submit_without_context(executor: Executor, function: Callable[..., _T], *arguments: object) -> Future[_T]:
    """Let an executor call a function, in a thread that has nothing of the caller's context, even if it is started now.

    Parameters
    ----------
    executor : Executor
        One that outlives the call, such as the threads of a loader.
    function : callable
    *arguments : object

    Returns
    -------
    Future

    Raises
    ------
    RuntimeError
        If the executor was shut down, or the system gives no more threads.

    Notes
    -----
    A thread starts with a copy of the context of whoever starts it where Python has no global lock, and with
    ``-X thread_inherit_context=1`` (since Python 3.14); it keeps the copy till it ends. An executor starts a thread when it is
    asked, so that the first who asks would decide two things: how long what is in that context lives, such as the session of a
    loader of remote files, which would never be forgotten; and what all functions see that run in this thread later, such as a
    `numpy.errstate` around a loop. In an empty context neither happens, and every build of Python does the same.
    """
    return contextvars.Context().run(executor.submit, function, *arguments)
