"""Several processes that train one model: what their loaders may give to Keras, and a `fit` that exchanges no gradients."""

import logging
import re
import sys
import types

import numpy as np
import pytest

import fastprep
from fastprep.h5 import write_images

keras = pytest.importorskip("keras")
from fastprep.adapters.processes import check_shares, warn_of_lone_training  # noqa: E402


@pytest.fixture
def loader(tmp_path):
    """Return a function that makes a loader of ten images."""
    write_images(tmp_path / "f.h5", np.zeros((10, 4, 4, 3), np.uint8), np.arange(10))
    made = []

    def make(**options):
        made.append(fastprep.Loader(tmp_path / "f.h5", 2, None, mean=None, device="cpu", **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def processes(monkeypatch):
    """Return a function by which JAX has connected some processes, with or without a distribution."""
    jax = pytest.importorskip("jax")

    def connect(n, *, distribution=True):
        found = object.__new__(keras.distribution.DataParallel) if distribution else None
        monkeypatch.setattr(jax, "process_count", lambda: n)
        monkeypatch.setattr(keras.distribution, "distribution", lambda: found)
        monkeypatch.setattr(keras.backend, "backend", lambda: "jax")

    return connect


@pytest.mark.parametrize(
    ("n", "options", "is_training"),
    [
        (1, {}, True),
        (2, {"shard": (1, 2)}, True),
        (2, {"shard": (1, 2)}, False),
        (4, {"shard": (1, 4), "drop_remainder": True}, True),
        (4, {}, False),  # each process evaluates all samples
        (2, {"on_corrupt": "skip"}, False),
    ],
)
def test_batches_of_one_size_are_taken(loader, processes, n, options, is_training):
    one = loader(**options)
    processes(n)
    check_shares(one, is_training=is_training)


@pytest.mark.parametrize(
    ("n", "options", "is_training", "problem"),
    [
        (2, {}, True, 'got a loader with shard=(0, 1): make it with Loader(shard="auto", drop_remainder=True)'),
        (4, {"shard": (0, 2)}, False, 'shard=(0, 2): make it with Loader(shard="auto", drop_remainder=True), or, for an'),
        (4, {"shard": (0, 4)}, True, "10 samples are not a multiple of 4: make the loader with drop_remainder=True"),
        (4, {"shard": (0, 4)}, False, "10 samples are not a multiple of 4: make the loader with shard=(0, 1)"),
        (2, {"shard": (0, 2), "on_corrupt": "skip"}, False, "leaves damaged images out"),
    ],
)
def test_batches_that_make_no_common_one_are_errors_with_a_way_out(loader, processes, n, options, is_training, problem):
    processes(n)
    with pytest.raises(ValueError, match=re.escape(problem)):
        check_shares(loader(**options), is_training=is_training)


def test_what_is_left_of_an_epoch_has_to_be_even(loader, processes):
    processes(2)
    one = loader(shard=(0, 2))
    state = loader().state_dict()
    one.load_state_dict({**state, "seen": 3})
    with pytest.raises(ValueError, match="7 samples are not a multiple of 2"):
        check_shares(one, is_training=True)
    check_shares(one, is_training=False)  # which reads a whole epoch


def test_without_a_distribution_batches_are_each_process_s_own(loader, processes):
    processes(2, distribution=False)
    check_shares(loader(), is_training=True)


class Own(keras.Sequential):
    def train_step(self, *arguments):
        raise NotImplementedError


def compiled(kind=keras.Sequential):
    model = kind([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize(
    ("n", "distribution", "kind", "is_warned"),
    [
        (2, False, keras.Sequential, True),
        (2, True, keras.Sequential, False),
        (1, False, keras.Sequential, False),
        (2, False, Own, False),
    ],
)
def test_a_fit_on_jax_that_exchanges_nothing_is_warned_of(processes, caplog, n, distribution, kind, is_warned):
    model = compiled(kind)
    processes(n, distribution=distribution)
    with caplog.at_level(logging.WARNING, "fastprep"):
        warn_of_lone_training(model)
    assert ["exchanges no gradients" in record.getMessage() for record in caplog.records] == [True] * is_warned


@pytest.mark.parametrize(("n", "is_warned"), [(2, True), (1, False), (None, False)])
def test_a_fit_on_torch_in_several_processes_is_warned_of(monkeypatch, caplog, n, is_warned):
    model = compiled()
    members = {"is_available": lambda: True, "is_initialized": lambda: n is not None, "get_world_size": lambda: n}
    monkeypatch.setitem(sys.modules, "torch.distributed", types.SimpleNamespace(**members))
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with caplog.at_level(logging.WARNING, "fastprep"):
        warn_of_lone_training(model)
    assert ["DistributedDataParallel" in record.getMessage() for record in caplog.records] == [True] * is_warned
