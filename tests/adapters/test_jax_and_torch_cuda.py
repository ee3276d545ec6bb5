"""Keras on JAX and torch, and batches on a GPU, with a stand-in for the GPU: the same training as with batches on the CPU."""

import json

import h5py
import numpy as np
import pytest
from backend_process import results_of
from optional_libraries import needs

pytest.importorskip("keras")

TRAININGS = ["plain", "not built yet", "weights", "classes"]
PARTS = [
    "devices",
    "rows",
    "places",
    "capsules",
    "history",
    "two inputs",
    "no distribution",
    "batch_size must be a multiple of 2",
    "device must be",
    "a last batch of one row",
]


@pytest.fixture(scope="module", params=[pytest.param(name, marks=needs(name)) for name in ("jax", "torch")])
def results(request, tmp_path_factory):
    """What `device_on_backend.py` found."""
    path, random = tmp_path_factory.mktemp(request.param) / "x.h5", np.random.default_rng(3)
    with h5py.File(path, "w") as file:
        file["images"] = random.integers(0, 256, (25, 12, 14, 3), dtype=np.uint8)
        file["labels"] = random.integers(0, 3, 25)
        file["images"].attrs["mean"] = [90.0, 100.0, 110.0]
    return request.param, results_of("device_on_backend.py", request.param, path)


def same(results, name):
    found, wanted = results[1][name]
    return found == json.loads(json.dumps(wanted))


@pytest.mark.parametrize("name", TRAININGS)
def test_training_is_the_same_as_with_batches_on_the_cpu(results, name):
    """History, validation, `evaluate`, `predict` and weights: difference 0."""
    assert same(results, f"fit: {name}")


@pytest.mark.parametrize("name", TRAININGS)
def test_labels_and_weights_are_on_the_device_with_x(results, name):
    assert same(results, f"arrays on the device: {name}")
    assert same(results, f"labels go with x: {name}")


def test_tensors_of_two_inputs_are_those_made_on_the_cpu(results):
    assert same(results, "two inputs")


def test_nothing_waits_for_the_device_and_nothing_is_freed_while_fit_runs(results):
    assert same(results, "nothing waits for the device")


def test_there_is_a_buffer_for_the_batch_that_keras_takes_ahead(results):
    assert same(results, "buffers")


@pytest.mark.parametrize("name", ["the device of Keras", "no device of Keras"])
def test_auto_and_cuda_are_the_device_of_keras(results, name):
    assert same(results, name)


@pytest.mark.parametrize("name", ["elsewhere", "another device"])
def test_a_batch_on_a_device_where_keras_does_not_compute_is_an_error(results, name):
    assert same(results, name)


def test_tensors_are_those_of_the_backend(results):
    assert same(results, "tensors()")


@pytest.mark.parametrize("name", PARTS)
def test_data_parallel_gets_a_part_on_each_device(results, name):
    if results[0] != "jax":
        pytest.skip("torch has no keras.distribution")
    assert same(results, f"parts: {name}")
