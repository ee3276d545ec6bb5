"""Commands on files whose axes are in another order: the results are those of a file that has the usual one."""

import csv
import json

import h5py
import numpy as np
import pytest
from optional_libraries import needs

from fastprep import convert, evaluate, show, train
from fastprep.cli.image_options import channels_of, shape_of
from fastprep.errors import InputError
from fastprep.evaluation import run as evaluation
from fastprep.evaluation.candidates import find_candidate
from fastprep.evaluation.part import mean_of_training, part_of_training, with_training_file
from fastprep.loader import Loader
from fastprep.training import checkpoint, data

NETWORK = """
import keras
from keras import layers

def network(shape, classes):
    return keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(classes)])
"""
LABELS = np.arange(24) % 3


def write(path, images, axes, **attributes):
    stored = images.reshape(len(images), -1) if axes == "flat" else images.transpose(*("NHWC".index(letter) for letter in axes))
    with h5py.File(path, "w") as file:
        file["images"], file["labels"] = stored, LABELS
        file["images"].attrs.update(attributes)
    return str(path)


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (24, 14, 12, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "options",
    [["--axes", "NCHW"], ["--axes", "NCWH"], ["--axes", "HWCN"], ["--shape", "14x12x3"], ["--axes", "NCHW", "--channels", "BGR"]],
    ids=" ".join,
)
def test_training_sees_the_same_files(tmp_path, images, options):
    axes = "flat" if "--shape" in options else options[1]
    usual, other = (write(tmp_path / f"{order}.h5", images, order, channel_order="RGB") for order in ("NHWC", axes))
    rest = ["--mean", "compute", "--model", "keras.applications:MobileNetV2"]
    wanted = data.inspect_files(train.parse(["--train", usual, "--val", usual, *rest]))
    found = data.inspect_files(train.parse(["--train", other, "--val", other, *rest, *options]))
    assert (found.input_shape, found.counts.tolist()) == (wanted.input_shape, wanted.counts.tolist())
    turned = "--channels" in options
    np.testing.assert_array_equal(found.mean, wanted.mean[::-1] if turned else wanted.mean)
    assert found.channel_order == ("BGR" if turned else "RGB")


@needs("keras")
def test_a_run_and_its_evaluation_on_some_channels_of_a_file_with_channels_first(tmp_path, images, monkeypatch):
    (tmp_path / "network_of_axes.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    usual = write(tmp_path / "usual.h5", images[..., [2, 0]], "NHWC")
    other = write(tmp_path / "other.h5", images, "NCHW")
    rest = ["--model", "network_of_axes:network", "--epochs", "1", "--crop", "10", "--batch-size", "8", "--mean", "compute"]
    results = []
    for path, options in ((usual, []), (other, ["--axes", "NCHW", "--channels", "2,0"])):
        run = tmp_path / f"run-{len(results)}"
        assert train.main(["--train", path, "--val", path, "--out", str(run), *rest, *options]) == 0
        # evaluate takes the channels of training by itself
        assert evaluate.main([str(run), "--data", path, "--out", str(run / "result"), *options[:2]]) == 0
        with open(run / "history.csv") as file:
            (history,) = csv.DictReader(file)
        (summary,) = (run / "result").glob("*.json")
        scores = json.loads(summary.read_text())["scores"]
        results.append(({name: history[name] for name in ("loss", "accuracy", "val_loss", "val_accuracy")}, scores))
    assert json.dumps(results[0][0]) == json.dumps(results[1][0])
    assert json.dumps(results[0][1]).replace("run-0", "run-1") == json.dumps(results[1][1])


@pytest.mark.parametrize(
    "options",
    [["--axes", "HWCN", "--channels", "2,0"], ["--shape", "14x12x3", "--channels", "BGR"], ["--images", "X/", "--axes", "CHW"]],
)
def test_the_training_file_is_divided_whatever_its_axes(tmp_path, images, options):
    axes = "flat" if "--shape" in options else "NCHW" if "--images" in options else options[1]
    path, usual = (write(tmp_path / f"{order}.h5", images, order, channel_order="RGB") for order in (axes, "NHWC"))
    if "--images" in options:
        with h5py.File(path, "r+") as file:
            for k, image in enumerate(file["images"]):
                file[f"X/{k}"] = image
    rest = ["--mean", "compute", "--model", "keras.applications:MobileNetV2", "--val-split", "0.25", "--crop", "10"]
    found = data.inspect_files(config := train.parse(["--train", path, *rest, *options]))
    wanted = data.inspect_files(train.parse(["--train", usual, *rest]))
    picked = [2, 0] if "2,0" in options else [2, 1, 0] if "BGR" in options else [0, 1, 2]
    np.testing.assert_array_equal(found.parts.val, wanted.parts.val)
    np.testing.assert_allclose(found.mean, wanted.mean[picked])
    assert found.input_shape == (10, 10, len(picked))
    for loader, part in zip(data.open_loaders(config, found), found.parts, strict=True):
        with loader:
            np.testing.assert_array_equal(loader.indices, part)
            assert loader.output_shape == found.input_shape


@pytest.mark.parametrize("mean", ["run", "compute"])
def test_a_part_is_evaluated_with_the_axes_and_the_channels_of_the_run(tmp_path, images, mean, monkeypatch):
    path, run, val = write(tmp_path / "a.h5", images, "flat"), tmp_path / "run", np.array([3, 9, 20])
    run.mkdir()
    (run / "best.keras").touch()
    (run / "config.json").write_text(json.dumps({"train": path, "shape": "3x14x12", "val_split": 0.25, "channels": "7,3"}))
    facts = {"model": "m:n", "crop": 3, "classes": 3, "class_names": [], "channels": 2, "logits": True, "channel_order": None}
    arrays = {"mean": np.array([4.0, 5.0], np.float32), "val_indices": val}
    state = {"about": {**facts, "n_samples": 24, "picked": [7, 3]}}
    monkeypatch.setattr(checkpoint, "read", lambda path: (state, arrays))
    for split, asked, picked in (("val", [], [7, 3]), ("val", ["--channels", "1,0"], [1, 0]), ("train", [], [7, 3])):
        config = with_training_file(evaluate.parse([str(run), "--split", split, "--mean", mean, *asked]))
        candidate = find_candidate(config, str(run))
        candidate.part = part_of_training(config, [candidate])
        candidate.mean = mean_of_training(config, candidate) if mean == "compute" else candidate.mean
        with evaluation._open_loader(config, candidate, None, Loader, device="cpu") as loader:
            rows = val if split == "val" else np.setdiff1d(np.arange(24), val)
            whole = images.reshape(24, 3, 14, 12)[..., picked]
            trained = np.setdiff1d(np.arange(24), val)
            wanted = whole[trained].mean(axis=(0, 1, 2)) if mean == "compute" else arrays["mean"]
            np.testing.assert_array_equal(loader.indices, rows)
            np.testing.assert_allclose(loader.mean, wanted, rtol=1e-6)
            np.testing.assert_allclose(np.concatenate([x for x, _ in loader]), whole[rows] - loader.mean, rtol=1e-5)


@pytest.mark.parametrize("options", [["--axes", "NCHW"], ["--axes", "HWCN"], ["--shape", "14x12x3"]], ids=" ".join)
def test_show_and_convert_take_the_same_options(tmp_path, images, options, capsys):
    path = write(tmp_path / "a.h5", images, "flat" if "--shape" in options else options[1])
    assert show.main([path, *options]) == 0
    assert "24 of 14x12x3, uint8" in capsys.readouterr().out
    assert show.main([path, "--mean", "--store", *options]) == 0
    with h5py.File(path) as file:
        np.testing.assert_allclose(file["images"].attrs["mean"], images.mean(axis=(0, 1, 2)))
    assert show.main([path, *options, "--crops", str(tmp_path / "crops.png"), "--sheet", str(tmp_path / "sheet.png")]) == 0
    assert convert.main([path, str(tmp_path / "b.h5"), *options]) == 0
    with h5py.File(tmp_path / "b.h5") as file:
        np.testing.assert_array_equal(file["images"], images)
        np.testing.assert_array_equal(file["labels"], LABELS)


def test_show_and_convert_take_images_of_a_group_in_any_order(tmp_path, images, capsys):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for k, image in enumerate(images):
            file[f"X/{k}"] = image.transpose(2, 0, 1)
    options = [str(tmp_path / "a.h5"), "--images", "X/", "--axes", "CHW"]
    assert show.main([*options, "--crops", str(tmp_path / "crops.png"), "--sheet", str(tmp_path / "sheet.png")]) == 0
    assert "24 of 14x12x3, uint8, in 24 datasets 'X/'" in capsys.readouterr().out
    assert show.main([*options, "--mean"]) == 0
    assert f"mean of 24 images: {images[..., 0].mean():.4f}, " in capsys.readouterr().out
    assert convert.main([options[0], str(tmp_path / "b.h5"), *options[1:]]) == 0
    with h5py.File(tmp_path / "b.h5") as file:
        np.testing.assert_array_equal(file["images"][()], images)


def test_options_of_another_form_are_named(tmp_path):
    assert (shape_of("28x28"), shape_of("28X27x3"), shape_of(None)) == ((28, 28), (28, 27, 3), None)
    assert (channels_of("0, 2"), channels_of("7"), channels_of("RGB"), channels_of("B2,B1"), channels_of(None)) == (
        [0, 2],
        [7],
        "RGB",
        ["B2", "B1"],
        None,
    )
    for text in ("28", "28x0", "28x-1", "axb", "1x2x3x4", ""):
        with pytest.raises(InputError, match=r"^--shape must be HEIGHTxWIDTHxCHANNELS"):
            shape_of(text)
    for text in ("", "1,,2", ","):
        with pytest.raises(InputError, match=r"^--channels must be numbers from 0"):
            channels_of(text)
