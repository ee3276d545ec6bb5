"""Rendezvous of ranks: all of them meet, or each has an error that names the rank which is missing or does not belong."""

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
def addresses():
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return tuple(f"127.0.0.1:{one.getsockname()[1]}" for one in sockets)


def meet_all(clusters, timeout_s):
    """Let processes, here threads, meet; return the error message of each, None where it met all."""
    messages = [None] * len(clusters)

    def one(k, cluster):
        try:
            meet(cluster, timeout_s)
        except RankError as error:
            messages[k] = str(error)

    threads = [threading.Thread(target=one, args=(k, cluster)) for k, cluster in enumerate(clusters)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    return messages


def test_all_meet_twice_at_the_same_addresses(addresses):
    for _ in range(2):
        assert meet_all([Cluster(addresses, rank) for rank in (2, 0, 1)], 20) == [None, None, None]


def test_who_is_missing_is_told_to_all(addresses):
    messages = meet_all([Cluster(addresses, rank) for rank in (0, 1)], 1)
    assert messages == [f"rank 2 ({addresses[2]}) did not come within 1 s (--rank-timeout)"] * 2


def test_that_nobody_is_the_first_is_told(addresses):
    assert meet_all([Cluster(addresses, 1)], 0.3) == [f"nobody answers as rank 0 ({addresses[0]}) within 0.3 s (--rank-timeout)"]


def test_two_of_the_same_index_and_another_cluster_are_told(addresses):
    # the second one finds its port taken only while the first one looks
    two = Cluster(addresses, 0), Cluster((addresses[0], addresses[2], addresses[1]), 1)
    first, other = meet_all(two, 20)
    assert first == other
    assert first.startswith("rank 1 has another cluster in TF_CONFIG: ")
    twice = Cluster(addresses, 1), Cluster(addresses, 1), Cluster(addresses, 0)
    messages = [message or "" for message in meet_all(twice, 3)]
    assert any("rank 1 is there twice" in message or "can't listen" in message for message in messages)


def test_a_port_in_use_is_told(addresses):
    with socket.create_server(("", int(addresses[1].rpartition(":")[2]))):
        (message,) = meet_all([Cluster(addresses, 1)], 1)
    port = addresses[1].rpartition(":")[2]
    assert message == f"can't listen at port {port} of this host, as TF_CONFIG says: Address already in use"


def test_others_who_try_the_port_do_no_harm(addresses):
    stop = threading.Event()

    def disturb():
        host, _, port = addresses[0].rpartition(":")
        while not stop.wait(0.02):
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\n\r\n")

    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        assert meet_all([Cluster(addresses[:2], 0), Cluster(addresses[:2], 1)], 20) == [None, None]
    finally:
        stop.set()
        disturber.join(10)


def hello(addresses, **changed):
    return json.dumps({"what": "fastprep", "rank": 1, "workers": addresses, **changed}).encode() + b"\n"


@contextlib.contextmanager
def visiting(addresses, timeout_s=20):
    """Let rank 0 wait, and yield a connection to it; its message at the end is in the list."""
    messages = []
    first = threading.Thread(target=lambda: messages.extend(meet_all([Cluster(addresses, 0)], timeout_s)))
    first.start()
    host, _, port = addresses[0].rpartition(":")
    for _ in range(1000):
        with contextlib.suppress(OSError):
            connection = socket.create_connection((host, int(port)), timeout=1)
            break
        time.sleep(0.01)
    with connection:
        yield connection, messages
        first.join(30)
    assert not first.is_alive()


STRANGERS = {
    "no rank": lambda addresses: b'{"what":"fastprep"}\n',
    "no workers": lambda addresses: b'{"what":"fastprep","rank":1}\n',
    "workers are a number": lambda addresses: hello(addresses, workers=7),
    "rank is a word": lambda addresses: hello(addresses, rank="1"),
    "rank is true": lambda addresses: hello(addresses, rank=True),
    "rank beyond the cluster": lambda addresses: hello(addresses, rank=99),
    "rank below it": lambda addresses: hello(addresses, rank=-1),
    "deep": lambda addresses: b"[" * 200_000 + b"\n",
    "no text": lambda addresses: b"\xff\xfe\n",
    "another program": lambda addresses: b'{"what":"other","rank":1}\n',
}


@pytest.mark.parametrize("stranger", STRANGERS)
def test_strangers_are_not_taken_for_ranks(addresses, stranger):
    with visiting(addresses[:2]) as (connection, messages):
        connection.sendall(STRANGERS[stranger](addresses[:2]))
        assert meet_all([Cluster(addresses[:2], 1)], 20) == [None]
    assert messages == [None]


def test_a_stranger_who_never_comes_to_an_end_is_not_waited_for(addresses, monkeypatch):
    monkeypatch.setattr(rendezvous, "_HELLO_S", 0.3)
    stop = threading.Event()
    with visiting(addresses[:2]) as (connection, messages):

        def drip():
            with contextlib.suppress(OSError):
                while not stop.wait(0.05):
                    connection.sendall(b"x")

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            assert meet_all([Cluster(addresses[:2], 1)], 10) == [None]
        finally:
            stop.set()
            dripping.join(10)
    assert messages == [None]


@pytest.mark.parametrize("next_ones", [(1, 2), (2, 1)])
def test_a_rank_that_was_killed_while_it_waited_may_come_again(addresses, next_ones):
    with visiting(addresses) as (connection, messages):
        connection.sendall(hello(addresses))
        connection.close()
        assert meet_all([Cluster(addresses, rank) for rank in next_ones], 20) == [None, None]
    assert messages == [None]


def test_a_rank_that_was_killed_while_it_waited_is_missing(addresses):
    with visiting(addresses, 1) as (connection, messages):
        connection.sendall(hello(addresses))
        connection.close()
        others = meet_all([Cluster(addresses, 2)], 20)
        assert others == [f"rank 1 ({addresses[1]}) did not come within 1 s (--rank-timeout)"]
    assert messages == others
