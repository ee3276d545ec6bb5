"""TF_CONFIG: the ranks that it names, and the errors for an unsuitable one."""

import json

import pytest

from fastprep.errors import InputError
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


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "TF_CONFIG must be JSON: .*; found '{'"),
        ({"task": {"type": "worker", "index": 0}}, "TF_CONFIG has no cluster"),
        ([], "TF_CONFIG has no cluster"),
        ({"cluster": {}, "task": {"type": "worker", "index": 0}}, "TF_CONFIG has no cluster"),
        ({"cluster": TWO}, "task must have a type and an index, found None"),
        ({"cluster": TWO, "task": {"type": "evaluator", "index": 0}}, "this process is a task of type 'evaluator'"),
        ({"cluster": {"chief": ["a:1"], **TWO}, "task": {"type": "chief", "index": 0}}, "workers only, found chief"),
        ({"cluster": {"ps": ["a:1"], **TWO}, "task": {"type": "worker", "index": 0}}, "workers only, found ps"),
        ({"cluster": TWO, "task": {"type": "worker", "index": 2}}, r"must lie in 0..1, the workers of the cluster; got 2"),
        ({"cluster": TWO, "task": {"type": "worker", "index": -1}}, r"the workers of the cluster; got -1"),
        ({"cluster": TWO, "task": {"type": "worker", "index": "x"}}, "must be an integer, got 'x'"),
        ({"cluster": {"worker": "one:1"}, "task": {"type": "worker", "index": 0}}, "must be a list of HOST:PORT, found 'one:1'"),
        ({"cluster": {"worker": ["one"]}, "task": {"type": "worker", "index": 0}}, "must be HOST:PORT, found 'one'"),
        ({"cluster": {"worker": ["one:0"]}, "task": {"type": "worker", "index": 0}}, "must be HOST:PORT, found 'one:0'"),
        ({"cluster": {"worker": ["one:²"]}, "task": {"type": "worker", "index": 0}}, "must be HOST:PORT, found 'one:²'"),
        ({"cluster": TWO, "task": {"type": "worker", "index": "²"}}, "must be an integer, got '²'"),
        ({"cluster": {"worker": ["a:1", "a:1"]}, "task": {"type": "worker", "index": 0}}, "a:1 is named twice"),
    ],
)
def test_what_is_wrong_is_said(config, message):
    with pytest.raises(InputError, match=message):
        read(config)
