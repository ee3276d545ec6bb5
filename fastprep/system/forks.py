"""State that begins anew in forked children: open files, and locks that were held by threads which the child does not have."""

from __future__ import annotations

import gc
import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    """Something that can begin anew."""

    def begin(self) -> None:
        """Make the state that does not survive a fork."""
        ...


_all: weakref.WeakSet[Forkable] = weakref.WeakSet()


def begin_in_children(thing: Forkable) -> None:
    """Let an object begin now, and again in every child that is forked from this process.

    Parameters
    ----------
    thing : Forkable
        Only a weak reference to it is kept.

    Notes
    -----
    In a child this happens before anything else, while it has a single thread. If threads found out by themselves, two of them
    could begin at the same time.
    """
    thing.begin()
    _all.add(thing)


def _after_fork() -> None:
    collects = gc.isenabled()
    gc.disable()  # a finalizer might take a lock that has not been made anew yet
    for thing in _all:
        thing.begin()
    if collects:
        gc.enable()


os.register_at_fork(after_in_child=_after_fork)
