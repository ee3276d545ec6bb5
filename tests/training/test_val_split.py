"""Validation by a part of the training file: what the run trains and validates with, and what an evaluation finds again."""

import csv
import dataclasses
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from optional_libraries import needs

import fastprep
from fastprep import evaluate, train
from fastprep.errors import InputError
from fastprep.evaluation.candidates import Candidate
from fastprep.evaluation.part import mean_of_training, part_of_training
from fastprep.training import checkpoint, data
from fastprep.training import config as configuration
from fastprep.training.config import Config

NETWORK = """
import keras

def network(shape, classes):
    return keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(classes)])
"""
N = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A file of three classes, whose images show their class, with names of files, and a module with a network."""
    folder, rng = tmp_path_factory.mktemp("divided"), np.random.default_rng(5)
    (folder / "network_of_parts.py").write_text(NETWORK)
    labels = rng.permutation(np.repeat([0, 1, 2], [30, 20, 10]))
    with h5py.File(folder / "all.h5", "w") as file:
        images = rng.integers(0, 256, (N, 12, 12, 3)) // 2 + labels[:, None, None, None] * 50
        file.create_dataset("pictures", data=images.astype(np.uint8), chunks=(4, 12, 12, 3), compression="gzip")
        file["kinds"], file["chances"] = labels, np.where(labels == 2, 3.0, 1.0)
        file["texts"] = np.array(["ant", "bee", "cat"])[labels].astype("S")
        file["file_names"] = [f"{k}.png" for k in range(N)]
        patients = rng.permutation(np.arange(N) % 12)
        file["patients"], file["ages"] = np.array([f"patient {k:02}" for k in patients], "S"), rng.random(N)
        file["table"] = np.array(list(zip(patients, labels, strict=True)), [("patient", "u2"), ("kind", "u1")])
        file["scans"] = patients[:, None] // 2 * 2.0
    return folder


def options(folder, *more):
    names = ["--train", str(folder / "all.h5"), "--images", "pictures", "--labels", "kinds", "--mean", "compute", "--crop", "10"]
    return [*names, "--model", "network_of_parts:network", "--batch-size", "8", "--epochs", "2", "--workers", "1", *more]


def configured(folder, *more):
    config = train.parse(options(folder, *more))
    configuration.check(config)
    return config


def test_a_share_of_each_class_is_for_validation_and_the_rest_for_training(folder):
    with h5py.File(folder / "all.h5") as file:
        labels, images = file["kinds"][()], file["pictures"][()]
    for labels_name in ("kinds", "texts"):
        config = configured(folder, "--val-split", "0.2", "--seed", "3", "--labels", labels_name)
        inputs = data.inspect_files(config)
        wanted = fastprep.split(labels, (0.8, 0.2), seed=3)
        for part, right in zip(inputs.parts, wanted, strict=True):
            np.testing.assert_array_equal(part, right)
        np.testing.assert_array_equal(inputs.val_counts, [6, 4, 2])
        # the mean of training, without the images for validation
        np.testing.assert_allclose(inputs.mean, images[wanted[0]].mean(axis=(0, 1, 2)), rtol=1e-6)
        for loader, part in zip(data.open_loaders(config, inputs), wanted, strict=True):
            with loader:
                np.testing.assert_array_equal(loader.indices, part)
                seen = np.concatenate([y for _, y in loader])
                assert sorted(seen.tolist()) == sorted(labels[part].tolist())
        assert inputs.notes == []


def test_folds_validate_each_image_once(folder):
    parts = [data.inspect_files(configured(folder, "--fold", f"{k}/3")).parts for k in (1, 2, 3)]
    assert sorted(np.concatenate([part.val for part in parts]).tolist()) == list(range(N))
    for part in parts:
        assert sorted([*part.train, *part.val]) == list(range(N))


@pytest.mark.parametrize("name", ["patients", "table:patient", "scans"])
@pytest.mark.parametrize("asked", [["--val-split", "0.25"], ["--fold", "2/4"]])
def test_groups_are_never_divided(folder, name, asked):
    with h5py.File(folder / "all.h5") as file:
        labels, groups = file["kinds"][()], file["scans"][:, 0] if name == "scans" else file["table"]["patient"]
    parts = data.inspect_files(configured(folder, *asked, "--val-groups", name)).parts
    assert not {*groups[parts.train].tolist()} & {*groups[parts.val].tolist()}
    assert sorted([*parts.train, *parts.val]) == list(range(N))
    wanted = fastprep.split(labels, (0.75, 0.25), seed=42, groups=groups)
    if "--fold" in asked:
        wanted = fastprep.folds(labels, 4, seed=42, groups=groups)[1]
    for part, right in zip(parts, wanted, strict=True):
        np.testing.assert_array_equal(part, right)
    without = data.inspect_files(configured(folder, *asked)).parts
    assert {*groups[without.train].tolist()} & {*groups[without.val].tolist()}


def test_groups_may_be_in_another_file(folder, tmp_path):
    with h5py.File(tmp_path / "groups.h5", "w") as file, h5py.File(folder / "all.h5") as all_of_it:
        file["g"] = all_of_it["table"]["patient"]
    parts = [
        data.inspect_files(configured(folder, "--val-split", "0.25", "--val-groups", name)).parts
        for name in (f"{tmp_path / 'groups.h5'}:g", "table:patient")
    ]
    np.testing.assert_array_equal(parts[0].val, parts[1].val)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ("nobody", "--val-groups nobody: "),
        ("ages", "--val-groups ages: groups must be"),
        ("pictures", "--val-groups pictures: groups must be one for each of the 60 samples"),
    ],
)
def test_groups_that_are_none_are_errors_in_one_line(folder, groups, message):
    with pytest.raises(InputError) as caught:
        data.inspect_files(configured(folder, "--val-split", "0.2", "--val-groups", groups))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_training_images_are_drawn_by_class_or_by_weights(folder):
    with h5py.File(folder / "all.h5") as file:
        labels = file["kinds"][()]
    for sampling, share in (("balanced", 1 / 3), ("chances", 1 / 2.67)):
        config = configured(folder, "--val-split", "0.2", "--sampling", sampling)
        for loader, is_train in zip(data.open_loaders(config, data.inspect_files(config)), (True, False), strict=True):
            with loader:
                assert (loader.sampling is not None) == is_train
                if is_train:
                    epochs = range(20)
                    drawn = [loader.indices[loader.samples(e, s)] for e in epochs for s in range(len(loader))]
                    assert (labels[np.concatenate(drawn)] == 2).mean() == pytest.approx(share, abs=0.06)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--val-split", "1"], "--val-split must be above 0 and below 1, got 1.0"),
        (["--fold", "3"], "--fold must be K/N, such as 2/5 for the second of five folds, got 3"),
        (["--fold", "0/3"], "--fold must be K/N"),
        (["--fold", "4/3"], "--fold must be K/N"),
        (["--fold", "1/3", "--val-split", "0.2"], "say one of them, and leave --val"),
        (["--val-split", "0.2", "--val", "other.h5"], "say one of them, and leave --val"),
        (["--val-split", "0.2", "--val-images", "other"], "say one of them, and leave --val"),
        (["--val", "other.h5", "--val-groups", "patients"], "--val-groups goes with --val-split or --fold"),
        ([], "--train FILE and --val FILE are needed (or --val-split SHARE, or --fold K/N)"),
    ],
)
def test_rules(folder, more, message):
    with pytest.raises(InputError) as caught:
        configuration.check(train.parse(options(folder, *more)))
    assert message in str(caught.value)


def test_a_share_that_leaves_no_image_is_an_error_in_one_line(folder):
    with pytest.raises(InputError, match=r"^--val-split 0.001: .* but 0.001 of 60 samples is none"):
        data.inspect_files(configured(folder, "--val-split", "0.001"))


def test_a_configuration_of_before_there_were_parts_goes_on_loading(tmp_path):
    newer = ("val_split", "fold", "sampling", "trust", "profile")  # or never saved
    values = {name: value for name, value in vars(Config()).items() if name not in newer}
    (tmp_path / "config.json").write_text(json.dumps({**values, "train": "a.h5", "val": "b.h5"}))
    config = train.parse(["--config", str(tmp_path / "config.json")])
    assert (config.val_split, config.fold, config.sampling, config.divides) == (None, None, "none", False)


@needs("keras")
def test_an_evaluation_finds_the_images_that_the_run_was_not_trained_on(folder, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.chdir(folder)
    assert train.main(options(folder, "--val-split", "0.2", "--val-groups", "patients", "--out", "run")) == 0
    state, arrays = checkpoint.read(folder / "run" / "best.keras")
    with h5py.File(folder / "all.h5") as file:
        labels, images = file["kinds"][()], file["pictures"][()]
        rest, val = fastprep.split(labels, (0.8, 0.2), seed=42, groups=file["table"]["patient"])
    np.testing.assert_array_equal(arrays["val_indices"], val)
    assert state["about"]["n_samples"] == N
    rows = {}
    for part, indices in (("val", val), ("train", rest)):
        command = ["run", "--split", part, "--crops", "plain", "--model", "network_of_parts:network"]
        assert evaluate.main(command) == 0
        with open(folder / "run" / f"evaluation-all-{part}" / "predictions.csv", newline="") as file:
            rows[part] = list(csv.DictReader(file))
        assert [int(row["sample"]) for row in rows[part]] == indices.tolist()
        assert [row["file"] for row in rows[part]] == [f"{k}.png" for k in indices]
        assert [int(row["label"]) for row in rows[part]] == labels[indices].tolist()
        summary = json.loads((folder / "run" / f"evaluation-all-{part}" / "summary.json").read_text())
        assert summary["split"] == part
    # the validation of training and the test see the same images in the same way
    right = np.mean([row["plain_crop_label"] == row["label"] for row in rows["val"]])
    assert right == pytest.approx(state["course"]["best_accuracy"])
    capsys.readouterr()
    for command, text in (
        (["run"], "--data FILE is needed, or --split val"),
        (["run/best.keras", "--split", "val"], "does not say which file it was trained on; say --data FILE"),
    ):
        assert evaluate.main(command) != 0
        assert text in capsys.readouterr().err
    with h5py.File(folder / "less.h5", "w") as file:
        file["pictures"], file["kinds"] = np.zeros((59, 12, 12, 3), np.uint8), np.zeros(59, int)
    assert evaluate.main(["run", "--split", "val", "--data", "less.h5", "--images", "pictures", "--labels", "kinds"]) != 0
    assert "there are 59 images, and 60 when the run divided them" in capsys.readouterr().err
    named = ["--images", "pictures", "--labels", "kinds", "--crops", "plain", "--model", "network_of_parts:network"]
    assert evaluate.main(["run", "--data", "all.h5", *named]) == 0
    assert "'run' was trained on most of these images; --split val tests with the others" in capsys.readouterr().out
    # and the computed mean is that of the images of training, whichever part is tested
    evaluated = evaluate.parse(["run", "--split", "val", "--data", "all.h5", "--images", "pictures", "--mean", "compute"])
    whole = dataclasses.replace(evaluated, split="all")
    run = Candidate("run", folder / "run" / "best.keras", state["about"], None, arrays["val_indices"])
    elsewhere = dataclasses.replace(run, name="elsewhere", facts=None, val_indices=None)
    for config, candidate, samples in ((evaluated, run, rest), (whole, run, rest), (whole, elsewhere, slice(None))):
        wanted = images[samples].mean(axis=(0, 1, 2))
        np.testing.assert_allclose(mean_of_training(config, candidate), wanted, rtol=1e-12)
    assert evaluate.main(["run", "--split", "val", "--mean", "compute", *named, "--out", "computed"]) == 0
    of_run, computed = (np.load(Path(path) / "probabilities.npz") for path in ("run/evaluation-all-val", "computed"))
    np.testing.assert_allclose(computed["plain_crop"], of_run["plain_crop"], rtol=1e-4)
    for facts, val_indices, text in (
        ({"n_samples": 2**50}, run.val_indices, rf"there are 60 images, and {2**50} when the run divided them"),
        ({"n_samples": True}, np.zeros(1, int), "is damaged: its part for validation can't be one of True images"),
    ):
        damaged = dataclasses.replace(run, facts={**run.facts, **facts}, val_indices=val_indices)
        for look in (lambda one: part_of_training(evaluated, [one]), lambda one: mean_of_training(whole, one)):
            with pytest.raises(InputError, match=text):
                look(damaged)
    nowhere = dataclasses.replace(run, name="run/best.keras")
    with pytest.raises(InputError, match=r"^--mean compute: .* does not say which file it was trained on; leave --mean out"):
        mean_of_training(whole, nowhere)
    # and the run goes on with the same parts
    assert train.main(["--resume", "run", "--epochs", "3", "--model", "network_of_parts:network"]) == 0
    np.testing.assert_array_equal(checkpoint.read(folder / "run" / "last.keras")[1]["val_indices"], val)
    assert train.main(["--resume", "run", "--epochs", "3", "--val-split", "0.3"]) != 0
    assert "--val-split was 0.2 and can't become 0.3" in capsys.readouterr().err
