"""`shard="auto"`: the rank of this process, as whatever started it says."""

import json
import logging
import re
import socket
import subprocess
import sys
import types

import h5py
import numpy as np
import pytest

import fastprep
from fastprep.sampling import engine_ranks
from fastprep.sampling.engine_ranks import find_shard

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8"}
IN_STEP = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4", "SLURM_NTASKS": "6"}
INDEXED = {"JOB_COMPLETION_INDEX": "2", "WORLD_SIZE": "3"}


def tf_config(task, index, **cluster):
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": task, "index": index}})}


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No library has connected this process to others, whatever ran before; and no variable of the machine says anything."""
    for name in ("torch.distributed", "ray.train"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for names in (("TF_CONFIG",), *(pair[1:3] for pair in engine_ranks._PAIRS)):
        for name in names:
            monkeypatch.delenv(name, raising=False)


def torch_of(pair, is_available=True):
    rank, world = pair or (0, 1)
    members = {"is_available": lambda: is_available, "is_initialized": lambda: pair is not None}
    return types.SimpleNamespace(**members, get_rank=lambda: rank, get_world_size=lambda: world)


def jax_of(pair):
    rank, world = pair or (0, 1)
    distributed = types.SimpleNamespace(is_initialized=lambda: pair is not None)
    return types.SimpleNamespace(distributed=distributed, process_index=lambda: rank, process_count=lambda: world)


def old_jax_of(pair):
    state = types.SimpleNamespace(client=pair and "a connection")
    private = types.SimpleNamespace(distributed=types.SimpleNamespace(global_state=state))
    members = {"distributed": types.SimpleNamespace(), "_src": private, "process_index": lambda: pair[0]}
    return types.SimpleNamespace(**members, process_count=lambda: pair[1])


def ray_of(pair):
    def get_context():
        if pair is None:
            raise RuntimeError("not in a worker")
        return types.SimpleNamespace(get_world_rank=lambda: pair[0], get_world_size=lambda: pair[1])

    return types.SimpleNamespace(get_context=get_context)


@pytest.mark.parametrize(
    ("environment", "shard", "source"),
    [
        ({}, (0, 1), "nothing says"),
        ({"TF_CONFIG": "  "}, (0, 1), "nothing says"),
        ({"WORLD_SIZE": "1"}, (0, 1), "nothing says"),
        (tf_config("worker", 1, worker=["a:1", "b:1", "c:1"]), (1, 3), "TF_CONFIG"),
        (tf_config("worker", "2", worker=["a:1", "b:1", "c:1"], ps=["d:1"]), (2, 3), "TF_CONFIG"),
        (tf_config("chief", 0, chief=["a:1"], worker=["b:1"]), (0, 2), "TF_CONFIG"),
        (tf_config("worker", 0, chief=["a:1"], worker=["b:1"]), (1, 2), "TF_CONFIG"),
        (TORCHRUN, (5, 8), "torchrun"),
        ({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"}, (0, 2), "Open MPI"),
        ({"PMI_RANK": "1", "PMI_SIZE": "2"}, (1, 2), "PMI"),
        (IN_STEP, (1, 4), "srun"),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, (0, 1), "nothing says"),  # a batch script, which runs once
        (INDEXED, (2, 3), "Kubernetes"),
        ({**IN_STEP, **TORCHRUN}, (5, 8), "torchrun"),  # srun starts one torchrun on each host
        ({**INDEXED, **TORCHRUN}, (5, 8), "torchrun"),
    ],
)
def test_variables_of_every_engine_are_understood(environment, shard, source, caplog):
    with caplog.at_level(logging.INFO, "fastprep"):
        assert find_shard(environment) == shard
    (record,) = caplog.records
    assert source in record.getMessage()


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({"RANK": "0"}, "the environment variable WORLD_SIZE, which is not set"),
        ({"RANK": "first", "WORLD_SIZE": "2"}, "RANK, which is 'first'"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "torchrun (RANK, WORLD_SIZE) says rank 2 of 2"),
        ({"RANK": "-1", "WORLD_SIZE": "2"}, "says rank -1 of 2"),
        ({"WORLD_SIZE": "4"}, "WORLD_SIZE is '4', and neither RANK nor JOB_COMPLETION_INDEX is set"),
        ({"PMI_RANK": "0"}, "PMI_SIZE, which is not set"),
        ({"JOB_COMPLETION_INDEX": "0"}, "WORLD_SIZE, which is not set"),
        ({"TF_CONFIG": "{"}, "TF_CONFIG must be JSON"),
        (tf_config("worker", 1, worker=["a:1"]), "one of the cluster's 1 of type 'worker', got 1"),
        (tf_config("evaluator", 0, worker=["a:1"]), "such as (0, 1) for all samples"),
    ],
)
def test_variables_that_tell_no_rank_are_errors_with_a_way_out(environment, problem):
    with pytest.raises(ValueError, match=re.escape(problem)) as caught:
        find_shard(environment)
    assert "or pass shard=(rank, world)" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "make", "source"),
    [
        ("torch.distributed", torch_of, "torch.distributed"),
        ("jax", jax_of, "jax.distributed"),
        ("jax", old_jax_of, "jax.distributed"),
        ("ray.train", ray_of, "Ray Train"),
    ],
)
def test_a_library_that_has_connected_the_ranks_is_believed_before_variables(monkeypatch, caplog, name, make, source):
    monkeypatch.setitem(sys.modules, name, make((1, 2)))
    with caplog.at_level(logging.INFO, "fastprep"):
        assert find_shard(TORCHRUN) == (1, 2)
    assert caplog.records[0].getMessage() == f'shard="auto": rank 1 of 2, as {source} says'
    monkeypatch.setitem(sys.modules, name, make(None))
    assert find_shard(TORCHRUN) == (5, 8)
    assert find_shard({}) == (0, 1)


def test_a_torch_without_distributed_is_not_asked(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.distributed", torch_of((1, 2), is_available=False))
    assert find_shard({}) == (0, 1)


@pytest.fixture
def path(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["images"] = np.zeros((10, 4, 4, 3), np.uint8)
        file["labels"] = np.arange(10)
        file["images"].attrs["mean"] = [0.0, 0.0, 0.0]
    return str(tmp_path / "f.h5")


def test_a_loader_has_the_share_that_the_variables_tell(path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    labels = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        with fastprep.Loader(path, 2, None, shuffle=True, device="cpu", shard="auto") as loader:
            assert loader.shard == (rank, 3)
            labels += [int(label) for _, y in loader for label in y]
    assert sorted(labels) == list(range(10))


def test_another_word_than_auto_is_an_error(path):
    with pytest.raises(
        ValueError, match=r'shard must be integers \(rank, world\) with 0 <= rank < world, or "auto", got \'all\''
    ):
        fastprep.Loader(path, 2, None, device="cpu", shard="all")


PROGRAM = """
import sys
import jax
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
import fastprep
with fastprep.Loader(sys.argv[3], 2, None, shuffle=True, device="cpu", shard="auto") as loader:
    print(loader.shard, sorted(int(label) for _, y in loader for label in y))
"""


def test_two_processes_of_jax_share_the_samples(path, monkeypatch):
    pytest.importorskip("jax.distributed")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    commands = [[sys.executable, "-c", PROGRAM, address, str(rank), path] for rank in range(2)]
    processes = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for words in commands]
    try:
        outputs = [process.communicate(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert [process.returncode for process in processes] == [0, 0], outputs
    shares = []
    for rank, (printed, _) in enumerate(outputs):
        assert printed.startswith(f"({rank}, 2) ")
        shares += json.loads(printed.partition(") ")[2])
    assert sorted(shares) == list(range(10))
