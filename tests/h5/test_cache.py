"""Decoded blocks: made once, kept or not, forgotten at any moment and after a fork."""

import inspect
import os
import sys
import threading

import numpy as np
import pytest
from meddling_number import MeddlingNumber

from fastprep.h5.cache import BlockCache


class Meddling:
    """A key that does something when its hash is asked for a certain time, as a finalizer does that runs at this moment."""

    def __init__(self, moment, action):
        self.n_asked, self.moment, self.action = 0, moment, action

    def __hash__(self):
        self.n_asked += 1
        if self.n_asked == self.moment:
            self.action()
        return 1


def test_each_block_is_made_once_and_the_last_ones_are_kept():
    cache, made = BlockCache(2), []

    def get(key):
        return cache.get(key, lambda: made.append(key) or np.array([key]))[0]

    assert [get(key) for key in (1, 2, 1, 3, 1, 2)] == [1, 2, 1, 3, 1, 2]
    assert made == [1, 2, 3, 2]
    cache.clear()
    assert get(2) == 2
    assert made == [1, 2, 3, 2, 2]
    assert cache.n_made == 5


@pytest.mark.parametrize("thread", [False, True])
def test_cleared_at_any_moment_it_gives_the_block_all_the_same(thread):
    for n_blocks in (1, 3):
        for moment in range(1, 8):
            cache, problems = BlockCache(n_blocks), []
            for key in "abc"[:n_blocks]:
                cache.get(key, lambda: np.array([0]))

            def clear(cache=cache):
                if not thread:
                    cache.clear()
                    return
                # in another thread, which waits if this one has the lock
                other = threading.Thread(target=cache.clear)
                other.start()
                other.join(0.05)
                problems.append(other)  # noqa: B023 - called in this round

            key, block = Meddling(moment, clear), np.array([moment])
            for _ in range(2):
                assert cache.get(key, lambda block=block: block) is block
            for other in problems:
                other.join(10)
                assert not other.is_alive()


def test_an_error_is_handed_on_and_not_kept():
    cache = BlockCache(2)

    def fail():
        raise OSError("gone")

    for _ in range(2):
        with pytest.raises(OSError, match="gone"):
            cache.get("a", fail)
    assert cache.get("a", lambda: np.array([1]))[0] == 1


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_interrupt_is_not_handed_on_to_those_who_wait(error):
    cache, begun, go_on, got = BlockCache(2), threading.Event(), threading.Event(), []

    def fail():
        begun.set()
        assert go_on.wait(10)
        raise error

    def wait():
        try:
            got.append(cache.get("a", lambda: np.array([1]))[0])
        except OSError as problem:
            got.append(type(problem))

    def interrupt():
        with pytest.raises(error):
            cache.get("a", fail)
        got.append("ended")

    threads = [threading.Thread(target=interrupt)]
    threads[0].start()
    assert begun.wait(10)
    threads.append(threading.Thread(target=wait))
    threads[1].start()
    threads[1].join(0.05)  # it usually waits by now
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert set(got) == {"ended", 1 if error is KeyboardInterrupt else OSError}


@pytest.mark.parametrize("problem", [None, OSError])
def test_interrupted_at_any_line_nobody_waits_for_ever(problem):
    """The interrupt reaches the thread that makes the block; another one then asks for it.

    Not between the end of a `with` and the release of its lock, nor at a `try`: there CPython does not look for signals.
    """
    source, first = inspect.getsourcelines(BlockCache.get)
    left_out = {first + k for k, line in enumerate(source) if line.strip().startswith(("with ", "try:"))}

    def make():
        if problem is not None:
            raise problem("gone")
        return np.array([1])

    def ask(cache, got):
        try:
            got.append(cache.get("a", make)[0])
        except OSError:
            got.append("gone")

    for number in range(100):
        cache, passed, interrupted, got = BlockCache(2), [], False, []

        def trace(frame, event, argument, passed=passed, number=number):
            if frame.f_code is not BlockCache.get.__code__:
                return None
            if event == "line" and frame.f_lineno not in left_out:
                passed.append(frame.f_lineno)
                if len(passed) == number + 1:
                    raise KeyboardInterrupt
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            ask(cache, [])
        except KeyboardInterrupt:
            interrupted = True
        finally:
            sys.settrace(before)
        other = threading.Thread(target=ask, args=(cache, got), daemon=True)
        other.start()
        other.join(10)
        assert got == [1 if problem is None else "gone"], str(passed)
        if not interrupted:
            break
    assert number > 8  # a renamed function would leave no lines


def test_after_a_fork_it_is_empty_before_a_thread_asks():
    cache = BlockCache(2)
    cache.get("a", lambda: np.array([1]))
    lock = cache._lock
    with lock:  # another thread may hold it at the moment of the fork
        child = os.fork()
        if child == 0:
            fresh = cache._lock is not lock and not cache._blocks
            os._exit(0 if fresh and cache.get("a", lambda: np.array([2]))[0] == 2 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert cache.get("a", lambda: np.array([2]))[0] == 1


def test_no_block_is_lost_of_the_count_when_two_threads_make_one_at_a_time():
    cache = BlockCache(0)
    cache.n_made = number = MeddlingNumber(0, lambda: cache.get("b", lambda: np.array([2])))
    cache.get("a", lambda: np.array([1]))
    number.thread.join()
    assert cache.n_made == 2
