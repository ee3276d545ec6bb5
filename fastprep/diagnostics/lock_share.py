"""How much of its processor time a worker holds Python's lock (the GIL), which bounds what more workers can gain.

While it is measured, the compiled functions of fastprep are wrapped, and their processor time is added up. They give the lock up
for all that takes long, so what is left is taken for the time with the lock. Processor time is that of one thread: what else the
machine does hardly matters.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.machinery
import itertools
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from fastprep.loader import Loader

_N_FIRST = 4  # pieces of work that do not count: the first ones touch new memory
_ROUND_S = 0.2


@dataclass(frozen=True)
class LockShare:
    """Share of its processor time for which a thread holds Python's lock, 0..1.

    Attributes
    ----------
    value, low, high : float
        Median, least and largest of the rounds.
    """

    value: float
    low: float
    high: float

    @property
    def most_gain(self) -> float:
        """How many times the rate of one thread any number of threads makes at most: by then one of them always has the lock."""
        return 1 / self.value if self.value > 0 else math.inf

    def __str__(self) -> str:
        return f"{self.value:.1%} ({self.low:.1%} to {self.high:.1%})"


def share_of_lock(work: Callable[[], object], rounds: int = 5) -> LockShare:
    """Do some work again and again in this thread, and measure how much of it is outside of fastprep's compiled functions.

    Other threads must not use these functions meanwhile. The result is too low by what a compiled function does before it gives
    the lock up, some microseconds for each call, and too high by what other libraries do without the lock, such as a decoder of
    images that Python calls. h5py does not give it up.

    Parameters
    ----------
    work : callable
    rounds : int
        Number of measurements, of a fifth of a second each.

    Returns
    -------
    LockShare
    """
    shares = []
    with _timed_functions() as native_s:
        for _ in range(_N_FIRST):
            work()
        for _ in range(rounds):
            end, began, native_before = time.perf_counter() + _ROUND_S, time.thread_time(), native_s()
            while True:
                work()
                if time.perf_counter() >= end:
                    break
            shares.append(1 - (native_s() - native_before) / (time.thread_time() - began))
    return LockShare(statistics.median(shares), min(shares), max(shares))


def has_global_lock() -> bool:
    """Return whether one thread at a time executes Python; CPython can be built so that all do."""
    return getattr(sys, "_is_gil_enabled", lambda: True)()


def share_of_worker(loader: Loader, rounds: int = 5) -> LockShare | None:
    """Measure `share_of_lock` for what a worker of a loader does.

    Returns
    -------
    LockShare or None
        None where Python has no such lock, and for encoded images: a decoder that Python calls gives the lock up, and its time
        would be taken for time with the lock.
    """
    return share_of_lock(preparing(loader), rounds) if has_global_lock() and not loader._dataset.is_encoded else None


def preparing(loader: Loader) -> Callable[[], None]:
    """Return a function that does what a worker of a loader does for a batch, or for a group of small ones."""
    source = loader._source

    def turns() -> Iterator[None]:
        for epoch in itertools.count():
            step = 0
            while step < len(source):
                size = source.grouping.size(len(source) - step, 1)
                _ = source.prepare(epoch, step) if size == 1 else source.prepare_group(epoch, range(step, step + size))
                step += size
                yield

    turn = turns()
    return lambda: next(turn)


@contextlib.contextmanager
def _timed_functions() -> Iterator[Callable[[], float]]:
    """Wrap the compiled functions meanwhile, and yield a function that returns their processor time so far, in seconds."""
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("fastprep.")]
    native_s, is_inside = 0.0, False

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*arguments: Any, **options: Any) -> Any:
            nonlocal native_s, is_inside
            if is_inside:  # one of them calls another
                return function(*arguments, **options)
            is_inside, began = True, time.thread_time()
            try:
                return function(*arguments, **options)
            finally:
                native_s += time.thread_time() - began
                is_inside = False

        return wrapped

    wrappers = {id(function): timed(function) for module in modules for function in _compiled_functions(module)}
    replaced = [(module, name, value) for module in modules for name, value in vars(module).items() if id(value) in wrappers]
    try:
        for module, name, value in replaced:
            setattr(module, name, wrappers[id(value)])
        yield lambda: native_s
    finally:
        for module, name, value in replaced:
            setattr(module, name, value)


def _compiled_functions(module: ModuleType) -> list[Callable[..., Any]]:
    if not (getattr(module, "__file__", None) or "").endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES)):
        return []
    own = [value for value in vars(module).values() if getattr(value, "__module__", None) == module.__name__]
    return [value for value in own if callable(value) and not isinstance(value, type)]
