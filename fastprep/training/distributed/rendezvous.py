"""Rendezvous of the processes of one training run, with a clear error if one of them is missing.

TensorFlow waits an hour for a process that never comes, prints nothing meanwhile, and can't be interrupted. The processes
therefore meet through plain sockets first, at the address of rank 0. Only then does TensorFlow connect them.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import signal
import socket
import threading
import time
from typing import Any

from fastprep.cli.tensorflow_startup import start_tensorflow
from fastprep.errors import InputError, RankError
from fastprep.training.distributed.cluster import Cluster
from fastprep.training.distributed.collectives import Joined
from fastprep.training.distributed.ranks import ALONE, Ranks

_LINE = 1 << 20  # bytes of the longest message
_HELLO_S = 2.0  # seconds for the first message of a connection
_ANSWER_S = 10.0  # seconds for an answer that should come at once


def join(cluster: Cluster, timeout_s: float) -> Ranks:
    """Connect this process with the others; this is the first use of TensorFlow.

    Parameters
    ----------
    cluster : Cluster
    timeout_s : float
        Seconds to wait for all of them.

    Returns
    -------
    Ranks
        `ALONE` if there are no others.

    Raises
    ------
    RankError
        If a rank does not come in time, or TensorFlow can't connect them.
    InputError
        If this process sees several GPUs, because a rank uses one.
    """
    if cluster.world == 1:
        return ALONE
    start_tensorflow(first_operation=False)  # it would be too late for a cluster after that
    import tensorflow as tf

    if (n_gpus := len(tf.config.list_physical_devices("GPU"))) > 1:
        raise InputError(f"this process sees {n_gpus} GPUs and would use one: start one for each, by CUDA_VISIBLE_DEVICES")
    meet(cluster, timeout_s)
    kind = tf.distribute.experimental.CommunicationImplementation
    options = tf.distribute.experimental.CommunicationOptions(implementation=kind.NCCL if n_gpus else kind.RING)
    # another process may still die now, and nothing but this ends a process that waits for it inside TensorFlow
    faulthandler.dump_traceback_later(timeout_s + _ANSWER_S, exit=True)
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    except Exception as error:  # TensorFlow raises many types here
        raise RankError(f"TensorFlow can't connect the ranks: {' '.join(str(error).split())[:400]}") from error
    finally:
        faulthandler.cancel_dump_traceback_later()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))  # TensorFlow has installed its own
    return Joined(cluster, timeout_s, strategy)


def meet(cluster: Cluster, timeout_s: float) -> None:
    """Return when all processes have reported to rank 0.

    Parameters
    ----------
    cluster : Cluster
    timeout_s : float
        Seconds to wait.

    Raises
    ------
    RankError
        If not all come in time, or their clusters differ.
    """
    deadline = time.monotonic() + timeout_s
    with _listen(cluster) as server:
        if cluster.rank:
            server.close()  # opened only to check that the port is free
            problem = _report_to_first(cluster, deadline, timeout_s)
        else:
            problem = _receive_all(cluster, server, deadline, timeout_s)
    if problem:
        raise RankError(problem)


def _listen(cluster: Cluster) -> socket.socket:
    port = int(cluster.workers[cluster.rank].rpartition(":")[2])
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
        return socket.create_server(("", port), backlog=128)
    except OSError as error:
        raise RankError(f"can't listen at port {port} of this host, as TF_CONFIG says: {os.strerror(error.errno or 0)}") from None


def _receive_all(cluster: Cluster, server: socket.socket, deadline: float, timeout_s: float) -> str | None:
    """Wait, as rank 0, for all others; tell them about a problem, if there is one, and return it."""
    connections: dict[int, socket.socket] = {}
    problem = None
    with contextlib.ExitStack() as stack:
        while problem is None:
            connections = {rank: connection for rank, connection in connections.items() if not _has_gone(connection)}
            if len(connections) == cluster.world - 1:
                break
            server.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                if time.monotonic() > deadline:  # connections of other programs do not extend the time
                    raise TimeoutError
                connection, _ = server.accept()
            except TimeoutError:
                missing = [cluster.name(rank) for rank in range(1, cluster.world) if rank not in connections]
                problem = f"{', '.join(missing)} did not come within {timeout_s:g} s (--rank-timeout)"
                break
            hello = _read_hello(stack.enter_context(connection))
            if hello is None:
                continue  # some other program that tries ports
            rank, workers = hello
            if rank in connections and _has_gone(connections[rank]):
                del connections[rank]  # it was ended while it waited, and started again
            if workers != cluster.workers:
                theirs, ours = ", ".join(workers), ", ".join(cluster.workers)
                problem = f"rank {rank} has another cluster in TF_CONFIG: {theirs}; rank 0 has {ours}"
            elif rank in connections or rank == 0:
                problem = f"rank {rank} is there twice: every process needs an index of its own in TF_CONFIG"
            elif not 0 < rank < cluster.world:
                continue
            connections[-1 if rank in connections else rank] = connection
        _answer(list(connections.values()), problem)
    return problem


def _read_hello(connection: socket.socket) -> tuple[int, tuple[str, ...]] | None:
    """Return rank and workers of the process that has connected; None if it is not one of fastprep."""
    hello = _read(connection)
    if not isinstance(hello, dict) or hello.get("what") != "fastprep":
        return None
    rank, workers = hello.get("rank"), hello.get("workers")
    if type(rank) is not int or not isinstance(workers, list):
        return None
    return rank, tuple(map(str, workers))


def _answer(connections: list[socket.socket], problem: str | None) -> None:
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.settimeout(_ANSWER_S)
            connection.sendall(json.dumps({"said": problem}).encode() + b"\n")
    for connection in connections:  # the side that closes first keeps its port busy, so let the others close first
        with contextlib.suppress(OSError):
            connection.settimeout(_ANSWER_S)
            connection.recv(1)


def _report_to_first(cluster: Cluster, deadline: float, timeout_s: float) -> str | None:
    """Report to rank 0; return the problem that it tells about, if there is one."""
    host, _, port = cluster.workers[0].rpartition(":")
    hello = {"what": "fastprep", "rank": cluster.rank, "workers": cluster.workers}
    while True:
        with contextlib.suppress(OSError), socket.create_connection((host.strip("[]"), int(port)), timeout=2.0) as connection:
            connection.sendall(json.dumps(hello).encode() + b"\n")
            connection.settimeout(max(0.0, deadline - time.monotonic()) + _ANSWER_S)
            answer = _read(connection, patient=True)
            if isinstance(answer, dict):
                return answer.get("said")
        if time.monotonic() >= deadline:
            return f"nobody answers as {cluster.name(0)} within {timeout_s:g} s (--rank-timeout)"
        time.sleep(0.2)


def _read(connection: socket.socket, patient: bool = False) -> Any:
    """Return the message that a connection sends, a line of JSON; None if none comes."""
    until = time.monotonic() + ((connection.gettimeout() or 0.0) if patient else _HELLO_S)
    received = b""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        while not received.endswith(b"\n") and len(received) < _LINE:
            connection.settimeout(max(0.001, until - time.monotonic()))  # one limit for a whole message, however slow
            if not (part := connection.recv(_LINE)):
                break
            received += part
        return json.loads(received)
    return None


def _has_gone(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
