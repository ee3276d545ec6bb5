"""TF_CONFIG: the ranks that it names, and the errors for an unsuitable one."""

import json

import pytest

from fastprep.errors import InputError
from fastprep.sampling.engine_ranks import find_shard
from fastprep.training.distributed.cluster import Cluster, from_environment

TWO = {"worker": ["one:2222", "two:2222"]}


def read(config):
    return from_environment({"TF_CONFIG": config if isinstance(config, str) else json.dumps(config)})


@pytest.mark.parametrize("environment", [{}, {"TF_CONFIG": ""}, {"TF_CONFIG": "  "}])
def test_without_it_a_process_is_on_its_own(environment):
    assert from_environment(environment) == Cluster((), 0)
    assert from_environment(environment).world == 1


@pytest.mark.parametrize("index", [1, "1"])
def test_workers_are_ranks(index):
    cluster = read({"cluster": TWO, "task": {"type": "worker", "index": index}, "environment": "cloud"})
    assert (cluster.rank, cluster.world) == (1, 2)
    assert cluster.name(0) == "rank 0 (one:2222)"


def test_one_worker_is_on_its_own():
    assert read({"cluster": {"worker": ["[::1]:1"]}, "task": {"type": "worker", "index": 0}}).world == 1


@pytest.mark.parametrize(("task", "rank"), [("chief", 0), ("worker", 1)])
def test_a_chief_is_the_first_rank_and_a_parameter_server_is_none(task, rank):
    cluster = read({"cluster": {"worker": ["b:1"], "ps": ["c:1"], "chief": ["a:1"]}, "task": {"type": task, "index": 0}})
    assert (cluster.workers, cluster.rank) == (("a:1", "b:1"), rank)


@pytest.mark.parametrize("config", ["{", {"cluster": TWO, "task": {"type": "worker", "index": 2}}])
def test_what_the_loader_refuses_the_command_refuses_in_the_same_words(config):
    with pytest.raises(InputError) as of_command:
        read(config)
    environment = {"TF_CONFIG": config if isinstance(config, str) else json.dumps(config)}
    with pytest.raises(ValueError, match="shard=") as of_loader:
        find_shard(environment)
    assert str(of_command.value) in str(of_loader.value)
