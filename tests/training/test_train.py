"""The train command: a whole run, one clear line for bad input, and Ctrl-C at any moment."""

import csv
import json
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
import warm_python
from small_run import WHOLE

import fastprep
from fastprep import train
from fastprep.training import data

keras = pytest.importorskip("keras")

SMALLEST = 57  # the smallest crop AlexNet takes


@pytest.fixture
def files(make_file):
    train_file, _, _ = make_file(n=21, height=60, width=62, name="train.h5")
    val_file, _, _ = make_file(n=10, height=64, width=60, name="val.h5")
    return ["--train", str(train_file), "--val", str(val_file), "--crop", str(SMALLEST), "--batch-size", "8"]


def test_a_run_is_a_folder_with_everything(files, tmp_path, capsys):
    out = tmp_path / "runs" / "one"
    assert train.main([*files, "--epochs", "2", "--schedule", "cosine", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "training: 21 images of 60x62x3, contiguous" in printed
    assert "waiting for images" in printed
    assert printed.endswith(
        f"all in {out}\nto read: {out}/report.html\nto test it: python -m fastprep.evaluate {out} --data FILE\n"
    )
    assert "; the largest has 40.00% of the images for validation" in printed
    assert sorted(p.name for p in out.iterdir()) == WHOLE
    config = json.loads((out / "config.json").read_text())
    assert (config["epochs"], config["crop"], config["schedule"], config["seed"]) == (2, SMALLEST, "cosine", 42)
    with open(out / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert set(rows[0]) == {"epoch", "accuracy", "learning_rate", "loss", "val_accuracy", "val_loss"}
    assert (out / "curves.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    best = max(rows, key=lambda row: (float(row["val_accuracy"]), -float(row["val_loss"])))
    assert f"best epoch {best['epoch']}:" in printed
    model = keras.models.load_model(out / "best.keras")
    with h5py.File(files[1], "r") as file:
        mean = np.asarray(file["images"].attrs["mean"])
    with fastprep.Loader(files[3], 8, fastprep.CenterCrop(SMALLEST), mean=mean) as val:
        loss, accuracy = model.evaluate(val, verbose=0)
    assert accuracy == pytest.approx(float(best["val_accuracy"]), abs=1e-6)
    assert loss == pytest.approx(float(best["val_loss"]), rel=1e-5)


SMALL_NETWORK = """
import keras
from keras import layers

def small(shape, classes):
    return keras.Sequential([
        keras.Input(shape), layers.Conv2D(4, 5, 4), layers.Dropout(0.5), layers.Flatten(), layers.Dense(classes),
    ])
"""


def test_the_same_seed_gives_the_same_first_epoch(files, tmp_path, monkeypatch):
    (tmp_path / "one_small_network.py").write_text(SMALL_NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    files = [*files, "--model", "one_small_network:small"]
    histories = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert train.main([*files, "--epochs", "1", "--seed", seed, "--out", str(tmp_path / name)]) == 0
        histories.append((tmp_path / name / "history.csv").read_text())
    assert histories[0] == histories[1] != histories[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--val": "nowhere-*.h5"}, "no file matches 'nowhere-*.h5'"),
        ({"--crop": "61"}, "crop is larger than the image: 61x61 from 60x62 pixels (file"),
        ({"--crop": "20"}, "at least 57 in 'channels_last'; --crop sets the side of the crops, --model takes another"),
        ({"--epochs": "0"}, "--epochs must be at least 1, got 0"),
        ({"--crop": "0"}, "--crop must be at least 1, got 0"),
        ({"--lr": "0"}, "--lr must be above 0, got 0.0"),
        ({"--rank-timeout": "0"}, "--rank-timeout must be above 0, got 0.0"),
    ],
)
def test_bad_arguments_are_one_clear_line(files, tmp_path, capsys, change, message):
    arguments = dict(zip(files[::2], files[1::2], strict=True)) | change
    check_refused([part for pair in arguments.items() for part in pair], message, tmp_path, capsys)


def spoil_images(file):
    file.move("images", "photos")


def spoil_channel_order(file):
    file["images"].attrs["channel_order"] = "BGR"


def spoil_labels(file):
    del file["labels"]
    file["labels"] = np.zeros(20, int)


def spoil_label_type(file):
    del file["labels"]
    file["labels"] = np.zeros((21, 2))


def spoil_classes(file):
    file["labels"][...] = 0


def spoil_mean(file):
    del file["images"].attrs["mean"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_images, "there is no dataset 'images'; it has 'photos' (21, 60, 62, 3) uint8, 'labels' (21,) int64"),
        (spoil_channel_order, "channel_order is 'RGB'; training had 'BGR'"),
        (spoil_labels, "dataset 'labels': there must be one label for each of the 21 images, found shape (20,)"),
        (spoil_label_type, "labels must be one integer for each image, found float64 (21, 2)"),
        (spoil_classes, "there must be two classes at least, all labels are 0"),
        (spoil_mean, "has no stored mean: say --mean compute, none, or the path of a JSON"),
    ],
)
def test_bad_files_are_one_clear_line(files, tmp_path, capsys, spoil, message):
    with h5py.File(files[1], "r+") as file:
        spoil(file)
    with h5py.File(files[3], "r+") as file:
        file["images"].attrs["channel_order"] = "RGB"
    check_refused(files, message, tmp_path, capsys)


def check_refused(arguments, message, tmp_path, capsys):
    assert train.main([*arguments, "--out", str(tmp_path / "run")]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("fastprep.train: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_an_interrupt_before_there_is_a_run_folder_speaks_of_none(files, tmp_path, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastprep.training.session.inspect_files", interrupt)
    assert train.main([*files, "--out", str(tmp_path / "run")]) == 130
    assert capsys.readouterr().err == "\nfastprep.train: interrupted\n"
    assert not (tmp_path / "run").exists()


def test_nothing_to_train_on_and_a_run_that_exists(files, tmp_path, capsys):
    assert train.main([]) == 2
    assert "--train FILE and --val FILE are needed (or --val-split SHARE, or --fold K/N), or --demo" in capsys.readouterr().err
    assert train.main([*files, "--out", str(tmp_path)]) == 2
    assert "exists already; a run never writes over another" in capsys.readouterr().err
    assert train.main([*files, "--full"]) == 2
    assert "--full goes with --demo only" in capsys.readouterr().err
    assert train.main([*files, "--demo"]) == 2
    assert "--demo brings its own images" in capsys.readouterr().err


def test_a_folder_that_can_not_be_made(files, capsys):
    for name in ("/proc/x", "/proc/version/x"):
        assert train.main([*files, "--out", name]) == 2
        error = capsys.readouterr().err
        assert f"fastprep.train: --out: {name!r} can't be made: " in error
        assert error.count("\n") == 1


def test_mean_from_the_command_line(files):
    with h5py.File(files[1], "r+") as file:
        images = file["images"][()]
        del file["images"].attrs["mean"]
    for argument, wanted in (("none", None), ("compute", images.mean(axis=(0, 1, 2)))):
        config = train.parse([*files, "--mean", argument])
        for loader in data.open_loaders(config, data.inspect_files(config)):
            got = loader.mean
            assert (got is None) == (wanted is None)
            if wanted is not None:
                np.testing.assert_allclose(got, wanted, rtol=1e-6)


@pytest.mark.parametrize(("steps", "number"), [("quick", signal.SIGINT), ("slow", signal.SIGINT)])
def test_interrupts(make_file, files, tmp_path, steps, number):
    """Quick steps: in the middle of a later epoch. Slow ones: while TensorFlow is in a step of several seconds, of AlexNet."""
    if steps == "slow":
        big, _, _ = make_file(n=128, height=227, width=227, name="big.h5")
        files = ["--train", str(big), "--val", str(big), "--batch-size", "128"]
    else:
        (tmp_path / "one_small_network.py").write_text(SMALL_NETWORK)
        files = [*files, "--model", "one_small_network:small"]
    out = tmp_path / "run"
    command = [sys.executable, "-m", "fastprep.train", *files, "--epochs", "1000", "--out", str(out)]
    process = warm_python.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        ready = out / ("last.keras" if steps == "slow" else "curves.png")  # the training is about to begin; one epoch is over
        wait_until(lambda: ready.exists() or process.poll() is not None)
        time.sleep(1.5)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)  # about one second, see docs/notes/resuming.md; machines may be busy
    finally:
        process.kill()
    assert process.returncode == 128 + number, errors
    assert "interrupted; what the run folder holds is whole" in errors
    assert "Traceback" not in errors
    names = {p.name for p in out.iterdir()}
    if steps == "slow":
        assert {"config.json", "last.keras"} <= names  # and more, where the machine is through an epoch already
        assert not [name for name in names if name.startswith(".")]
        return
    assert names == set(WHOLE)
    for name in ("best.keras", "last.keras"):
        keras.models.load_model(out / name)
    assert len((out / "history.csv").read_text().splitlines()) >= 2


def wait_until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
