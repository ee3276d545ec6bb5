"""A run so small that it takes a second, its files, and a hook into its steps: for tests of faults."""

import shutil
import time

import h5py
import keras
import numpy as np
import pytest

from fastprep import train
from fastprep.training import callbacks, checkpoint

EPOCHS, STEPS = 3, 6
WHOLE = ["best.keras", "config.json", "curves.png", "history.csv", "last.keras", "loader.jsonl", "report.html"]

NETWORK = """
import ctypes
import keras
from keras import layers

def network(shape, classes):  # dropout has a random state, and Adam a state, to be kept
    return keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dropout(0.5), layers.Dense(classes)])

def wait(values):  # for a mutex that this thread has itself, which no signal ends
    open("begun", "w").close()
    mutex, lock = ctypes.create_string_buffer(64), ctypes.CDLL(None).pthread_mutex_lock
    lock(mutex)
    lock(mutex)
    return values

class Slow(layers.Layer):  # never done with a step, and outside of Python, as a large network may be
    def call(self, x, training=False):
        if not training:
            return x
        x = keras.ops.stop_gradient(x)
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf
            return tf.ensure_shape(tf.numpy_function(wait, [x], tf.float32), x.shape)
        if keras.backend.backend() == "jax":
            import jax
            return jax.pure_callback(wait, jax.ShapeDtypeStruct(x.shape, x.dtype), x)
        return wait(x)

def slow(shape, classes):
    return keras.Sequential([keras.Input(shape), layers.Flatten(), Slow(), layers.Dense(classes)])

def big(shape, classes):
    return keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(1000), layers.Dense(classes)])
"""


def command(folder, *options):
    """Return the arguments of a run of 3 epochs of 6 steps."""
    files = ["--train", str(folder / "train.h5"), "--val", str(folder / "val.h5"), "--crop", "10", "--batch-size", "8"]
    options = ["--model", "network_of_faults:network", "--save-every", "100", "--workers", "1", *options]
    return [*files, "--epochs", str(EPOCHS), *options]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A folder with files, gzip so that their images can be damaged, and a run that nothing happened to."""
    folder, rng = tmp_path_factory.mktemp("undisturbed"), np.random.default_rng(3)
    (folder / "network_of_faults.py").write_text(NETWORK)
    for name, n in (("train.h5", 43), ("val.h5", 20)):
        with h5py.File(folder / name, "w") as file:
            layout = {"chunks": (1, 12, 14, 3), "compression": "gzip", "fletcher32": True}
            file.create_dataset("images", data=rng.integers(0, 256, (n, 12, 14, 3), dtype=np.uint8), **layout)
            file["images"].attrs["mean"] = [90.0, 100.0, 110.0]
            file["labels"] = rng.integers(0, 3, n)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        assert train.main(command(folder, "--out", str(folder / "run"))) == 0
    return folder


@pytest.fixture
def files(undisturbed, tmp_path):
    """Files to do harm to."""
    return [shutil.copy2(undisturbed / name, tmp_path / name) for name in ("train.h5", "val.h5")]


@pytest.fixture
def arguments(files, tmp_path):
    return command(tmp_path)


def before_step(monkeypatch, number, action):
    """Call `action` before a step of training, counted over all epochs."""
    original, done = callbacks.RunCallback.on_train_batch_begin, []

    def begin(callback, batch, logs=None):
        if callback.state.epoch * STEPS + callback.first_step + batch == number and not done:
            done.append(True)
            action()
        original(callback, batch, logs)

    monkeypatch.setattr(callbacks.RunCallback, "on_train_batch_begin", begin)


def names(run):
    return sorted(path.name for path in run.iterdir())


def outcome(run):
    """Return everything that has to be the same in the end."""
    state, arrays = checkpoint.read(run / "last.keras")
    models = {name: keras.models.load_model(run / name, compile=False) for name in ("last.keras", "best.keras")}
    return {
        "variables": [crc for _, crc in state["variables"]],
        "weights": {name: [weights.tobytes() for weights in model.get_weights()] for name, model in models.items()},
        "history": state["course"]["history"],
        "best": (state["course"]["best_epoch"], state["course"]["best_accuracy"]),
        "history.csv": (run / "history.csv").read_text(),
        "mean": arrays["mean"].tobytes(),
        "files": sorted(p.name for p in run.iterdir()),
    }


def wait_until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
