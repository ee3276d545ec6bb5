"""TF_CONFIG: the processes that train together, and which of them this one is, as TensorFlow defines the variable.

https://www.tensorflow.org/guide/distributed_training#setting_up_the_tf_config_environment_variable
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

VARIABLE = "TF_CONFIG"
_FORM = '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}'
_RANKED = ("chief", "worker")  # kinds of tasks that train, in the order of their ranks


class Task(NamedTuple):
    """A process in its cluster.

    Attributes
    ----------
    addresses : tuple of str
        HOST:PORT of every rank: a chief is the first one, before the workers, as in TensorFlow's strategies.
    rank : int
        This process, 0..len(addresses)-1.
    """

    addresses: tuple[str, ...]
    rank: int


def read_task(environment: Mapping[str, str]) -> Task | None:
    """Read TF_CONFIG.

    Tasks of other kinds, such as parameter servers, may be in the cluster and are no ranks.

    Parameters
    ----------
    environment : mapping of str to str

    Returns
    -------
    Task or None
        None if TF_CONFIG is empty or not set.

    Raises
    ------
    ValueError
        If it has another form, names no workers, or does not list this process among them.
    """
    text = environment.get(VARIABLE, "")
    if not text.strip():
        return None
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{VARIABLE} must be JSON, like {_FORM}: {error}; got {text[:80]!r}") from None
    cluster = config.get("cluster") if isinstance(config, dict) else None
    if not isinstance(cluster, dict) or not any(kind in cluster for kind in _RANKED):
        raise ValueError(f"{VARIABLE} must have a cluster with workers, like {_FORM}; got {text[:80]!r}")
    chiefs, workers = (_addresses(kind, cluster.get(kind, [])) for kind in _RANKED)
    addresses = (*chiefs, *workers)
    if twice := sorted({address for address in addresses if addresses.count(address) > 1}):
        raise ValueError(f"{VARIABLE}: every task must have an address of its own, and {twice[0]} is named twice")
    return Task(addresses, _rank(config.get("task"), len(chiefs), len(workers)))


def _addresses(kind: str, found: Any) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(address, str) for address in found):
        raise ValueError(f"{VARIABLE}: {kind} must be a list of HOST:PORT, got {found!r}")
    for address in found:
        host, _, port = address.rpartition(":")
        if not host or not (port.isascii() and port.isdecimal()) or not 0 < int(port) < 65536:
            raise ValueError(f"{VARIABLE}: a {kind} must be HOST:PORT, got {address!r}")
    return tuple(found)


def _rank(task: Any, n_chiefs: int, n_workers: int) -> int:
    if not isinstance(task, dict) or "type" not in task or "index" not in task:
        raise ValueError(f"{VARIABLE}: task must have a type and an index, got {task!r}")
    kind, index = task["type"], task["index"]
    if kind not in _RANKED:
        raise ValueError(
            f"{VARIABLE} makes this process a task of type {kind!r}, and only those of type 'chief' and 'worker' train and have "
            "a share of the samples"
        )
    is_number = isinstance(index, int) or (isinstance(index, str) and index.isascii() and index.isdecimal())
    if isinstance(index, bool) or not is_number:
        raise ValueError(f"{VARIABLE}: index of the task must be an integer, got {index!r}")
    n_tasks = n_chiefs if kind == "chief" else n_workers
    if not 0 <= int(index) < n_tasks:
        raise ValueError(f"{VARIABLE}: index of the task must be one of the cluster's {n_tasks} of type {kind!r}, got {index}")
    return int(index) + (n_chiefs if kind == "worker" else 0)
