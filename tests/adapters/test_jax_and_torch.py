"""Keras on JAX and torch: no copy between the kernel and the training step, and the same training as with arrays."""

import importlib.util

import h5py
import numpy as np
import pytest
from backend_process import results_of

pytest.importorskip("keras")


@pytest.fixture(scope="module", params=["jax", "torch"])
def results(request, tmp_path_factory):
    """What `other_backends.py` found."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    folder, random = tmp_path_factory.mktemp(request.param), np.random.default_rng(3)
    for name, labels in (("x.h5", random.integers(0, 3, 25)), ("numbered.h5", np.arange(25))):
        with h5py.File(folder / name, "w") as file:
            file["images"] = random.integers(0, 256, (25, 12, 14, 3), dtype=np.uint8)
            file["labels"] = labels
            file["images"].attrs["mean"] = [90.0, 100.0, 110.0]
    return request.param, results_of("other_backends.py", request.param, folder / "x.h5", folder / "numbered.h5")


TRAININGS = ["plain", "not built yet, class weights", "TenCrop, float16", "channels_first"]
PLACES = ["arrays of float32", "arrays of float16", "arrays of bfloat16", "the training step"]
BATCHES = [
    "validation on the side",
    "one step a fit",
    "stopped early",
    "steps_per_epoch",
    "resumed, built",
    "resumed, not built",
    "validation by the same loader",
    "arguments that mean nothing",
    "positions, built",
    "positions, not built",
    "damaged images",
]
BUFFERS = ["kept arrays stay as they are", "what is read later is still there", "buffers are used again", "threads"]


@pytest.mark.parametrize("name", [*TRAININGS, *(f"{name}: fastprep.predict" for name in TRAININGS)])
def test_training_is_the_same_as_with_arrays(results, name):
    """History, validation, `evaluate`, `predict` and weights: difference 0, the partial last batch included."""
    ours, theirs = results[1][name]
    assert ours == theirs


def test_training_with_two_inputs_is_the_same_as_with_arrays(results):
    ours, theirs = results[1]["two inputs"]
    assert ours == theirs


def test_batch_normalisation_is_measured(results):
    ours, theirs = results[1]["batch normalisation"]
    assert ours == theirs


@pytest.mark.parametrize("name", PLACES)
def test_arrays_lie_where_the_kernel_wrote(results, name):
    ours, theirs = results[1][name]
    assert ours == theirs


@pytest.mark.parametrize("name", BATCHES)
def test_keras_gets_each_batch_in_its_turn(results, name):
    ours, theirs = results[1][name]
    assert ours == theirs


AHEAD = ["positions with a look ahead, built", "positions with a look ahead, not built", "damaged images with a look ahead"]


@pytest.mark.parametrize("name", AHEAD)
def test_the_loader_allows_for_the_batch_that_keras_takes_ahead(results, name):
    """JAX says that it computes on a GPU, on which Keras holds a batch back."""
    backend, found = results
    if backend != "jax":
        pytest.skip("only with JAX does Keras look ahead")
    ours, theirs = found[name]
    assert ours == theirs


@pytest.mark.parametrize("name", BUFFERS)
def test_buffers_are_used_again_but_not_too_early(results, name):
    ours, theirs = results[1][name]
    assert ours == theirs


@pytest.mark.parametrize("name", ["distribution", "distribution: history", "another device", "another device: history"])
def test_jax_gets_batches_where_it_computes(results, name):
    backend, found = results
    if backend != "jax":
        pytest.skip("torch has no such devices")
    ours, theirs = found[name]
    assert ours == theirs


def test_jax_compiles_no_more_than_for_arrays(results):
    """Batches from DLPack are committed to their device; so are the weights, before the first step."""
    backend, found = results
    if backend != "jax":
        pytest.skip("torch compiles nothing")
    ours, theirs = found["compilations"]
    assert ours == theirs
    assert theirs["fit"] >= 1
