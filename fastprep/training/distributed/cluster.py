"""The processes that train one model together, as the environment variable TF_CONFIG names them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastprep.errors import InputError

_VARIABLE = "TF_CONFIG"


@dataclass(frozen=True)
class Cluster:
    """Addresses of the ranks of a run, and the rank of this process.

    Attributes
    ----------
    workers : tuple of str
        HOST:PORT of every rank; empty for a single process.
    rank : int
        This process, 0..world-1.
    """

    workers: tuple[str, ...] = ()
    rank: int = 0

    @property
    def world(self) -> int:
        """Number of ranks."""
        return max(1, len(self.workers))

    def name(self, rank: int) -> str:
        """Return the name of a rank in messages."""
        return f"rank {rank} ({self.workers[rank]})"


def from_environment(environment: Mapping[str, str] = os.environ) -> Cluster:
    """Read TF_CONFIG, in the form that TensorFlow, Kubeflow and cloud services use.

    Parameters
    ----------
    environment : mapping of str to str

    Returns
    -------
    Cluster
        A cluster of this process alone if TF_CONFIG is empty or not set.

    Raises
    ------
    InputError
        If it is not JSON, names no workers, or does not list this process among them.
    """
    text = environment.get(_VARIABLE, "")
    if not text.strip():
        return Cluster()
    try:
        config = json.loads(text)
    except ValueError as error:
        raise InputError(f"{_VARIABLE} must be JSON: {error}; found {text[:80]!r}") from None
    if not isinstance(config, dict) or not isinstance(config.get("cluster"), dict) or not config["cluster"]:
        raise InputError(
            f'{_VARIABLE} has no cluster: it must be {{"cluster": {{"worker": [...]}}, "task": {{...}}}}; found {text[:80]!r}'
        )
    workers, index = _workers(config["cluster"]), _index(config)
    if not 0 <= index < len(workers):
        raise InputError(
            f"{_VARIABLE}: index of the task must lie in 0..{len(workers) - 1}, the workers of the cluster; got {index}"
        )
    return Cluster(workers, index)


def _workers(cluster: dict[str, Any]) -> tuple[str, ...]:
    if others := sorted(set(cluster) - {"worker"}):
        raise InputError(
            f"{_VARIABLE}: the cluster must have workers only, found {', '.join(others)}: every rank trains "
            "alike, and rank 0, the first worker, saves"
        )
    workers = cluster["worker"]
    if not isinstance(workers, list) or not workers or not all(isinstance(worker, str) for worker in workers):
        raise InputError(f"{_VARIABLE}: worker must be a list of HOST:PORT, found {workers!r}")
    for worker in workers:
        host, _, port = worker.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise InputError(f"{_VARIABLE}: a worker must be HOST:PORT, found {worker!r}")
    if twice := sorted({worker for worker in workers if workers.count(worker) > 1}):
        raise InputError(f"{_VARIABLE}: every worker must have an address of its own, {twice[0]} is named twice")
    return tuple(workers)


def _index(config: dict[str, Any]) -> int:
    task = config.get("task")
    if not isinstance(task, dict) or "type" not in task or "index" not in task:
        raise InputError(f"{_VARIABLE}: task must have a type and an index, found {task!r}")
    if task["type"] != "worker":
        raise InputError(
            f"{_VARIABLE}: this process is a task of type {task['type']!r}; fastprep trains with tasks of type "
            "'worker' only, which validate and save, too"
        )
    index = task["index"]
    if isinstance(index, bool) or not (isinstance(index, int) or (isinstance(index, str) and index.isdecimal())):
        raise InputError(f"{_VARIABLE}: index of the task must be an integer, got {index!r}")
    return int(index)
