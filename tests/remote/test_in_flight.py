"""How many requests are sent at a time, by a clock that the tests set."""

import threading

import pytest

from fastprep.remote.in_flight import FEWEST, FIRST, MOST, InFlight


class Store:
    """A store that takes a second for a round of requests, up to a number of them; more take proportionally longer."""

    def __init__(self, most):
        self.now, self.most = 0.0, most
        self.in_flight = InFlight(lambda: self.now)
        self.in_flight._n_waiting = 1  # there is always more to ask for

    def round(self):
        """Answer as many requests as there are places; return that number."""
        n = self.in_flight.n_places
        for _ in range(n):
            self.now += 1 / min(n, self.most)
            self.in_flight.came(1 << 20)
        return n


def test_there_are_more_requests_as_long_as_that_moves_more_bytes():
    store = Store(most=1000)
    assert [store.round() for _ in range(6)] == [FIRST, 24, 36, 54, MOST, MOST]


def test_what_does_not_help_is_taken_back_and_tried_again_later():
    store = Store(most=24)
    rounds = [store.round() for _ in range(40)]
    assert rounds[:4] == [FIRST, 24, 36, 24]
    assert 36 in rounds[5:]  # a later trial
    assert rounds.count(24) > 30


def test_where_the_reader_is_what_limits_nothing_is_concluded():
    store = Store(most=1000)
    store.in_flight._n_waiting = 0
    assert [store.round() for _ in range(5)] == [FIRST] * 5


def test_a_few_failures_change_nothing_and_many_halve_the_number():
    store = Store(most=FIRST)
    for _ in range(30):
        store.round()
        store.in_flight.failed()  # one of sixteen
    assert store.in_flight.n_places >= FIRST
    for _ in range(100):
        store.in_flight.failed()
    assert store.in_flight.n_places == FEWEST


def test_there_are_never_more_at_a_time_than_places():
    in_flight, at_once, most = InFlight(), [], []
    lock = threading.Lock()
    gate = threading.Event()

    def ask():
        with in_flight.place():
            with lock:
                at_once.append(1)
                most.append(len(at_once))
            gate.wait(10)
            with lock:
                at_once.pop()

    threads = [threading.Thread(target=ask) for _ in range(3 * FIRST)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join(10)
    assert len(most) == 3 * FIRST
    assert max(most) <= FIRST


def test_an_error_gives_the_place_back():
    in_flight = InFlight()
    for _ in range(2 * FIRST):
        with pytest.raises(OSError, match="lost"), in_flight.place():
            raise OSError("lost")
    with in_flight.place():
        pass
