"""Open files of many readers: the bound holds, the least recently used file is closed first, and none while it is used."""

import gc
import os
import pickle
import random
import resource
import threading

import pytest

from fastprep.h5.handles import Handles, OpenFile, default_limit


class Thing:
    """A resource that records when it is opened and closed."""

    def __init__(self, name, log):
        self.name, self.log, self.is_open = name, log, True
        log.append(f"open {name}")

    def close(self):
        self.is_open = False
        self.log.append(f"close {self.name}")


def use(handles, log, name, cost=1):
    return handles.use(name, cost, lambda: Thing(name, log))


def test_the_least_recently_used_is_closed_first():
    handles, log = Handles(2), []
    for name in "abacb":
        with use(handles, log, name):
            pass
    assert log == ["open a", "open b", "close b", "open c", "close a", "open b"]
    assert handles.n_open == 2


def test_what_is_used_stays_open_and_others_wait_for_room():
    handles, log, done = Handles(2), [], threading.Event()

    def third():
        with use(handles, log, "c"):
            done.set()

    with use(handles, log, "a") as first:
        with use(handles, log, "b"):
            thread = threading.Thread(target=third)
            thread.start()
            assert not done.wait(0.1)
        assert done.wait(10)
        thread.join()
        assert first.is_open
    assert log == ["open a", "open b", "close b", "open c"]


def test_room_closes_what_is_idle_and_is_given_back():
    handles, log = Handles(3), []
    for name in "ab":
        with use(handles, log, name):
            pass
    with handles.room(2):
        assert (log[-1], handles.n_open) == ("close a", 3)
    assert handles.n_open == 1


def test_closed_while_it_is_used_means_afterwards():
    handles, log = Handles(2), []
    with use(handles, log, "a") as old:
        handles.close("a")
        assert old.is_open
        with use(handles, log, "a") as new:
            assert new is not old
    assert not old.is_open
    assert new.is_open
    handles.close("a")
    handles.close("a")
    assert not new.is_open
    assert handles.n_open == 0


def test_an_error_of_opening_is_handed_on_and_takes_no_room():
    handles, log = Handles(2), []

    def fail():
        raise FileNotFoundError("gone")

    for _ in range(5):
        with pytest.raises(FileNotFoundError, match="gone"), handles.use("a", 2, fail):
            pass
    assert handles.n_open == 0
    with use(handles, log, "a", 2) as thing:
        assert thing.is_open


@pytest.mark.parametrize("limit", [2, 5])
def test_many_threads_keep_to_the_limit(limit):
    handles, lock, problems, count, most = Handles(limit), threading.Lock(), [], [0], [0]

    class Counted(Thing):
        def __init__(self, name, cost):
            super().__init__(name, [])
            self.cost = cost
            with lock:
                count[0] += cost
                most[0] = max(most[0], count[0])

        def close(self):
            super().close()
            with lock:
                count[0] -= self.cost

    def work(seed):
        choose = random.Random(seed)
        for _ in range(300):
            name = choose.randrange(12)
            cost = 1 + name % 2
            with handles.use(name, cost, lambda name=name, cost=cost: Counted(name, cost)) as thing:
                if not thing.is_open or thing.name != name:
                    problems.append(name)
            if choose.random() < 0.1:
                handles.close(name)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert problems == []
    assert 0 < most[0] <= limit
    assert handles.n_open == count[0]


def test_after_a_fork_nothing_is_open(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    handles = Handles(2)

    def open_it():
        return OpenFile(str(tmp_path / "x"))

    with handles.use("x", 1, open_it) as file:
        before = file.number
    handles._lock.acquire()  # another thread may hold it at the moment of the fork
    child = os.fork()
    if child == 0:
        with handles.use("x", 1, open_it) as file:
            os._exit(0 if handles.n_open == 1 and os.pread(file.number, 3, 0) == b"abc" else 1)
    handles._lock.release()
    assert os.waitpid(child, 0)[1] == 0
    assert os.pread(before, 3, 0) == b"abc"


def test_in_a_child_it_has_begun_anew_before_a_thread_asks():
    """Two threads that found out at the same time would both begin, and the second would forget what the first had opened."""
    handles, log = Handles(2), []
    with use(handles, log, "a"):
        lock = handles._lock
        child = os.fork()
        if child == 0:
            os._exit(0 if handles._lock is not lock and (handles.n_open, len(handles._entries)) == (0, 0) else 1)
        assert os.waitpid(child, 0)[1] == 0
    assert handles.n_open == 1


def test_pickled_it_is_empty_and_one():
    handles, log = Handles(3), []
    with use(handles, log, "a"):
        first, second = pickle.loads(pickle.dumps((handles, handles)))
    assert first is second
    assert (first.limit, first.n_open) == (3, 0)


def test_forgotten_files_are_closed(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    handles = Handles()
    with handles.use("x", 2, lambda: OpenFile(str(tmp_path / "x"), mapped=True)) as file:
        number = file.number
    del handles, file
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


@pytest.mark.parametrize(("soft", "wanted"), [(8, 2), (256, 32), (1024, 128), (10**6, 128), (resource.RLIM_INFINITY, 128)])
def test_the_limit_follows_that_of_the_system(monkeypatch, soft, wanted):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (soft, resource.RLIM_INFINITY))
    assert default_limit() == Handles().limit == wanted


def test_a_limit_below_2_is_refused():
    with pytest.raises(ValueError, match="limit must be at least 2, got 1"):
        Handles(1)
