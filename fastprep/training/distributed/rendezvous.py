"""How the processes of one training run find each other, and what is said if they don't.

TensorFlow waits an hour for a process that never comes, says nothing meanwhile, and can't be interrupted. So the processes meet
by plain sockets first, at the place of rank 0, and only then are connected by TensorFlow.
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
from fastprep.training.distributed.collectives import ALONE, Joined, Ranks

_LINE = 1 << 20  # bytes of the longest message
_HELLO_S = 2.0
_ANSWER_S = 10.0  # for what should come at once


def join(cluster: Cluster, timeout_s: float) -> Ranks:
    """Connect this process with the others; the first use of TensorFlow.

    Parameters
    ----------
    cluster : Cluster
    timeout_s : float
        How long to wait for all of them.

    Returns
    -------
    Ranks
        `ALONE` if there are no others.

    Raises
    ------
    RankError
        If they are not all there in time, or TensorFlow can't connect them.
    InputError
        If this process sees several GPUs: a rank uses one.
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
    # one may still die between two lines; nothing but this reaches a process that waits there
    faulthandler.dump_traceback_later(timeout_s + _ANSWER_S, exit=True)
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    except Exception as error:  # of many kinds
        raise RankError(f"TensorFlow can't connect the ranks: {' '.join(str(error).split())[:400]}") from error
    finally:
        faulthandler.cancel_dump_traceback_later()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))  # TensorFlow has put a handler of its own there
    return Joined(cluster, timeout_s, strategy)


def meet(cluster: Cluster, timeout_s: float) -> None:
    """Return when all processes are there.

    Parameters
    ----------
    cluster : Cluster
    timeout_s : float
        How long to wait.

    Raises
    ------
    RankError
        If not all come in time, or they do not belong together.
    """
    deadline = time.monotonic() + timeout_s
    with _listen(cluster) as server:
        if cluster.rank:
            server.close()  # that its port is free was all there was to see
            said = _ask_first(cluster, deadline, timeout_s)
        else:
            said = _receive_all(cluster, server, deadline, timeout_s)
    if said:
        raise RankError(said)


def _listen(cluster: Cluster) -> socket.socket:
    port = int(cluster.workers[cluster.rank].rpartition(":")[2])
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
        return socket.create_server(("", port), backlog=128)
    except OSError as error:
        raise RankError(f"can't listen at port {port} of this host, as TF_CONFIG says: {os.strerror(error.errno or 0)}") from None


def _receive_all(cluster: Cluster, server: socket.socket, deadline: float, timeout_s: float) -> str | None:
    """Wait, as rank 0, for all others; tell them, and return, what is wrong, if anything is."""
    there: dict[int, socket.socket] = {}
    said = None
    with contextlib.ExitStack() as stack:
        while said is None:
            there = {rank: connection for rank, connection in there.items() if not _has_gone(connection)}
            if len(there) == cluster.world - 1:
                break
            server.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                if time.monotonic() > deadline:  # strangers who keep coming give nobody more time
                    raise TimeoutError
                connection, _ = server.accept()
            except TimeoutError:
                missing = [cluster.name(rank) for rank in range(1, cluster.world) if rank not in there]
                said = f"{', '.join(missing)} did not come within {timeout_s:g} s (--rank-timeout)"
                break
            hello = _read(stack.enter_context(connection))
            if not isinstance(hello, dict) or hello.get("what") != "fastprep":
                continue  # whoever else tries ports
            rank, workers = hello.get("rank"), hello.get("workers")
            if type(rank) is not int or not isinstance(workers, list):
                continue
            workers = tuple(map(str, workers))
            if rank in there and _has_gone(there[rank]):
                del there[rank]  # it was ended while it waited, and started again
            if workers != cluster.workers:
                theirs, ours = ", ".join(workers), ", ".join(cluster.workers)
                said = f"rank {rank} has another cluster in TF_CONFIG: {theirs}; rank 0 has {ours}"
            elif rank in there or rank == 0:
                said = f"rank {rank} is there twice: every process needs an index of its own in TF_CONFIG"
            elif not 0 < rank < cluster.world:
                continue
            there[-1 if rank in there else rank] = connection
        for connection in there.values():
            with contextlib.suppress(OSError):
                connection.settimeout(_ANSWER_S)
                connection.sendall(json.dumps({"said": said}).encode() + b"\n")
        for connection in there.values():  # who closes last keeps no port busy
            with contextlib.suppress(OSError):
                connection.settimeout(_ANSWER_S)
                connection.recv(1)
    return said


def _ask_first(cluster: Cluster, deadline: float, timeout_s: float) -> str | None:
    """Report to rank 0; return what is wrong, if anything is."""
    host, _, port = cluster.workers[0].rpartition(":")
    hello = {"what": "fastprep", "rank": cluster.rank, "workers": cluster.workers}
    nobody = f"nobody answers as {cluster.name(0)} within {timeout_s:g} s (--rank-timeout)"
    while True:
        with contextlib.suppress(OSError), socket.create_connection((host.strip("[]"), int(port)), timeout=2.0) as connection:
            connection.sendall(json.dumps(hello).encode() + b"\n")
            connection.settimeout(max(0.0, deadline - time.monotonic()) + _ANSWER_S)
            answer = _read(connection, patient=True)
            if isinstance(answer, dict):
                return answer.get("said")
        if time.monotonic() >= deadline:
            return nobody
        time.sleep(0.2)


def _read(connection: socket.socket, patient: bool = False) -> Any:
    """Return a message; None if there is none."""
    until = time.monotonic() + ((connection.gettimeout() or 0.0) if patient else _HELLO_S)
    received = b""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        while not received.endswith(b"\n") and len(received) < _LINE:
            connection.settimeout(max(0.001, until - time.monotonic()))  # of the whole message, however slowly it drips
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
