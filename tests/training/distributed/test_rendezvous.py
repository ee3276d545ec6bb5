"""How ranks meet: all of them, or an error on each that names who is missing or does not belong."""

import contextlib
import json
import socket
import threading
import time

import pytest

from fastprep.errors import RankError
from fastprep.training.distributed import rendezvous
from fastprep.training.distributed.cluster import Cluster
from fastprep.training.distributed.rendezvous import meet


@pytest.fixture
def places():
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return tuple(f"127.0.0.1:{one.getsockname()[1]}" for one in sockets)


def meet_all(clusters, timeout_s):
    """Let processes, here threads, meet; return what is said to each, None where it met all."""
    said = [None] * len(clusters)

    def one(k, cluster):
        try:
            meet(cluster, timeout_s)
        except RankError as error:
            said[k] = str(error)

    threads = [threading.Thread(target=one, args=(k, cluster)) for k, cluster in enumerate(clusters)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    return said


def test_all_meet_twice_at_the_same_places(places):
    for _ in range(2):
        assert meet_all([Cluster(places, rank) for rank in (2, 0, 1)], 20) == [None, None, None]


def test_who_is_missing_is_told_to_all(places):
    said = meet_all([Cluster(places, rank) for rank in (0, 1)], 1)
    assert said == [f"rank 2 ({places[2]}) did not come within 1 s (--rank-timeout)"] * 2


def test_that_nobody_is_the_first_is_told(places):
    assert meet_all([Cluster(places, 1)], 0.3) == [f"nobody answers as rank 0 ({places[0]}) within 0.3 s (--rank-timeout)"]


def test_two_of_the_same_index_and_another_cluster_are_told(places):
    # the second one finds its port taken only while the first one looks
    two = Cluster(places, 0), Cluster((places[0], places[2], places[1]), 1)
    first, other = meet_all(two, 20)
    assert first == other
    assert first.startswith("rank 1 has another cluster in TF_CONFIG: ")
    twice = Cluster(places, 1), Cluster(places, 1), Cluster(places, 0)
    assert any("rank 1 is there twice" in (said or "") or "can't listen" in (said or "") for said in meet_all(twice, 3))


def test_a_port_in_use_is_told(places):
    with socket.create_server(("", int(places[1].rpartition(":")[2]))):
        (said,) = meet_all([Cluster(places, 1)], 1)
    assert said == f"can't listen at port {places[1].rpartition(':')[2]} of this host, as TF_CONFIG says: Address already in use"


def test_others_who_try_the_port_do_no_harm(places):
    stop = threading.Event()

    def disturb():
        host, _, port = places[0].rpartition(":")
        while not stop.wait(0.02):
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\n\r\n")

    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        assert meet_all([Cluster(places[:2], 0), Cluster(places[:2], 1)], 20) == [None, None]
    finally:
        stop.set()
        disturber.join(10)


def hello(places, **changed):
    return json.dumps({"what": "fastprep", "rank": 1, "workers": places, **changed}).encode() + b"\n"


@contextlib.contextmanager
def visiting(places, timeout_s=20):
    """Let rank 0 wait, and give a connection to it; what is said to it in the end is in the list."""
    said = []
    first = threading.Thread(target=lambda: said.extend(meet_all([Cluster(places, 0)], timeout_s)))
    first.start()
    host, _, port = places[0].rpartition(":")
    for _ in range(1000):
        with contextlib.suppress(OSError):
            connection = socket.create_connection((host, int(port)), timeout=1)
            break
        time.sleep(0.01)
    with connection:
        yield connection, said
        first.join(30)
    assert not first.is_alive()


STRANGERS = {
    "no rank": lambda places: b'{"what":"fastprep"}\n',
    "no workers": lambda places: b'{"what":"fastprep","rank":1}\n',
    "workers are a number": lambda places: hello(places, workers=7),
    "rank is a word": lambda places: hello(places, rank="1"),
    "rank is true": lambda places: hello(places, rank=True),
    "rank beyond the cluster": lambda places: hello(places, rank=99),
    "rank below it": lambda places: hello(places, rank=-1),
    "deep": lambda places: b"[" * 200_000 + b"\n",
    "no text": lambda places: b"\xff\xfe\n",
    "another program": lambda places: b'{"what":"other","rank":1}\n',
}


@pytest.mark.parametrize("stranger", STRANGERS)
def test_strangers_are_not_taken_for_ranks(places, stranger):
    with visiting(places[:2]) as (connection, said):
        connection.sendall(STRANGERS[stranger](places[:2]))
        assert meet_all([Cluster(places[:2], 1)], 20) == [None]
    assert said == [None]


def test_a_stranger_who_never_comes_to_an_end_is_not_waited_for(places, monkeypatch):
    monkeypatch.setattr(rendezvous, "_HELLO_S", 0.3)
    stop = threading.Event()
    with visiting(places[:2]) as (connection, said):

        def drip():
            with contextlib.suppress(OSError):
                while not stop.wait(0.05):
                    connection.sendall(b"x")

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            assert meet_all([Cluster(places[:2], 1)], 10) == [None]
        finally:
            stop.set()
            dripping.join(10)
    assert said == [None]


@pytest.mark.parametrize("next_ones", [(1, 2), (2, 1)])
def test_a_rank_that_was_killed_while_it_waited_may_come_again(places, next_ones):
    with visiting(places) as (connection, said):
        connection.sendall(hello(places))
        connection.close()
        assert meet_all([Cluster(places, rank) for rank in next_ones], 20) == [None, None]
    assert said == [None]


def test_a_rank_that_was_killed_while_it_waited_is_missing(places):
    with visiting(places, 1) as (connection, said):
        connection.sendall(hello(places))
        connection.close()
        others = meet_all([Cluster(places, 2)], 20)
        assert others == [f"rank 1 ({places[1]}) did not come within 1 s (--rank-timeout)"]
    assert said == others
