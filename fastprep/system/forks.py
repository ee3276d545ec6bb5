"""What begins anew in a child that is forked off: locks, which a thread that is not there any more may hold, and open files."""

from __future__ import annotations

import gc
import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    """What can begin anew."""

    def begin(self) -> None:
        """Make what does not survive a fork."""
        ...


_all: weakref.WeakSet[Forkable] = weakref.WeakSet()


def begin_in_children(thing: Forkable) -> None:
    """Let an object begin now, and again in every child that is forked off this process.

    Parameters
    ----------
    thing : Forkable
        Held by a weak reference.

    Notes
    -----
    There it is done before anything else, while the child has one thread: two that found out by themselves would begin twice.
    """
    thing.begin()
    _all.add(thing)


def _after_fork() -> None:
    collects = gc.isenabled()
    gc.disable()  # a finalizer might take a lock whose turn has not come
    for thing in _all:
        thing.begin()
    if collects:
        gc.enable()


os.register_at_fork(after_in_child=_after_fork)
