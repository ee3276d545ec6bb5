"""Which share of an epoch is this process's? The rank and their number, as whatever started the processes says."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from fastprep.sampling.tf_config import VARIABLE, read_task

_log = logging.getLogger(__name__)

_WAY_OUT = "; or pass shard=(rank, world)"
_PAIRS = (  # who sets them, the variables for rank and number of ranks, and whether the first never comes without the second
    ("torchrun", "RANK", "WORLD_SIZE", True),
    ("Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", True),
    ("MPI, by PMI", "PMI_RANK", "PMI_SIZE", True),
    # a batch script has SLURM_PROCID and SLURM_NTASKS, too, but runs once; only srun sets the variables of a step
    ("SLURM's srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", False),
    ("an indexed job of Kubernetes", "JOB_COMPLETION_INDEX", "WORLD_SIZE", True),  # which does not tell how many there are
)


class Found(NamedTuple):
    """A rank, and who says so."""

    rank: int
    world: int
    source: str


def find_shard(environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """Return rank and number of ranks of this process, (0, 1) if it is alone, and log where they come from.

    Libraries that have connected the ranks are asked first: torch.distributed, JAX and Ray Train, if the program has imported
    them. Then come environment variables: TF_CONFIG and those of torchrun, MPI, SLURM and Kubernetes.

    Parameters
    ----------
    environment : mapping of str to str

    Returns
    -------
    (int, int)
        Rank, 0..world-1, and world.

    Raises
    ------
    ValueError
        If what is found is no rank; the text names the variable.
    """
    for found in _all(environment):
        if not 0 <= found.rank < found.world:
            problem = f"{found.source} says rank {found.rank} of {found.world}"
            raise ValueError(f'shard="auto" needs 0 <= rank < world, and {problem}: set both alike for all processes{_WAY_OUT}')
        _log.info('shard="auto": rank %d of %d, as %s says', *found)
        return found.rank, found.world
    if (size := environment.get("WORLD_SIZE", "1").strip()) != "1":
        problem = f"WORLD_SIZE is {size!r}, and neither RANK nor JOB_COMPLETION_INDEX is set"
        raise ValueError(f'shard="auto" needs a rank: {problem}{_WAY_OUT}')
    _log.info('shard="auto": nothing says that there are several processes, so this one has all samples')
    return 0, 1


def _all(environment: Mapping[str, str]) -> Iterator[Found]:
    yield from _of_torch(sys.modules.get("torch.distributed"))
    yield from _of_jax(sys.modules.get("jax"))
    yield from _of_ray(sys.modules.get("ray.train"))
    yield from _of_tf_config(environment)
    for source, rank, world, is_pair in _PAIRS:
        if rank in environment and (is_pair or world in environment):
            yield Found(_number(environment, rank), _number(environment, world), f"{source} ({rank}, {world})")


def _of_torch(module: Any) -> Iterator[Found]:
    if module is not None and module.is_available() and module.is_initialized():
        yield Found(module.get_rank(), module.get_world_size(), "torch.distributed")


def _of_jax(module: Any) -> Iterator[Found]:
    if module is None:
        return
    # asking for a number of processes that nobody has connected would start JAX's devices
    if hasattr(module.distributed, "is_initialized"):
        is_connected = module.distributed.is_initialized()
    else:  # JAX 0.4, where nothing public tells
        is_connected = module._src.distributed.global_state.client is not None
    if is_connected:
        yield Found(module.process_index(), module.process_count(), "jax.distributed")


def _of_ray(module: Any) -> Iterator[Found]:
    if module is None:
        return
    try:
        context = module.get_context()
        rank, world = context.get_world_rank(), context.get_world_size()
    except RuntimeError:  # not in a worker
        return
    if rank is not None and world is not None:
        yield Found(rank, world, "Ray Train")


def _of_tf_config(environment: Mapping[str, str]) -> Iterator[Found]:
    try:
        task = read_task(environment)
    except ValueError as error:
        raise ValueError(f'shard="auto": {error}{_WAY_OUT}, such as (0, 1) for all samples') from None
    if task is not None:
        yield Found(task.rank, len(task.addresses), VARIABLE)


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name)
    try:
        return int(text)  # type: ignore[arg-type]  # None is an error, too
    except (TypeError, ValueError):
        found = "is not set" if text is None else f"is {text!r}"
        raise ValueError(f'shard="auto" needs an integer in the environment variable {name}, which {found}{_WAY_OUT}') from None
