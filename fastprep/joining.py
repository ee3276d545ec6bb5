"""How the processes of one training run find each other, and what is said if they don't."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

from fastprep.cluster import Cluster
from fastprep.errors import InputError
from fastprep.ranks import ALONE, Joined, RankError, Ranks
from fastprep.startup import start_tensorflow


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
        raise InputError(
            f"rank {cluster.rank} sees {n_gpus} GPUs and would use one: start a process for each, with "
            "CUDA_VISIBLE_DEVICES=0, 1, ..."
        )
    result: list[Any] = []

    def connect() -> None:
        try:
            kind = tf.distribute.experimental.CommunicationImplementation
            options = tf.distribute.experimental.CommunicationOptions(implementation=kind.NCCL if n_gpus else kind.RING)
            result.append(tf.distribute.MultiWorkerMirroredStrategy(communication_options=options))
        except Exception as error:  # of many kinds
            result.append(error)

    # TensorFlow waits for an hour, and not even Ctrl-C reaches it
    thread = threading.Thread(target=connect, name="fastprep-join", daemon=True)
    thread.start()
    deadline = time.monotonic() + timeout_s
    while thread.is_alive() and time.monotonic() < deadline:
        thread.join(0.1)
    if not result:
        raise RankError(_who_is_missing(cluster, timeout_s))
    if isinstance(result[0], Exception):
        place = cluster.workers[cluster.rank]
        why = " ".join(str(result[0]).split())[:300]
        raise RankError(
            f"can't join the others as {place} (is its port free, and TF_CONFIG's cluster the same on all ranks?): {why}"
        )
    return Joined(cluster, timeout_s, result[0])


def _who_is_missing(cluster: Cluster, timeout_s: float) -> str:
    missing = []
    for rank, place in enumerate(cluster.workers):
        host, _, port = place.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=2.0).close()
        except OSError:
            missing.append(cluster.name(rank))
    if missing:
        return f"after {timeout_s:g} s (--rank-timeout) nobody listens as {', '.join(missing)}"
    return f"not all ranks joined within {timeout_s:g} s (--rank-timeout): is TF_CONFIG's cluster the same on all of them?"
