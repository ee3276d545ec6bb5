"""How ranks meet: all of them, or an error on each that names who is missing or does not belong."""

import contextlib
import socket
import threading

import pytest

from fastprep.cluster import Cluster
from fastprep.joining import meet
from fastprep.ranks import RankError


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
