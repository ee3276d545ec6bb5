"""Runs and states that earlier code saved are resumed by today's code."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from fastprep import RandomCrop, TenCrop, train
from fastprep.loader import Loader
from fastprep.training import checkpoint

keras = pytest.importorskip("keras")
from keras_backend import BACKEND  # noqa: E402

SAVED_RUN = Path(__file__).parent / "saved_runs" / "version_1"

NETWORK = """
import keras
from keras import layers

def network(shape, classes):
    return keras.Sequential([
        keras.Input(shape), layers.Flatten(), layers.Dropout(0.5), layers.Dense(8, use_bias=False),
        layers.BatchNormalization(), layers.Dense(classes),
    ])
"""
OPTIONS = ["--crop", "6", "--batch-size", "8", "--epochs", "3", "--model", "saved_network:network", "--save-every", "3"]
OPTIONS += ["--workers", "1", "--schedule", "cosine", "--batchnorm-steps", "2"]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The training and the validation file, and the network, of the saved run."""
    (tmp_path / "saved_network.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    return [write_file(tmp_path / name, n) for name, n in (("train.h5", 43), ("val.h5", 20))]


def write_file(path, n, **layout):
    values = (np.arange(n * 8 * 9 * 3, dtype=np.uint64) * 2654435761 >> 7) % 256  # the same with every version of numpy
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=values.astype(np.uint8).reshape(n, 8, 9, 3), **layout)
        file["images"].attrs["mean"] = [90.0, 100.0, 110.0]
        file["labels"] = np.arange(n) * 7 % 3
    return path


def test_a_run_that_earlier_code_saved_ends_as_one_that_nobody_disturbed(files, tmp_path, capsys):
    named = ["--train", str(files[0]), "--val", str(files[1])]
    undisturbed, resumed = tmp_path / "undisturbed", tmp_path / "resumed"
    assert train.main([*named, *OPTIONS, "--out", str(undisturbed)]) == 0
    shutil.copytree(SAVED_RUN, resumed)
    capsys.readouterr()
    assert train.main(["--trust", "--resume", str(resumed), *named]) == 0
    assert "resuming at epoch 2, step 5 of 6; best so far epoch 1" in capsys.readouterr().out

    (state, arrays), (wanted, wanted_arrays) = (checkpoint.read(run / "last.keras") for run in (resumed, undisturbed))
    assert state["loader"] == wanted["loader"]
    assert state["about"] == wanted["about"]
    assert len(state["variables"]) == len(wanted["variables"])
    np.testing.assert_array_equal(arrays["mean"], wanted_arrays["mean"])
    for name in ("epoch", "step"):
        assert state["course"][name] == wanted["course"][name]
    assert sorted(path.name for path in resumed.iterdir()) == sorted(path.name for path in undisturbed.iterdir())
    if BACKEND == "tensorflow":  # the dropout of other backends draws other numbers than the saved run did
        assert state["course"]["best_epoch"] == wanted["course"]["best_epoch"]
        # the same bits where processor and TensorFlow are those of the saved run; others round their sums differently
        for name, values in wanted["course"]["history"].items():
            np.testing.assert_allclose(state["course"]["history"][name], values, rtol=1e-4, err_msg=name)
        for file in ("last.keras", "best.keras"):
            models = [keras.models.load_model(run / file, compile=False) for run in (resumed, undisturbed)]
            for ours, theirs in zip(*(model.get_weights() for model in models), strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_a_run_is_saved_under_the_same_names_as_before(files, tmp_path):
    """State, arrays and configuration have the same names, so that either code can read the files of the other.

    A configuration has the names of newer options, too.
    """
    run = tmp_path / "run"
    assert train.main(["--train", str(files[0]), "--val", str(files[1]), *OPTIONS, "--epochs", "1", "--out", str(run)]) == 0
    (state, arrays), (saved, saved_arrays) = (checkpoint.read(folder / "last.keras") for folder in (run, SAVED_RUN))
    assert words(state) == words(saved) | {"throughput": words(state["throughput"])}  # which earlier code does not look at
    of_torch = {name for name in arrays if name.startswith("torch/")}  # the state of its generator, on torch alone
    assert set(arrays) - of_torch == {name for name in saved_arrays if not name.startswith("metric/")}
    assert bool(of_torch) == (BACKEND == "torch")
    names, saved_names = (set(json.loads((folder / "config.json").read_text())) for folder in (run, SAVED_RUN))
    newer = {"axes", "shape", "channels", "shuffle_window", "val_images", "val_labels", "val_split", "fold", "sampling"}
    newer |= {"val_groups", "labels_per_image", "augment", "turn", "resize", "scale", "jitter", "hue", "lighting", "erase"}
    newer |= {"mixup", "cutmix", "policy", "standardize", "quiet"}
    assert names == saved_names | newer
    rows = [(folder / "history.csv").read_text().splitlines() for folder in (run, SAVED_RUN)]
    assert rows[0][0] == rows[1][0]


def words(state):
    """Return the names in a nested dict."""
    return {name: words(value) for name, value in state.items()} if isinstance(state, dict) else None


# States of loaders as earlier code returned them, and the samples that it read next: of the rest of the epoch, of the first
# step of the next one, and of the rest as rank 1 of 2 reads it in batches of 5.
STATES = {
    "all samples shuffled": (
        {},
        RandomCrop(6, mirror=True),
        {
            "version": 2,
            "epoch": 1,
            "seen": 32,
            "of": {
                "n_samples": 43,
                "shuffle": True,
                "chunks_per_window": None,
                "seed": 42,
                "crop": "RandomCrop(size=(6, 6), mirror=True, flip=False)",
            },
        },
        [[29, 23, 36, 33, 15, 31, 39, 10], [30, 21, 25], [40, 10, 9, 31, 14, 19, 34, 4]],
        [[23, 33, 31, 10, 21]],
    ),
    "windows of chunks": (
        {"chunks": (4, 8, 9, 3), "compression": "gzip"},
        TenCrop(6),
        {
            "version": 2,
            "epoch": 1,
            "seen": 32,
            "of": {
                "n_samples": 43,
                "shuffle": True,
                "chunks_per_window": 2,
                "seed": 42,
                "crop": "TenCrop(size=(6, 6), order='tutorial')",
            },
        },
        [[27, 10, 8, 9, 24, 11, 25, 22], [20, 23, 21], [22, 26, 25, 23, 20, 27, 21, 24]],
        [[10, 9, 11, 22, 23]],
    ),
}


@pytest.mark.parametrize("name", STATES)
def test_a_state_of_a_loader_that_earlier_code_saved_goes_on_with_the_same_samples(tmp_path, name):
    layout, crop, state, rest, rest_of_rank_1 = STATES[name]
    path = write_file(tmp_path / "x.h5", 43, **layout)
    options = {"shuffle": True, "shuffle_window": 8, "seed": 42}
    with Loader(path, 8, crop, **options) as loader:
        loader.load_state_dict(state)
        assert [loader.samples(epoch, step).tolist() for epoch, step in ((1, 4), (1, 5), (2, 0))] == rest
        loader.load_state_dict(state)
        saved = loader.state_dict()
        saved["of"].pop("chunks", None)  # which came later
        assert saved == state
    with Loader(path, 5, crop, shard=(1, 2), **options) as loader:
        loader.load_state_dict(state)
        assert [loader.samples(1, step).tolist() for step in range(loader.next_step, len(loader))] == rest_of_rank_1
