"""The commands run on JAX and torch as on TensorFlow, and a run goes from one backend to another."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from backend_process import compiled_once
from optional_libraries import needs

from fastprep import evaluate, train
from fastprep.training import checkpoint, determinism

keras = pytest.importorskip("keras")

SAVED_RUN = Path(__file__).parent / "saved_runs" / "version_1"
SCRIPT = Path(__file__).parents[1] / "support" / "commands_on_backend.py"
NETWORK = """
import keras
from keras import layers

def network(shape, classes):
    return keras.Sequential([
        keras.Input(shape), layers.Flatten(), layers.Dropout(0.5), layers.Dense(8, use_bias=False),
        layers.BatchNormalization(), layers.Dense(classes),
    ])
"""


def make_files(folder):
    """Write the network and the files of the saved run."""
    (folder / "saved_network.py").write_text(NETWORK)
    for name, n in (("train.h5", 43), ("val.h5", 20)):
        values = (np.arange(n * 8 * 9 * 3, dtype=np.uint64) * 2654435761 >> 7) % 256  # those of the saved run
        with h5py.File(folder / name, "w") as file:
            file["images"] = values.astype(np.uint8).reshape(n, 8, 9, 3)
            file["images"].attrs["mean"] = [90.0, 100.0, 110.0]
            file["labels"] = np.arange(n) * 7 % 3


@pytest.fixture(scope="module")
def run_of_these_tests(tmp_path_factory):
    """A run of two epochs on the backend of this process."""
    folder = tmp_path_factory.mktemp("here")
    make_files(folder)
    files = ["--train", str(folder / "train.h5"), "--val", str(folder / "val.h5")]
    options = ["--crop", "6", "--batch-size", "8", "--epochs", "2", "--model", "saved_network:network", "--workers", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        assert train.main([*files, *options, "--out", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture(scope="module", params=[pytest.param(name, marks=needs(name)) for name in ("jax", "torch")])
def results(request, tmp_path_factory, run_of_these_tests):
    """The folder of `commands_on_backend.py`, and what it found."""
    folder = tmp_path_factory.mktemp(request.param)
    make_files(folder)
    own = {"KERAS_BACKEND": request.param, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    environment = {**compiled_once(), **os.environ, **own}
    command = [sys.executable, str(SCRIPT), str(folder), str(SAVED_RUN), str(run_of_these_tests)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder, request.param, json.loads(done.stdout.splitlines()[-1])


OTHERS = ["TensorFlow", "the backend of the tests"]
COMMANDS = ["trained", "resumed", "evaluated", *(f"{what} from {name}" for name in OTHERS for what in ("resumed", "evaluated"))]


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_run_on_the_backend(results, name):
    status, errors = results[2][name]
    assert status == 0, errors


def test_a_run_resumed_within_an_epoch_ends_as_the_undisturbed_one(results):
    whole, resumed = results[2]["same end"]
    assert whole == resumed


def test_runs_of_other_backends_go_on_to_their_end(results):
    assert results[2]["epochs"] == [3, 3]


def test_several_ranks_are_refused_in_one_line(results):
    status, errors = results[2]["ranks"]
    assert status == 2
    assert errors.count("\n") == 1
    assert f"TF_CONFIG names 2 ranks, and Keras runs on {results[1]}: several ranks train on TensorFlow only" in errors
    assert "unset TF_CONFIG" in errors


def test_a_run_is_evaluated_and_resumed_by_the_backend_of_this_process(results, monkeypatch, capsys):
    folder, _, _ = results
    monkeypatch.syspath_prepend(folder)
    monkeypatch.chdir(folder)
    (theirs,) = (folder / "whole").glob("evaluation-*")
    words = ["whole", "--data", "val.h5", "--trust", "--out", "ours"]
    assert evaluate.main(words) == 0, capsys.readouterr().err
    with np.load(folder / "ours" / "probabilities.npz") as a, np.load(theirs / "probabilities.npz") as b:
        for name in a:
            np.testing.assert_allclose(a[name], b[name], atol=1e-5)
    shutil.copytree("whole", "further")
    words = ["--trust", "--resume", "further", "--epochs", "3"]
    monkeypatch.setattr(determinism, "enable", lambda: None)  # it would last for all tests after this one
    assert train.main(words) == 0, capsys.readouterr().err
    state, _ = checkpoint.read(Path("further", "last.keras"))
    assert state["course"]["epoch"] == 3


def test_checksums_do_not_depend_on_the_width_of_integers():
    seeds = np.array([1337, 4], np.uint32)
    assert checkpoint._crc(seeds) == checkpoint._crc(seeds.astype(np.int64)) == checkpoint._crc(seeds.astype(np.int32))
    assert checkpoint._crc(seeds.astype(np.int64)) == checkpoint._crc_as_stored(seeds.astype(np.int64))


def test_flags_for_determinism_keep_those_of_the_user(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_a=1")
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    determinism.prepare()
    determinism.prepare()
    assert os.environ["XLA_FLAGS"] == "--xla_a=1 --xla_gpu_deterministic_ops=true"
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_the_random_states_of_torch_are_saved_and_restored_on_torch_alone(monkeypatch):
    from fastprep.adapters import torch

    states, restored = [np.arange(3, dtype=np.uint8), np.arange(2, dtype=np.uint8)], []
    monkeypatch.setattr(torch, "random_states", lambda: states)
    monkeypatch.setattr(torch, "set_random_states", restored.append)
    arrays = {"mean": np.zeros(3), **{f"torch/{k}": values for k, values in enumerate(states)}}
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert checkpoint._torch_states() == []
    checkpoint._set_torch_states(arrays)
    assert restored == []
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    assert checkpoint._torch_states() is states
    checkpoint._set_torch_states({"mean": arrays["mean"]})  # saved on another backend
    checkpoint._set_torch_states(arrays)
    assert [[values.tolist() for values in some] for some in restored] == [[[0, 1, 2], [0, 1]]]
