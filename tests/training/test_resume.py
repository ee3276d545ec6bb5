"""Resuming: killed at any moment, a run ends with the same weights, bit for bit, as one that nobody disturbed."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
import warm_python
from small_run import outcome, wait_until

from fastprep import train
from fastprep.errors import InputError
from fastprep.training import checkpoint

keras = pytest.importorskip("keras")
from fastprep.training import callbacks  # noqa: E402
from fastprep.training.run_folder import RunFolder  # noqa: E402

EPOCHS, STEPS = 3, 6

# Dropout and batch normalisation have state of their own, and so has Adam.
NETWORK = """
import keras
from keras import layers

def network(input_shape, classes):
    return keras.Sequential([
        keras.Input(input_shape), layers.RandomTranslation(0.1, 0.1), layers.Conv2D(4, 3, activation="relu"),
        layers.BatchNormalization(), layers.Dropout(0.3), layers.Flatten(), layers.Dropout(0.5), layers.Dense(classes),
    ])
"""


def write_files(folder, monkeypatch):
    """Return the arguments of a run of 3 epochs of 6 steps, the last of each with fewer images."""
    (folder / "small_network.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "small_network", raising=False)
    random = np.random.default_rng(5)
    for name, n in (("train.h5", 43), ("val.h5", 20)):
        with h5py.File(folder / name, "w") as file:
            file["images"] = random.integers(0, 256, (n, 12, 14, 3), dtype=np.uint8)
            file["images"].attrs["mean"] = [90.0, 105.0, 120.0]
            file["labels"] = random.integers(0, 3, n)
    options = ["--crop", "10", "--batch-size", "8", "--epochs", str(EPOCHS), "--model", "small_network:network"]
    options += ["--batchnorm-steps", "3"]
    return ["--train", str(folder / "train.h5"), "--val", str(folder / "val.h5"), *options, "--schedule", "cosine"]


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    return write_files(tmp_path, monkeypatch)


class Killed(BaseException):
    """Stands for a kill in tests that stay in one process."""


def kill_before_step(number):
    """Let the process end before a step of training, counted over all epochs."""

    def arrange(monkeypatch):
        original = callbacks.RunCallback.on_train_batch_begin

        def begin(callback, batch, logs=None):
            original(callback, batch, logs)
            if callback.state.epoch * STEPS + callback.state.step == number:
                raise Killed

        monkeypatch.setattr(callbacks.RunCallback, "on_train_batch_begin", begin)

    return arrange


def kill_in(owner, name, call, before=False):
    """Let the process end right after, or before, the given call of a function, counted from 1."""

    def arrange(monkeypatch):
        original, calls = getattr(owner, name), []

        def wrapped(*arguments, **options):
            calls.append(1)
            if len(calls) == call and before:
                raise Killed
            result = original(*arguments, **options)
            if len(calls) == call:
                raise Killed
            return result

        monkeypatch.setattr(owner, name, wrapped)

    return arrange


def killed(monkeypatch, arrange, command):
    with monkeypatch.context() as patch:
        arrange(patch)
        with pytest.raises(Killed):
            train.main(command)


@pytest.fixture
def undisturbed(arguments, tmp_path, capsys):
    assert train.main([*arguments, "--out", str(tmp_path / "undisturbed")]) == 0
    capsys.readouterr()
    return outcome(tmp_path / "undisturbed")


def test_a_run_killed_at_every_sort_of_moment(arguments, undisturbed, tmp_path, monkeypatch, capsys):
    """Each kill hits what the last resumed run left, and the end shows whether any of them changed anything."""
    run = tmp_path / "run"
    moments = {
        "before the first save": kill_in(checkpoint, "save", 1, before=True),
        "before the first step": kill_before_step(0),
        "before the first save in an epoch": kill_before_step(1),
        "after it": kill_before_step(3),
        "while a model is written": kill_in(keras.Model, "save", 1),
        "before the file has its name": kill_in(checkpoint.os, "fsync", 1),
        "at the last step of an epoch": kill_before_step(STEPS - 1),
        "in the validation": kill_in(keras.Model, "evaluate", 1, before=True),
        "between saving and the best model": kill_in(RunFolder, "publish", 1, before=True),
        "at the first step of an epoch": kill_before_step(STEPS),
        "in the middle of the last epoch": kill_before_step(2 * STEPS + 4),
        "between saving and the last best model": kill_in(RunFolder, "publish", 1, before=True),
        "after that": kill_in(RunFolder, "publish", 1),
    }
    command = [*arguments, "--save-every", "2", "--out", str(run)]
    for arrange in moments.values():
        killed(monkeypatch, arrange, command)
        command = ["--trust", "--resume", str(run)]
    capsys.readouterr()
    assert train.main(command) == 0
    assert outcome(run) == undisturbed


def test_kill_9(arguments, tmp_path):
    """The same with processes and signals; `FASTPREP_KILLS` is how many of them, at moments that are drawn anew each time."""
    n_kills = int(os.environ.get("FASTPREP_KILLS", "1"))
    command = [sys.executable, "-m", "fastprep.train"]
    options = [*arguments, "--epochs", "6", "--deterministic", "--optimizer", "adamw"]
    options = [*options, "--save-every", "2", "--schedule", "plateau"]
    quiet = {"cwd": tmp_path, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    undisturbed = subprocess.Popen([*command, *options, "--out", "undisturbed"], text=True, **quiet)
    moments = random.Random()
    killed, run = 0, tmp_path / "run"
    next_command = [*command, *options, "--out", "run"]
    try:
        while True:
            process = warm_python.Popen(next_command, **quiet)
            if killed == n_kills:
                break
            before = stamp(run)
            wait_until(lambda: stamp(run) != before or process.poll() is not None)  # noqa: B023 - called at once
            time.sleep(moments.uniform(0, 0.6))
            process.kill()
            if process.wait() == -signal.SIGKILL:
                killed += 1
                next_command = [*command, "--trust", "--resume", "run"]
            else:  # it was too quick; once more
                assert process.returncode == 0, process.stderr.read()
                shutil.rmtree(run)
                next_command = [*command, *options, "--out", "run"]
            process.stderr.close()
        for each in (process, undisturbed):
            _, errors = each.communicate(timeout=120)
            assert each.returncode == 0, errors
            assert "oneDNN" not in errors  # what TensorFlow says at every start, and nobody can use
    finally:
        process.kill()
        undisturbed.kill()
    assert outcome(run) == outcome(tmp_path / "undisturbed")


def stamp(run):
    try:
        return (run / "last.keras").stat().st_ino
    except FileNotFoundError:
        return None


def kill_in_second_epoch(arguments, run, monkeypatch):
    killed(monkeypatch, kill_before_step(9), [*arguments, "--save-every", "2", "--out", str(run)])


@pytest.fixture(scope="module")
def killed_once(tmp_path_factory):
    """A folder with files, and a run that was killed in its second epoch, to be copied."""
    folder = tmp_path_factory.mktemp("killed")
    with pytest.MonkeyPatch.context() as patch:
        kill_in_second_epoch(write_files(folder, patch), folder / "run", patch)
    return folder


@pytest.fixture
def interrupted(killed_once, tmp_path, monkeypatch):
    """A run that was killed in its second epoch."""
    monkeypatch.syspath_prepend(killed_once)
    monkeypatch.delitem(sys.modules, "small_network", raising=False)  # another test's
    return shutil.copytree(killed_once / "run", tmp_path / "run")


def test_what_a_killed_run_leaves_is_whole(interrupted):
    rows = (interrupted / "history.csv").read_text().splitlines()
    assert rows[0] == "epoch,accuracy,learning_rate,loss,val_accuracy,val_loss"
    assert [row.split(",")[0] for row in rows[1:]] == ["1"]
    for name in ("last.keras", "best.keras"):
        keras.models.load_model(interrupted / name)
    state, _ = checkpoint.read(interrupted / "last.keras")
    assert (state["course"]["epoch"], state["course"]["step"]) == (1, 2)
    assert (state["loader"]["epoch"], state["loader"]["seen"]) == (1, 16)
    json.loads((interrupted / "config.json").read_text())


def test_what_is_half_written_is_removed_but_an_evaluation_goes_on(interrupted):
    folder = interrupted / ".evaluation-test.1.part"
    folder.mkdir()
    (folder / "predictions.csv").write_text("half")
    (interrupted / ".last.1.part.keras").write_text("half, by an older version")
    (interrupted / ".last.fastprep-0123456789abcdef.part.keras").write_text("half")
    (interrupted / ".notes.1.part.txt").write_text("not of a run")
    assert train.main(["--trust", "--resume", str(interrupted)]) == 0
    assert sorted(path.name for path in interrupted.glob(".*")) == [folder.name, ".notes.1.part.txt"]
    assert (folder / "predictions.csv").read_text() == "half"


def test_keras_alone_would_forget_the_state_of_dropout(interrupted):
    """The reason that the file holds more than Keras writes; if this fails, less is needed."""
    state, arrays = checkpoint.read(interrupted / "last.keras")
    kept = [name for name in arrays if name.startswith("variable/")]
    paths = [path for path, _ in state["variables"]]
    assert [paths[int(name.removeprefix("variable/"))].split("/")[-1] for name in kept] == ["seed_generator_state"] * 3


def test_more_epochs_than_planned_and_fewer_threads(interrupted, capsys):
    assert train.main(["--trust", "--resume", str(interrupted), "--epochs", "4", "--workers", "1"]) == 0
    assert len((interrupted / "history.csv").read_text().splitlines()) == 5
    saved = json.loads((interrupted / "config.json").read_text())
    assert (saved["epochs"], saved["workers"], saved["batch_size"], saved["resume"]) == (4, 1, 8, None)
    capsys.readouterr()
    before = (interrupted / "last.keras").read_bytes()
    assert train.main(["--trust", "--resume", str(interrupted)]) == 0
    assert "best epoch" in capsys.readouterr().out
    assert (interrupted / "last.keras").read_bytes() == before


def refused(arguments, message, capsys):
    assert train.main(arguments) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1


def test_what_can_not_be_resumed_is_one_clear_line(arguments, tmp_path, monkeypatch, capsys):
    interrupted = tmp_path / "run"
    run = str(interrupted)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # which is not told from that of other code of this size and second
    kill_in_second_epoch(arguments, interrupted, monkeypatch)  # of files of its own, which it changes
    capsys.readouterr()
    refused(["--trust", "--resume", str(tmp_path / "nowhere")], "there is no run in", capsys)
    refused(["--resume", run, "--batch-size", "4"], "--batch-size was 8 and can't become 4; that is another run", capsys)
    refused(["--trust", "--resume", run, "--config", "x.json"], "leave --config out", capsys)
    original = (interrupted / "last.keras").read_bytes()
    (interrupted / "last.keras").write_bytes(original[: len(original) // 2])
    refused(["--trust", "--resume", run], "is not a saved run: it was not written by fastprep.train", capsys)
    (interrupted / "last.keras").write_bytes(original)
    (tmp_path / "small_network.py").write_text(NETWORK.replace("Conv2D(4, 3", "Conv2D(5, 3"))
    sys.modules.pop("small_network")
    refused(["--trust", "--resume", run], "last.keras' is damaged, or does not fit the network", capsys)
    (tmp_path / "small_network.py").write_text(NETWORK)
    sys.modules.pop("small_network")
    with h5py.File(tmp_path / "train.h5", "r+") as file:
        images, labels = file["images"][:-1], file["labels"][:-1]
        mean = file["images"].attrs["mean"]
        del file["images"], file["labels"]
        file["images"], file["labels"] = images, labels
        file["images"].attrs["mean"] = mean
    refused(["--trust", "--resume", run], "state is from a loader with other batches: n_samples 43 (here 42)", capsys)


def test_a_run_without_its_last_save_is_not_begun_anew_over_its_results(interrupted, capsys):
    whole = (interrupted / "last.keras").read_bytes()
    (interrupted / "last.keras").unlink()
    before = {path.name: path.read_bytes() for path in interrupted.iterdir()}
    resume = ["--trust", "--resume", str(interrupted)]
    refused(resume, "has no last.keras, which a run goes on from, but best.keras, history.csv, curves.png", capsys)
    refused(resume, f"config.json --model small_network:network --weights {interrupted / 'best.keras'}", capsys)
    (interrupted / "last.keras").write_bytes(whole[:1000])
    refused(resume, "is not a saved run: it was not written by fastprep.train; best.keras is a save of the best epoch", capsys)
    (interrupted / "last.keras").unlink()
    assert {path.name: path.read_bytes() for path in interrupted.iterdir()} == before
    shutil.copy(interrupted / "best.keras", interrupted / "last.keras")  # as the message says
    assert train.main(resume) == 0
    assert "resuming at epoch 2, step 1 of 6; best so far epoch 1" in capsys.readouterr().out


def test_a_run_that_ended_before_its_first_save_begins(interrupted, capsys):
    for path in interrupted.iterdir():
        if path.name != "config.json":
            path.unlink()
    assert train.main(["--trust", "--resume", str(interrupted), "--epochs", "1"]) == 0
    assert (interrupted / "best.keras").exists()


def test_only_one_process_trains_in_a_run(interrupted, capsys):
    import fcntl

    descriptor = os.open(interrupted, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        refused(["--trust", "--resume", str(interrupted)], "another process is training in", capsys)
    finally:
        os.close(descriptor)


def test_restoring_notices_any_other_bit(interrupted, monkeypatch):
    path = interrupted / "last.keras"
    state, arrays = checkpoint.read(path)
    state["variables"][0][1] ^= 1
    monkeypatch.setattr(checkpoint, "read", lambda _: (state, arrays))
    model = keras.models.load_model(path)
    with pytest.raises(InputError, match="some of its variables are not those that were saved"):
        checkpoint.restore(path, model)


def test_mixed_precision_is_resumed_with_its_loss_scale(arguments, tmp_path, monkeypatch, capsys):
    runs = [tmp_path / "a", tmp_path / "b"]
    options = [*arguments, "--precision", "mixed_float16", "--epochs", "2"]
    assert train.main([*options, "--out", str(runs[0])]) == 0
    killed(monkeypatch, kill_before_step(8), [*options, "--save-every", "3", "--out", str(runs[1])])
    assert train.main(["--trust", "--resume", str(runs[1])]) == 0
    assert outcome(runs[0]) == outcome(runs[1])
    state, _ = checkpoint.read(runs[0] / "last.keras")
    assert any(path.endswith("dynamic_scale") for path, _ in state["variables"])
    assert np.isfinite(state["course"]["history"]["loss"]).all()
