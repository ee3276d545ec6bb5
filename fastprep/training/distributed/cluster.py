"""The processes that train one model together, as the environment variable TF_CONFIG names them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from fastprep.errors import InputError
from fastprep.sampling.tf_config import read_task


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
    """Read TF_CONFIG by the rule that `Loader(shard="auto")` has, too; see `fastprep.sampling.tf_config.read_task`.

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
    try:
        task = read_task(environment)
    except ValueError as error:
        raise InputError(str(error)) from None
    return Cluster() if task is None else Cluster(task.addresses, task.rank)
