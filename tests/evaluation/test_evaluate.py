"""The evaluate command and what it computes, against numpy in its most obvious form."""

import base64
import csv
import io
import itertools
import json
import math
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

import fastprep
from fastprep import evaluate, train
from fastprep.cli.plots import draw_confusion, draw_curves
from fastprep.evaluation import metrics, report
from fastprep.evaluation.significance import interval
from fastprep.training import checkpoint
from fastprep.training.config import Config as Training
from fastprep.training.network import compile_model

keras = pytest.importorskip("keras")

N, CLASSES, SIDE = 23, 7, 10
KINDS = {"plain_crop": fastprep.CenterCrop(SIDE), "ten_crop": fastprep.TenCrop(SIDE)}


@pytest.fixture
def data(make_file):
    path, _, _ = make_file(n=N, name="test.h5")
    with h5py.File(path, "r+") as file:
        file["labels"][...] = np.arange(N) % CLASSES
    return path


def network(seed, ending):
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.Flatten(), keras.layers.Dense(CLASSES)]
    model = keras.Sequential([keras.Input((SIDE, SIDE, 3)), keras.layers.Rescaling(0.02), *layers])
    if ending == "softmax":
        model.add(keras.layers.Activation("softmax"))
    return model


@pytest.fixture
def make_run(tmp_path):
    """Return a function that makes a run folder like that of training."""

    def make(name, seed=1, ending="softmax", mean=(90.0, 100.0, 110.0), **about):
        model = network(seed, ending)
        compile_model(model, Training(), logits=ending != "softmax")
        known = {"model": "alexnet", "crop": SIDE, "classes": CLASSES, "class_names": [], "channel_order": None, "channels": 3}
        known |= {"logits": ending != "softmax", **about}
        (tmp_path / name).mkdir()
        arrays = {"mean": np.array(mean, "float32")}
        checkpoint.save(tmp_path / name / "best.keras", model, {"about": known}, arrays, metrics=False)
        return str(tmp_path / name)

    return make


def obvious(run, data, kind, average, mean=(90.0, 100.0, 110.0)):
    """Every crop predicted by itself; for "logits" the average of logarithms, with no thought for what they may be short of."""
    model = keras.models.load_model(f"{run}/best.keras", compile=False)
    rows = []
    with fastprep.Loader(data, 1, KINDS[kind], mean=mean) as loader:
        for step in range(N):
            x, _ = loader.batch(0, step)
            out = keras.ops.convert_to_numpy(model(x)).astype("float64")
            if not np.allclose(out.sum(axis=1), 1):  # logits
                out = np.exp(out) / np.exp(out).sum(axis=1)[:, None]
            rows.append(np.mean(out if average == "probs" else np.log(out), axis=0))
    return np.array(rows)


def final(rows, average):
    mean = np.mean(rows, axis=0)
    return mean if average == "probs" else np.exp(mean) / np.exp(mean).sum(axis=1)[:, None]


def test_a_run_on_standardised_images_is_tested_on_such_images(make_run, data, tmp_path):
    runs = [make_run("a", standardize=True), make_run("b")]
    for run in runs:
        assert evaluate.main([run, "--data", str(data), "--out", run + "/result", "--crops", "ten"]) == 0
        model = keras.saving.load_model(run + "/best.keras")
        options = {"mean": (90.0, 100.0, 110.0), "standardize": run == runs[0]}
        with fastprep.Loader(data, 4, fastprep.TenCrop(SIDE), **options) as loader:
            wanted = fastprep.predict(model, loader)
        np.testing.assert_allclose(np.load(run + "/result/probabilities.npz")["ten_crop"], wanted, atol=1e-6)


@pytest.mark.parametrize("average", ["probs", "logits"])
def test_one_run_and_an_ensemble(make_run, data, tmp_path, capsys, average):
    runs = [make_run("a"), make_run("b", seed=2, ending="logits", mean=(80.0, 80.0, 80.0))]
    means = [(90.0, 100.0, 110.0), (80.0, 80.0, 80.0)]
    assert evaluate.main([*runs, "--data", str(data), "--average", average, "--batch-size", "6"]) == 0
    printed = capsys.readouterr().out
    out = tmp_path / "a" / "evaluation-test-of-2"
    summary = json.loads((out / "summary.json").read_text())
    scores = {score["name"]: score for score in summary["scores"]}
    labels = np.arange(N) % CLASSES
    assert scores["always 0"]["top_1"] == pytest.approx((labels == 0).mean())
    with np.load(out / "probabilities.npz") as stored:
        np.testing.assert_array_equal(stored["labels"], labels)
        for kind, name in (("plain_crop", "plain crop"), ("ten_crop", "ten-crop")):
            each = [obvious(run, data, kind, average, mean) for run, mean in zip(runs, means, strict=True)]
            for rows, title in (
                (final(each, average), f"average of 2, {name}"),
                (final(each[:1], average), f"{runs[0]}, {name}"),
                (final(each[1:], average), f"{runs[1]}, {name}"),
            ):
                right = [labels[i] == np.argsort(-rows[i])[0] for i in range(N)]
                among = [labels[i] in np.argsort(-rows[i])[:5] for i in range(N)]
                loss = np.mean([-math.log(rows[i, labels[i]]) for i in range(N)])
                assert scores[title]["top_1"] == pytest.approx(np.mean(right))
                assert scores[title]["top_5"] == pytest.approx(np.mean(among))
                assert scores[title]["loss"] == pytest.approx(loss, rel=1e-4)  # batches of other sizes round otherwise
                assert scores[title]["n"] == N
                assert f"{scores[title]['top_1']:.2%}" in printed
            np.testing.assert_allclose(stored[kind], final(each, average), rtol=1e-4, atol=1e-6)
    of_kinds = [f"{what}-{kind}" for kind in ("plain-crop", "ten-crop") for what in ("classes", "confusion")]
    files = {f"{name}.csv" for name in of_kinds} | {"confusion-plain-crop.png", "confusion-ten-crop.png"}
    assert {p.name for p in out.iterdir()} == files | {"predictions.csv", "probabilities.npz", "report.html", "summary.json"}


def test_models_are_compared_on_the_same_images(make_run, data, capsys):
    runs = [make_run("a"), make_run("b", seed=2, ending="logits", mean=(80.0, 80.0, 80.0)), make_run("c", seed=3)]
    assert evaluate.main([*runs, "--data", str(data), "--compare"]) == 0
    printed = capsys.readouterr().out
    found = json.loads((Path(runs[0]) / "evaluation-test-of-3" / "summary.json").read_text())["comparisons"]
    pairs = [(c["crops"], c["first"], c["second"]) for c in found]
    assert pairs == [(kind, *pair) for kind in ("plain crop", "ten-crop") for pair in itertools.combinations(runs, 2)]
    labels, other = np.arange(N) % CLASSES, {runs[1]: (80.0, 80.0, 80.0)}
    for c in found:
        key = c["crops"].replace(" ", "_").replace("-", "_")
        mean = {run: other.get(run, (90.0, 100.0, 110.0)) for run in runs}
        rows = [obvious(run, data, key, "probs", mean[run]) for run in (c["first"], c["second"])]
        first, second = ([np.argmax(row) == label for row, label in zip(each, labels, strict=True)] for each in rows)
        assert c["only_first_right"] == sum(a and not b for a, b in zip(first, second, strict=True))
        assert c["only_second_right"] == sum(b and not a for a, b in zip(first, second, strict=True))
        images = "image" if c["only_first_right"] == 1 else "images"
        assert f"{c['only_first_right']} {images} only the first has right, {c['only_second_right']} only the second" in printed


def test_accuracies_have_their_intervals(make_run, data, capsys):
    run = make_run("a")
    assert evaluate.main([run, "--data", str(data)]) == 0
    printed = capsys.readouterr().out
    scores = json.loads((Path(run) / "evaluation-test" / "summary.json").read_text())["scores"]
    assert "95% interval" in printed
    for score in scores:
        low, high = score["top_1_interval"]
        assert (low, high) == pytest.approx(interval(round(score["top_1"] * N), N))
        assert f"{low:.2%}-{high:.2%}" in printed


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_tables_agree_with_the_predictions(make_run, data, tmp_path, capsys):
    names = [f"kind {k}" for k in range(CLASSES)]
    with h5py.File(data, "r+") as file:
        file["images"].attrs["class_names"] = names
        file["file_names"] = [f"images/{k}.png" for k in range(N)]
    run, out = make_run("a", class_names=names), tmp_path / "new" / "folder"
    assert evaluate.main([run, "--data", str(data), "--out", str(out)]) == 0
    capsys.readouterr()
    predictions = rows_of(out / "predictions.csv")
    assert [row["file"] for row in predictions] == [f"images/{k}.png" for k in range(N)]
    assert [int(row["label"]) for row in predictions] == [k % CLASSES for k in range(N)]
    scores = json.loads((out / "summary.json").read_text())["scores"]
    for key, kind, score in (("plain_crop", "plain-crop", scores[1]), ("ten_crop", "ten-crop", scores[2])):
        pairs = [(row["name"], row[f"{key}_name"]) for row in predictions]
        assert score["top_1"] == pytest.approx(np.mean([a == b for a, b in pairs]))
        for row in rows_of(out / f"confusion-{kind}.csv"):
            for name in names:
                assert int(row[name]) == pairs.count((row["label"], name))
        for row in rows_of(out / f"classes-{kind}.csv"):
            told, is_so = [b == row["name"] for _, b in pairs], [a == row["name"] for a, _ in pairs]
            both = np.sum(np.logical_and(told, is_so))
            assert int(row["images"]) == np.sum(is_so)
            assert float(row["recall"]) == pytest.approx(both / max(1, np.sum(is_so)))
            assert float(row["precision"]) == pytest.approx(both / max(1, np.sum(told)))
            assert float(row["f1"]) == pytest.approx(2 * both / max(1, np.sum(told) + np.sum(is_so)))
        assert (out / f"confusion-{kind}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_report_shows_the_images_that_were_mistaken(make_run, data, tmp_path, capsys):
    with h5py.File(data, "r+") as file:
        images = file["images"][:]
        file["images"].attrs["channel_order"] = "BGR"
    assert evaluate.main([make_run("a", channel_order="BGR"), "--data", str(data), "--crops", "plain"]) == 0
    out = tmp_path / "a" / "evaluation-test"
    page = (out / "report.html").read_text()
    wrong = [int(row["sample"]) for row in rows_of(out / "predictions.csv") if row["label"] != row["plain_crop_label"]]
    found = re.findall(r'src="data:image/png;base64,([^"]*)".*?<div>sample (\d+)</div>', page)
    assert len(wrong) > 5
    assert sorted(int(sample) for _, sample in found) == wrong
    for png, sample in found:
        with Image.open(io.BytesIO(base64.b64decode(png))) as image:
            np.testing.assert_array_equal(np.asarray(image), images[int(sample), 1:11, 2:12, ::-1])
    error = json.loads((out / "summary.json").read_text())["calibration_error"]["plain crop"]
    assert f"Expected calibration error {error:.4f}" in page
    assert "Training of" not in page  # this folder has no last.keras


def test_a_report_says_which_images_can_not_be_read_any_more(make_run, data, tmp_path, monkeypatch, capsys):
    def fail(*_, **__):
        raise OSError("gone")

    monkeypatch.setattr("fastprep.evaluation.findings.Preview", fail)
    assert evaluate.main([make_run("a"), "--data", str(data), "--crops", "plain"]) == 0
    assert "Their images can&#x27;t be read: gone" in (tmp_path / "a" / "evaluation-test" / "report.html").read_text()


def test_images_without_labels(make_run, data, tmp_path, capsys):
    with h5py.File(data, "r+") as file:
        del file["labels"]
    run = make_run("a")
    assert evaluate.main([run, "--data", str(data), "--labels", "none", "--crops", "ten"]) == 0
    assert f"{N} images without labels: predictions only" in capsys.readouterr().out
    out = tmp_path / "a" / "evaluation-test"
    assert sorted(p.name for p in out.iterdir()) == ["predictions.csv", "probabilities.npz", "report.html", "summary.json"]
    rows = rows_of(out / "predictions.csv")
    assert [int(row["sample"]) for row in rows] == list(range(N))
    assert set(rows[0]) == {"sample", "ten_crop_label", "ten_crop_name", "ten_crop_probability"}
    wanted = obvious_without_labels(run, data)
    assert [int(row["ten_crop_label"]) for row in rows] == wanted.argmax(axis=1).tolist()


def obvious_without_labels(run, data):
    model = keras.models.load_model(f"{run}/best.keras", compile=False)
    with fastprep.Loader(data, 1, KINDS["ten_crop"], labels=None, mean=(90.0, 100.0, 110.0)) as loader:
        return np.array([keras.ops.convert_to_numpy(model(loader.batch(0, step))).mean(axis=0) for step in range(N)])


def test_nothing_is_overwritten_unless_told(make_run, data, tmp_path, capsys):
    run, out = make_run("a"), tmp_path / "a" / "evaluation-test"
    command = [run, "--data", str(data), "--crops", "plain"]
    assert evaluate.main(command) == 0
    (out / "notes.txt").write_text("mine")
    capsys.readouterr()
    assert evaluate.main(command) == 2
    assert "exists already; it is only replaced with --overwrite" in capsys.readouterr().err
    assert (out / "notes.txt").read_text() == "mine"
    assert evaluate.main([*command, "--overwrite"]) == 2
    assert "holds more than an evaluation: 'notes.txt'" in capsys.readouterr().err
    assert (out / "notes.txt").read_text() == "mine"
    (out / "notes.txt").unlink()
    (out / "predictions.csv").write_text("old")
    assert evaluate.main([*command, "--overwrite"]) == 0
    assert (out / "predictions.csv").read_text().startswith("sample,")
    assert [p.name for p in (tmp_path / "a").iterdir() if p.name.startswith(".")] == []


def test_only_an_evaluation_is_replaced(make_run, data, tmp_path, capsys, monkeypatch):
    """No run, folder of something else, working folder or link; and it is said before TensorFlow starts."""
    run = make_run("a")
    monkeypatch.setattr("fastprep.evaluation.run.start_keras", None)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "summary.json").write_text('{"scores": []}')
    (tmp_path / "work").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to("work")
    (tmp_path / "file").write_text("mine")
    monkeypatch.chdir(tmp_path / "work")
    before = sorted(path for path in tmp_path.rglob("*"))
    for out, message in (
        (run, "best.keras', which this command reads"),
        (f"{run}/.", "best.keras', which this command reads"),
        (tmp_path, "is the working folder, or holds it"),
        (".", "is the working folder"),
        ("../link", "is a link to 'work'"),
        ("../file", "is not a folder"),
        ("../mine", "has no mark of fastprep"),
        ("/proc", "has no mark of fastprep"),
        ("/proc/x", "--out: '/proc/x' can't be made in '/proc': No such file or directory"),
    ):
        assert evaluate.main([run, "--data", str(data), "--out", str(out), "--overwrite"]) == 2
        printed, errors = capsys.readouterr()
        assert (printed, errors.count("\n")) == ("", 1)
        assert message in errors
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_an_evaluation_that_holds_what_another_reads_is_not_replaced(make_run, data, tmp_path, capsys):
    run, out = make_run("a"), tmp_path / "a" / "evaluation-test"
    assert evaluate.main([run, "--data", str(data), "--crops", "plain"]) == 0
    data.rename(out / "test.h5")
    assert evaluate.main([run, "--data", str(out / "test.h5"), "--out", str(out), "--overwrite"]) == 2
    assert "test.h5', which this command reads" in capsys.readouterr().err
    assert (out / "test.h5").exists()


def test_a_folder_is_whole_or_not_there(make_run, data, tmp_path, monkeypatch):
    run = make_run("a")

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "draw_confusion", fail)
    assert evaluate.main([run, "--data", str(data)]) == 130
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["best.keras"]


def test_a_model_from_elsewhere(data, tmp_path, capsys):
    network(1, "logits").save(tmp_path / "plain.keras")
    command = [str(tmp_path / "plain.keras"), "--data", str(data), "--crops", "plain"]
    assert evaluate.main(command) == 2
    assert "does not say what training subtracted: say --mean" in capsys.readouterr().err
    assert evaluate.main([*command, "--mean", "none"]) == 0
    rows = rows_of(tmp_path / "evaluation-test" / "predictions.csv")
    with fastprep.Loader(data, N, fastprep.CenterCrop(SIDE), mean=None) as loader:
        out = np.asarray(network(1, "logits")(loader.batch(0, 0)[0]), "float64")
    powers = np.exp(out - out.max(axis=1, keepdims=True))
    np.testing.assert_allclose(
        [float(row["plain_crop_probability"]) for row in rows], (powers / powers.sum(axis=1)[:, None]).max(axis=1), rtol=1e-4
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"runs": ["nowhere"]}, "there is no run, and no .keras file, 'nowhere'"),
        ({"runs": ["."]}, "'.' has no best.keras"),
        ({"runs": []}, "name a run"),
        ({"--data": "nowhere.h5"}, "No such file or directory: 'nowhere.h5'"),
        ({"--labels": "nothing"}, "there is no dataset 'nothing'"),
        ({"--crop": "13"}, "crop is larger than the image: 13x13 from 12x14 pixels"),
        ({"--which": "last"}, "has no last.keras"),
    ],
)
def test_bad_arguments_are_one_clear_line(make_run, data, tmp_path, capsys, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    runs = change.pop("runs", None)
    runs = [make_run("a")] if runs is None else runs
    options = {"--data": str(data), **change}
    refused([*runs, *(word for pair in options.items() for word in pair)], message, capsys)


def refused(arguments, message, capsys):
    assert evaluate.main(arguments) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.startswith("fastprep.evaluate: ")
    assert errors.count("\n") == 1


def test_files_and_models_that_do_not_fit_are_one_clear_line(make_run, data, tmp_path, capsys):
    a = make_run("a", channel_order="RGB")
    refused([a, make_run("b", channel_order="BGR"), "--data", str(data)], "the models have different channel_order", capsys)
    with h5py.File(data, "r+") as file:
        file["images"].attrs["channel_order"] = "BGR"
    refused([a, "--data", str(data)], "channel_order is 'BGR'; training had 'RGB'", capsys)
    with h5py.File(data, "r+") as file:
        file["images"].attrs["class_names"] = ["dog", "cat"]
    run = make_run("c", class_names=["cat", "dog"])
    refused([run, "--data", str(data)], "class_names are dog, cat; training had cat, dog", capsys)
    with h5py.File(data, "r+") as file:
        del file["images"].attrs["class_names"]
        file["labels"][3] = CLASSES
    refused([make_run("d"), "--data", str(data)], f"label {CLASSES} is not among the {CLASSES} classes of training", capsys)
    refused([make_run("e", channels=1), "--data", str(data)], "images have 3 channels; training had 1", capsys)
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "best.keras").write_bytes(b"no model")
    refused([str(tmp_path / "f"), "--data", str(data), "--mean", "none", "--labels", "none"], "can't be loaded", capsys)


def test_classes_without_names_have_their_numbers(make_run, data, capsys, tmp_path):
    for names in (["cat", "dog"], [f"class {k}" for k in range(CLASSES + 1)]):
        with h5py.File(data, "r+") as file:
            file["images"].attrs["class_names"] = names
        assert evaluate.main([make_run(f"of {len(names)}"), "--data", str(data), "--crops", "plain"]) == 0
        note = f"note: there are names of {CLASSES + 1} classes, and the model has {CLASSES}; the first names are used"
        assert (note in capsys.readouterr().out) == (len(names) > CLASSES)
        rows = rows_of(tmp_path / f"of {len(names)}" / "evaluation-test" / "predictions.csv")
        assert [row["name"] for row in rows[:3]] == [*names[:2], "2" if len(names) == 2 else names[2]]


def test_a_folder_that_can_not_be_made_is_told_before_anything_is_predicted(make_run, data, monkeypatch, capsys):
    monkeypatch.setattr("fastprep.evaluation.run.start_keras", lambda: pytest.fail("too late"))
    refused([make_run("a"), "--data", str(data), "--out", "/proc/x"], "--out: '/proc/x' can't be made in '/proc'", capsys)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("crop", "10"), ("class_names", [1, 2]), ("model", None), ("classes", [7]), ("logits", 2.0), ("channel_order", 3),
        ("standardize", 1), ("several_labels", "no"),
    ],
)  # fmt: skip
def test_facts_of_another_type_are_one_clear_line(make_run, data, capsys, name, value):
    refused([make_run("a", **{name: value}), "--data", str(data)], f"what it says about training has a wrong {name!r}", capsys)


def test_a_model_that_gives_nan_is_an_error_and_not_always_right(make_run, data, capsys):
    run = make_run("a", mean=(np.nan, 0.0, 0.0))
    assert evaluate.main([run, "--data", str(data)]) == 2
    capsys.readouterr()
    model = keras.Sequential([keras.Input((SIDE, SIDE, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(CLASSES)])
    model.layers[-1].set_weights([np.full((3, CLASSES), np.nan), np.zeros(CLASSES)])
    with (
        fastprep.Loader(data, 4, fastprep.CenterCrop(SIDE)) as loader,
        pytest.raises(ValueError, match="output for images 0 and on is not finite"),
    ):
        metrics.predict_crops(model, loader, logits=True, average="probs")


@pytest.mark.parametrize("k", [1, 2, 5])
def test_hits_against_sorting_one_by_one(rng, k):
    rows = rng.integers(0, 4, (300, 8)).astype(float)  # with many ties
    labels = rng.integers(0, 8, 300)
    wanted = [label in sorted(range(8), key=lambda c, row=row: (-row[c], c))[:k] for row, label in zip(rows, labels, strict=True)]
    np.testing.assert_array_equal(metrics.hits(rows, labels, k), wanted)
    if k == 1:
        np.testing.assert_array_equal(wanted, rows.argmax(axis=1) == labels)


def test_confusion_and_classes_against_loops(rng):
    labels, predicted = rng.integers(0, 5, 200), rng.integers(0, 4, 200)
    confusion = metrics.confusion_matrix(labels, predicted, 6)
    for row, column in np.ndindex(6, 6):
        assert confusion[row, column] == sum(a == row and b == column for a, b in zip(labels, predicted, strict=True))
    table = metrics.by_class(confusion)
    assert table[5] == {"images": 0, "predicted": 0, "recall": 0.0, "precision": 0.0, "f1": 0.0}
    assert table[4]["precision"] == 0.0


def test_a_sure_zero_does_not_veto_the_others():
    parts = [metrics.log(np.array([[0.0, 1.0]])), metrics.log(np.array([[0.9, 0.1]]))]
    averaged = metrics.probabilities(parts, "logits")
    assert np.isfinite(averaged).all()
    assert averaged.sum() == pytest.approx(1)


@pytest.mark.parametrize("classes", [2, 20, 61])
def test_charts_of_any_size(tmp_path, rng, classes):
    draw_confusion(rng.integers(0, 9, (classes, classes)), [f"class {k}" for k in range(classes)], "title", tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 10_000
    draw_curves({name: [1.0] for name in ("loss", "accuracy", "val_loss", "val_accuracy")}, tmp_path / "y.png")


def test_a_dollar_in_a_name_is_drawn_and_begins_no_formula(tmp_path, rng):
    formula = r"cost $\5$"  # matplotlib can't parse it
    draw_confusion(rng.integers(0, 9, (2, 2)), [formula, "dog"], formula, tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 10_000


SUBCLASSED = """
import keras

class Own(keras.Model):
    def __init__(self, classes):
        super().__init__()
        self.flatten, self.dense = keras.layers.Flatten(), keras.layers.Dense(classes)

    def call(self, x):
        return self.dense(self.flatten(x))

def network(shape, classes):
    return Own(classes)
"""


@pytest.mark.parametrize("options", [[], ["--standardize", "--mean", "none"]])
def test_a_run_of_a_network_that_keras_does_not_know(data, tmp_path, monkeypatch, capsys, options):
    (tmp_path / "my_own_network.py").write_text(SUBCLASSED)
    monkeypatch.syspath_prepend(tmp_path)
    command = ["--train", str(data), "--val", str(data), "--crop", str(SIDE), "--batch-size", "8", "--epochs", "1", *options]
    assert train.main([*command, "--model", "my_own_network:network", "--out", str(tmp_path / "run")]) == 0
    trained = capsys.readouterr().out
    state, _ = checkpoint.read(tmp_path / "run" / "best.keras")
    assert state["about"].get("standardize", False) == ("--standardize" in options)
    command = [str(tmp_path / "run"), "--data", str(data)]
    refused(command, "names the network my_own_network:network, whose code would run: name it with --model", capsys)
    refused([*command, "--model", "json:loads"], "names the network my_own_network:network, whose code would run", capsys)
    assert evaluate.main([*command, "--trust"]) == 0
    assert evaluate.main([*command, "--model", "my_own_network:network", "--overwrite"]) == 0
    printed = capsys.readouterr().out
    page = (tmp_path / "run" / "evaluation-test" / "report.html").read_text()
    assert f"Training of {tmp_path / 'run'}</h2>" in page
    for title in ("Loss", "Accuracy", "Images a second"):
        assert f'aria-label="{title}"' in page
    accuracy = json.loads((tmp_path / "run" / "evaluation-test" / "summary.json").read_text())["scores"][1]["top_1"]
    assert f"best epoch 1: {accuracy:.2%}" in trained
    assert f"{accuracy:.2%}" in printed
