"""TF_CONFIG: the ranks that it names, and the errors for an unsuitable one."""

import json
import re

import pytest

from fastprep.sampling.tf_config import Task, read_task

TWO = {"worker": ["one:2222", "two:2222"]}


def read(config):
    return read_task({"TF_CONFIG": config if isinstance(config, str) else json.dumps(config)})


@pytest.mark.parametrize("environment", [{}, {"TF_CONFIG": ""}, {"TF_CONFIG": "  "}])
def test_without_it_there_is_no_task(environment):
    assert read_task(environment) is None


@pytest.mark.parametrize(
    ("cluster", "kind", "index", "task"),
    [
        (TWO, "worker", 1, Task(("one:2222", "two:2222"), 1)),
        (TWO, "worker", "1", Task(("one:2222", "two:2222"), 1)),  # as some services write it
        ({"worker": ["[::1]:1"]}, "worker", 0, Task(("[::1]:1",), 0)),
        ({"chief": ["a:1"], **TWO}, "chief", 0, Task(("a:1", "one:2222", "two:2222"), 0)),
        ({**TWO, "chief": ["a:1"]}, "worker", 1, Task(("a:1", "one:2222", "two:2222"), 2)),
        ({"ps": ["a:1", "b:1"], **TWO}, "worker", 0, Task(("one:2222", "two:2222"), 0)),
        ({"chief": ["a:1"]}, "chief", 0, Task(("a:1",), 0)),
    ],
)
def test_chief_and_workers_are_ranks_in_this_order(cluster, kind, index, task):
    assert read({"cluster": cluster, "task": {"type": kind, "index": index}, "environment": "cloud"}) == task


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "TF_CONFIG must be JSON, like "),
        ("[" * 100_000, "TF_CONFIG must be JSON, like "),
        ({"task": {"type": "worker", "index": 0}}, "must have a cluster with workers"),
        ([], "must have a cluster with workers"),
        ({"cluster": {}, "task": {"type": "worker", "index": 0}}, "must have a cluster with workers"),
        ({"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}, "must have a cluster with workers"),
        ({"cluster": TWO}, "task must have a type and an index, got None"),
        ({"cluster": TWO, "task": {"type": "evaluator", "index": 0}}, "makes this process a task of type 'evaluator', and only"),
        ({"cluster": {**TWO, "ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}, "a task of type 'ps', and only"),
        ({"cluster": TWO, "task": {"type": ["worker"], "index": 0}}, "a task of type ['worker'], and only"),
        ({"cluster": TWO, "task": {"type": "worker", "index": 2}}, "must be one of the cluster's 2 of type 'worker', got 2"),
        ({"cluster": TWO, "task": {"type": "worker", "index": -1}}, "must be one of the cluster's 2 of type 'worker', got -1"),
        ({"cluster": TWO, "task": {"type": "chief", "index": 0}}, "must be one of the cluster's 0 of type 'chief', got 0"),
        ({"cluster": {"worker": []}, "task": {"type": "worker", "index": 0}}, "must be one of the cluster's 0 of type 'worker'"),
        ({"cluster": TWO, "task": {"type": "worker", "index": "x"}}, "must be an integer, got 'x'"),
        ({"cluster": TWO, "task": {"type": "worker", "index": True}}, "must be an integer, got True"),
        ({"cluster": TWO, "task": {"type": "worker", "index": "²"}}, "must be an integer, got '²'"),
        ({"cluster": {"worker": "one:1"}, "task": {"type": "worker", "index": 0}}, "must be a list of HOST:PORT, got 'one:1'"),
        ({"cluster": {"worker": ["one"]}, "task": {"type": "worker", "index": 0}}, "a worker must be HOST:PORT, got 'one'"),
        ({"cluster": {"worker": ["one:0"]}, "task": {"type": "worker", "index": 0}}, "must be HOST:PORT, got 'one:0'"),
        ({"cluster": {"worker": ["one:²"]}, "task": {"type": "worker", "index": 0}}, "must be HOST:PORT, got 'one:²'"),
        ({"cluster": {"worker": ["a:1", "a:1"]}, "task": {"type": "worker", "index": 0}}, "a:1 is named twice"),
        ({"cluster": {"chief": ["a:1"], "worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}, "a:1 is named twice"),
    ],
)
def test_what_is_wrong_is_said(config, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        read(config)
