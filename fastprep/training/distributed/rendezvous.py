"""Rendezvous of the processes of one training run, with a clear error if one of them is missing.

TensorFlow waits an hour for a process that never comes, prints nothing meanwhile, and can't be interrupted. The processes
therefore meet through plain sockets first, at the address of rank 0. Only then does TensorFlow connect them.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import secrets
import signal
import socket
import threading
import time
from typing import Any

from fastprep.cli.keras_startup import start_keras
from fastprep.errors import InputError, RankError
from fastprep.system import printable
from fastprep.training.distributed.cluster import Cluster
from fastprep.training.distributed.collectives import Joined
from fastprep.training.distributed.ranks import ALONE, Ranks
from fastprep.training.distributed.reception import Reception
from fastprep.training.distributed.secret import VARIABLE, from_environment, proof, proves

_LINE = 1 << 20  # bytes of the longest message of rank 0
_CONNECT_S = 2.0  # seconds for a connection
_AGAIN_S = 0.2  # seconds between attempts
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
        If Keras does not run on TensorFlow, or this process sees several GPUs, because a rank uses one.
    """
    if cluster.world == 1:
        return ALONE
    backend = start_keras(first_operation=False)  # it would be too late for a cluster after that
    if backend != "tensorflow":
        problem = f"TF_CONFIG names {cluster.world} ranks, and Keras runs on {backend}: several ranks train on TensorFlow only"
        raise InputError(f"{problem}; set KERAS_BACKEND=tensorflow, or unset TF_CONFIG to train in one process")
    import tensorflow as tf

    if (n_gpus := len(tf.config.list_physical_devices("GPU"))) > 1:
        raise InputError(f"this process sees {n_gpus} GPUs and would use one: start one for each, by CUDA_VISIBLE_DEVICES")
    meet(cluster, timeout_s, from_environment())
    kind = tf.distribute.experimental.CommunicationImplementation
    options = tf.distribute.experimental.CommunicationOptions(implementation=kind.NCCL if n_gpus else kind.RING)
    # another process may still die now, and nothing but this ends a process that waits for it inside TensorFlow
    faulthandler.dump_traceback_later(timeout_s + _ANSWER_S, exit=True)
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy(_resolver(cluster), options)
    except Exception as error:  # TensorFlow raises many types here
        raise RankError(f"TensorFlow can't connect the ranks: {' '.join(str(error).split())[:400]}") from error
    finally:
        faulthandler.cancel_dump_traceback_later()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))  # TensorFlow has installed its own
    return Joined(cluster, timeout_s, strategy)


def _resolver(cluster: Cluster) -> Any:
    """Return what tells TensorFlow the ranks, so that it reads no TF_CONFIG by rules of its own: all are workers to it."""
    import tensorflow as tf

    spec = tf.train.ClusterSpec({"worker": list(cluster.workers)})
    return tf.distribute.cluster_resolver.SimpleClusterResolver(spec, task_type="worker", task_id=cluster.rank, rpc_layer="grpc")


def meet(cluster: Cluster, timeout_s: float, secret: bytes | None = None) -> None:
    """Return when all processes have reported to rank 0.

    Parameters
    ----------
    cluster : Cluster
    timeout_s : float
        Seconds to wait.
    secret : bytes or None
        What all ranks know and strangers do not. Each side proves to the other that it does. None if there is none.

    Raises
    ------
    RankError
        If not all come in time, or their clusters or secrets differ.
    """
    deadline = time.monotonic() + timeout_s
    with _listen(cluster) as server:
        if cluster.rank:
            server.close()  # opened only to check that the port is free
            problem = _report_to_first(cluster, deadline, timeout_s, secret)
        else:
            problem = Reception(cluster, server, secret).receive(deadline, timeout_s)
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


def _report_to_first(cluster: Cluster, deadline: float, timeout_s: float, secret: bytes | None) -> str | None:
    """Report to rank 0; return the problem that it tells about, if there is one."""
    host, _, port = cluster.workers[0].rpartition(":")
    why = ""
    while True:
        with (
            contextlib.suppress(OSError),
            socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S) as connection,
        ):
            try:
                return _report(connection, cluster, deadline, secret)
            except _NotFirstError as error:
                if not why or time.monotonic() < deadline:  # what the end cut short says less than what was heard before
                    why = f"; what listens there {error}"
        if time.monotonic() >= deadline:
            return f"nobody answers as {cluster.name(0)} within {timeout_s:g} s (--rank-timeout){why}"
        time.sleep(_AGAIN_S)


class _NotFirstError(Exception):
    """A connection whose other side is not rank 0 of this run, as far as this rank can know."""


def _report(connection: socket.socket, cluster: Cluster, deadline: float, secret: bytes | None) -> str | None:
    """Report over a connection to rank 0; return the problem that it tells about, if there is one."""
    greeting = _read(connection, min(deadline, time.monotonic() + _ANSWER_S))
    challenge = greeting.get("challenge")
    if greeting.get("what") != "fastprep" or not isinstance(challenge, str):
        raise _NotFirstError("is another program")
    if not secret and greeting.get("secret"):
        return f"rank 0 asks for a secret: {VARIABLE} must be the same for all ranks, and is not set here"
    if secret and not greeting.get("secret"):
        raise _NotFirstError(f"asks for no secret: {VARIABLE} must be the same for all ranks")
    nonce, rank, workers = secrets.token_hex(16), cluster.rank, list(cluster.workers)
    given = proof(secret, "hello", challenge, nonce, rank, workers) if secret else None
    hello = {"what": "fastprep", "rank": rank, "workers": workers, "nonce": nonce, "proof": given}
    connection.settimeout(_ANSWER_S)
    connection.sendall(json.dumps(hello).encode() + b"\n")
    answer = _read(connection, deadline + _ANSWER_S)
    problem = answer.get("said")
    if "said" not in answer or not (problem is None or isinstance(problem, str)):
        raise _NotFirstError("gave no answer" + (f": {VARIABLE} must be the same for all ranks" if secret else ""))
    if secret and not proves(answer.get("proof"), secret, "answer", challenge, nonce, problem):
        raise _NotFirstError(f"does not know the secret: {VARIABLE} must be the same for all ranks")
    return None if problem is None else printable(problem)


def _read(connection: socket.socket, until: float) -> dict[str, Any]:
    """Return the message that a connection sends, a JSON object on one line; an empty one if none comes until a time."""
    received = b""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        while not received.endswith(b"\n") and len(received) < _LINE:
            connection.settimeout(max(0.001, until - time.monotonic()))  # one limit for a whole message, however slow
            if not (part := connection.recv(_LINE)):
                break
            received += part
        message = json.loads(received)
        return message if isinstance(message, dict) else {}
    return {}
