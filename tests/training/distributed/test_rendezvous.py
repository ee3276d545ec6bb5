"""Rendezvous of ranks: all of them meet, or each has an error that names the rank which is missing or does not belong."""

import contextlib
import errno
import itertools
import json
import math
import resource
import socket
import threading
import time

import pytest

from fastprep.errors import RankError
from fastprep.training.distributed import reception, secret
from fastprep.training.distributed.cluster import Cluster
from fastprep.training.distributed.rendezvous import meet


@pytest.fixture
def addresses():
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return tuple(f"127.0.0.1:{one.getsockname()[1]}" for one in sockets)


def missing(addresses, *ranks):
    return ", ".join(f"rank {rank} ({addresses[rank]})" for rank in ranks)


def meet_all(clusters, timeout_s, secrets=None):
    """Let processes, here threads, meet; return the error message of each, None where it met all."""
    messages = [None] * len(clusters)

    def one(k, cluster):
        try:
            meet(cluster, timeout_s, secrets[k] if secrets else None)
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
    first, other = meet_all(two, 1)
    assert other.startswith("rank 1 has another cluster in TF_CONFIG: ")
    assert first == f"{missing(addresses, 1, 2)} did not come within 1 s (--rank-timeout); {other}"
    twice = Cluster(addresses, 1), Cluster(addresses, 1), Cluster(addresses, 0)
    messages = [message or "" for message in meet_all(twice, 1)]
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
def visiting(addresses, timeout_s=20, secret=None):
    """Let rank 0 wait, and yield a connection to it; its message at the end is in the list."""
    messages = []
    first = threading.Thread(target=lambda: messages.extend(meet_all([Cluster(addresses, 0)], timeout_s, [secret])))
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


def test_what_proofs_are_made_of_is_never_nested(addresses):
    """JSON reads what it can't write again, one call deeper: at such a depth a proof would end rank 0."""
    workers, message = addresses[:2], '{"what":"fastprep","rank":1,"workers":["x"],"proof":"p","nonce":%s}\n'
    with visiting(workers, secret=b"s3cret") as (_, messages):
        for depth in range(900, 1000):
            with contextlib.suppress(OSError), call(workers) as stranger:
                stranger.sendall((message % ("[" * depth + "]" * depth)).encode())
        assert meet_all([Cluster(workers, 1)], 20, [b"s3cret"]) == [None]
    assert messages == [None]


def test_a_stranger_who_never_comes_to_an_end_is_not_waited_for(addresses, monkeypatch):
    monkeypatch.setattr(reception, "_HELLO_S", 0.3)
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


def call(addresses):
    host, _, port = addresses[0].rpartition(":")
    return socket.create_connection((host, int(port)), timeout=5)


def receive(connection):
    with connection.makefile("rb") as file:
        return json.loads(file.readline())


def test_a_thousand_who_connect_and_close_do_not_use_up_the_open_files(addresses):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with visiting(addresses[:2]) as (_, messages):
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, limits[1]))
        try:
            for _ in range(1023):
                call(addresses).close()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert meet_all([Cluster(addresses[:2], 1)], 20) == [None]
    assert messages == [None]


@pytest.mark.parametrize("sent", [b"", b'{"what":"fastprep"', b"x" * 3000], ids=["silent", "half a line", "no line"])
def test_twenty_who_say_nothing_whole_do_not_keep_a_rank_out(addresses, sent, monkeypatch):
    monkeypatch.setattr(reception, "_HELLO_S", 1000.0)  # even if their time were endless
    with visiting(addresses[:2]) as (_, messages), contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(call(addresses)).sendall(sent)
        assert meet_all([Cluster(addresses[:2], 1)], 20) == [None]
    assert messages == [None]


def test_only_a_few_strangers_are_open_at_a_time_and_the_oldest_leave(addresses, monkeypatch):
    monkeypatch.setattr(reception, "_HELLO_S", 1000.0)
    with visiting(addresses[:2]) as (oldest, messages), contextlib.ExitStack() as stack:
        for _ in range(reception._STRANGERS):
            newest = stack.enter_context(call(addresses))
            receive(newest)  # its greeting: rank 0 knows it
        receive(oldest)
        oldest.settimeout(20)
        assert oldest.recv(1) == b""
        newest.setblocking(False)
        with pytest.raises(BlockingIOError):
            newest.recv(1)
        assert meet_all([Cluster(addresses[:2], 1)], 20) == [None]
    assert messages == [None]


def test_a_flood_is_cut_off(addresses):
    with visiting(addresses[:2]) as (connection, messages):
        connection.settimeout(20)
        with pytest.raises(ConnectionError):
            connection.sendall(b"x" * 100_000_000)  # if somebody read them
        assert meet_all([Cluster(addresses[:2], 1)], 20) == [None]
    assert messages == [None]


def test_rank_0_lives_through_a_shortage_of_descriptors(addresses, monkeypatch):
    accept, failures = socket.socket.accept, iter(range(5))

    def accept_or_fail(server):
        if next(failures, None) is not None:
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(server)

    monkeypatch.setattr(socket.socket, "accept", accept_or_fail)
    assert meet_all([Cluster(addresses[:2], rank) for rank in (0, 1)], 20) == [None, None]
    assert next(failures, None) is None


@pytest.mark.parametrize("changed", [{"workers": ["\x1b[2J:1", "b:2"]}, {"rank": 0}], ids=["another cluster", "rank 0"])
def test_a_line_without_a_proof_ends_nothing_and_reaches_the_terminal_as_text(addresses, changed):
    with visiting(addresses[:2]) as (connection, messages):
        receive(connection)
        connection.sendall(hello(addresses[:2], **changed))
        answer = receive(connection)["said"]
        assert "TF_CONFIG" in answer
        assert "\x1b" not in answer
        assert meet_all([Cluster(addresses[:2], 1)], 20) == [None]
    assert messages == [None]


# --- with a secret


def test_ranks_of_one_secret_meet(addresses):
    clusters = [Cluster(addresses, rank) for rank in (2, 0, 1)]
    assert meet_all(clusters, 20, [b"s3cret"] * 3) == [None] * 3


def test_a_problem_among_those_who_know_the_secret_is_told_to_all_at_once(addresses):
    clusters = Cluster(addresses, 0), Cluster((addresses[0], addresses[2], addresses[1]), 1)
    first, other = meet_all(clusters, 20, [b"s3cret"] * 2)
    assert first == other
    assert first.startswith("rank 1 has another cluster in TF_CONFIG: ")


VARIABLE = "FASTPREP_RANK_SECRET must be the same for all ranks"


@pytest.mark.parametrize(
    ("first", "other", "told"),
    [
        (b"s3cret", b"other", f"(--rank-timeout); what listens there gave no answer: {VARIABLE}"),
        (None, b"s3cret", f"(--rank-timeout); what listens there asks for no secret: {VARIABLE}"),
        (b"s3cret", None, f"rank 0 asks for a secret: {VARIABLE}, and is not set here"),
    ],
    ids=["another secret", "none at rank 0", "none at rank 1"],
)
def test_ranks_of_other_secrets_do_not_meet_and_say_why(addresses, first, other, told):
    messages = meet_all([Cluster(addresses[:2], 0), Cluster(addresses[:2], 1)], 1, [first, other])
    assert messages[0].startswith(f"{missing(addresses, 1)} did not come within 1 s (--rank-timeout)")
    assert ("did not prove" in messages[0]) == (first is not None and other is not None)
    assert messages[1].endswith(told)


def test_an_overheard_proof_is_worth_nothing(addresses):
    """A line that a rank has sent opens nothing on another connection, because that has another challenge."""
    workers = list(addresses[:2])
    with visiting(addresses[:2], secret=b"s3cret") as (connection, messages):
        challenge = receive(connection)["challenge"]
        overheard = hello(workers, nonce="n", proof=secret.proof(b"s3cret", "hello", challenge, "n", 1, workers))
        with call(addresses) as replaying:
            assert receive(replaying)["challenge"] != challenge
            replaying.sendall(overheard)
            assert replaying.recv(1) == b""
        connection.sendall(overheard)  # there it opens
        answer = receive(connection)
        connection.close()
    assert messages == [None]
    assert secret.proves(answer["proof"], b"s3cret", "answer", challenge, "n", None)


@pytest.mark.parametrize("given", [None, 7, "", "\ud800", "ä" * 64, "0" * 64])
def test_a_wrong_proof_is_one_of_any_type(given):
    assert not secret.proves(given, b"s3cret", "hello", 1)


@pytest.mark.parametrize("answers", [math.inf, 1])  # after these it accepts, and says nothing until the time is over
def test_a_program_at_the_address_of_rank_0_can_end_no_rank_that_has_a_secret(addresses, answers):
    def pretend(server):
        with contextlib.suppress(OSError), contextlib.ExitStack() as silent:
            for k in itertools.count():
                connection = silent.enter_context(server.accept()[0])
                if k < answers:
                    with connection:
                        connection.sendall(b'{"what": "fastprep", "challenge": "c", "secret": true}\n')
                        connection.recv(10_000)
                        connection.sendall(b'{"said": "\\u001b[2J ended", "proof": "00"}\n')

    server = socket.create_server(("", int(addresses[0].rpartition(":")[2])))
    pretending = threading.Thread(target=pretend, args=(server,))
    pretending.start()
    try:
        (message,) = meet_all([Cluster(addresses[:2], 1)], 2, [b"s3cret"])
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        pretending.join(10)
    assert message.endswith(f"(--rank-timeout); what listens there does not know the secret: {VARIABLE}")


def test_the_secret_is_that_of_the_environment():
    assert secret.from_environment({}) is None
    assert secret.from_environment({"FASTPREP_RANK_SECRET": ""}) is None
    assert secret.from_environment({"FASTPREP_RANK_SECRET": "ä\udcff"}) == b"\xc3\xa4\xff"
