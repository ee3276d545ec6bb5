"""Several labels an image in the commands: when labels are such, what is trained, and what an evaluation says of it."""

import csv
import dataclasses
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

import fastprep
from fastprep import evaluate, train
from fastprep.errors import InputError
from fastprep.training import checkpoint, data, network
from fastprep.training import config as configuration
from fastprep.training.config import Config
from fastprep.training.schedule import merit
from fastprep.training.several_labels import label_sets
from fastprep.training.state import RunState
from fastprep.training.throughput import Meter

keras = pytest.importorskip("keras")

N, N_VAL, CLASSES, SIDE = 48, 20, 3, 10
NAMES = ["round", "red", "ripe"]
NETWORK = """
import keras
from keras import layers

def logits(shape, classes):
    return keras.Sequential([keras.Input(shape), layers.Rescaling(0.02), layers.Flatten(), layers.Dense(classes)])

def applications(input_shape, classes, classifier_activation="softmax"):
    first = keras.Input(input_shape)
    return keras.Model(first, layers.Dense(classes, activation=classifier_activation)(layers.GlobalAveragePooling2D()(first)))

def softmax(shape, classes):
    return applications(shape, classes)

def wrapped(shape, classes, ending="sigmoid"):
    first = keras.Input(shape)
    return keras.Model(first, keras.Sequential([logits(shape, classes), layers.Activation(ending)])(first))

def of_zeros(shape, classes):
    return keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(classes, kernel_initializer="zeros")])

class Own(layers.Layer):
    def __init__(self, function):
        super().__init__()
        self.function = function
    def call(self, x):
        return self.function(x)

def by_a_layer_of_ones_own(shape, classes, function=keras.ops.sigmoid):
    return keras.Sequential([logits(shape, classes), Own(function)])

def softmax_by_a_layer_of_ones_own(shape, classes):
    return by_a_layer_of_ones_own(shape, classes, keras.ops.softmax)

def logits_by_a_layer_of_ones_own(shape, classes):
    return by_a_layer_of_ones_own(shape, classes, lambda x: x)
"""


def draw_rows(n, seed):
    """Rows with none, one and several labels; the first has two, the second none."""
    rows = (np.random.default_rng(seed).random((n, CLASSES)) < [0.5, 0.4, 0.2]).astype(np.uint8)
    rows[:2] = [[1, 1, 0], [0, 0, 0]]
    return rows


def write(path, rows, class_names=NAMES):
    """Write images in which the lines of each label are bright."""
    rng, values = np.random.default_rng(7), np.asarray(rows)
    with h5py.File(path, "w") as file:
        images = rng.integers(0, 60, (len(values), 12, 12, 3))
        if values.size == len(values) * CLASSES:
            images += 150 * np.repeat(values.reshape(-1, CLASSES) != 0, 4, axis=1)[:, :, None, None]
        file["images"], file["labels"] = images.astype(np.uint8), values
        file["images"].attrs.update(mean=[60.0, 60.0, 60.0], class_names=class_names)
        if class_names is None or class_names == []:
            del file["images"].attrs["class_names"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "network_of_several.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write("train.h5", draw_rows(N, 1))
    write("val.h5", draw_rows(N_VAL, 2))
    return tmp_path


def configured(**options):
    config = Config(**{"train": "train.h5", "val": "val.h5", "crop": SIDE, "batch_size": 8, **options})
    configuration.check(config)
    return config


def rewrite(path, rows, class_names=()):
    write(path, rows, list(class_names))
    return configured()


# --- which labels are several


@pytest.mark.parametrize(
    "form",
    [lambda rows: rows, lambda rows: rows.astype(bool), lambda rows: rows.astype("f8"), lambda rows: rows[:, None, None]],
    ids=["integers", "bools", "floats", "further axes"],
)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_rows_of_every_form_are_trained_on_as_rows_of_0_and_1(folder, form, smoothing):
    rows, val_rows = draw_rows(N, 1), draw_rows(N_VAL, 2)
    write("train.h5", form(rows))
    write("val.h5", form(val_rows))
    config = configured(label_smoothing=smoothing)
    found = data.inspect_files(config)
    assert (found.several, found.classes, found.class_names, found.n_images) == (True, 3, tuple(NAMES), (N, N_VAL))
    assert found.counts.tolist() == rows.sum(axis=0).tolist()
    assert found.val_counts.tolist() == val_rows.sum(axis=0).tolist()
    for loader, wanted in zip(data.open_loaders(config, found), (rows, val_rows), strict=True):
        with loader:
            assert loader.labels.dtype == np.float32
            np.testing.assert_array_equal(loader.labels, wanted)
            np.testing.assert_array_equal(loader.batch(0, 1)[1], wanted[loader.samples(0, 1)])


def test_rows_that_all_have_one_label_are_one_class_an_image(folder):
    one_hot = np.eye(CLASSES, dtype=int)
    config = rewrite("train.h5", one_hot[np.arange(N) % 3], NAMES)
    write("val.h5", one_hot[np.arange(N_VAL) % 3])
    found = data.inspect_files(config)
    assert (found.several, found.counts.tolist()) == (False, [16, 16, 16])
    # unless one says that they may have several
    found = data.inspect_files(configured(labels_per_image="several"))
    assert (found.several, found.counts.tolist()) == (True, [16, 16, 16])
    # and then rows of validation may have several, too
    write("val.h5", draw_rows(N_VAL, 2))
    with pytest.raises(InputError, match=r"val\.h5': labels must be one integer.*; .* --labels-per-image several takes both"):
        data.inspect_files(config)
    assert data.inspect_files(configured(labels_per_image="several")).several


def test_rows_without_a_label_beside_one_hot_rows_are_for_the_user_to_settle(folder):
    rows = np.eye(CLASSES, dtype=int)[np.arange(N) % 3]
    rows[[5, 9]] = 0
    config = rewrite("train.h5", rows, NAMES)
    with pytest.raises(InputError, match="no image has several, and 2 have none, the first of them sample 5: mend one-hot rows"):
        data.inspect_files(config)
    assert data.inspect_files(configured(labels_per_image="several")).several
    with pytest.raises(
        InputError, match=r"labels must be one integer for each image, found .* rows with several labels, or none"
    ):
        data.inspect_files(configured(labels_per_image="one"))


def test_the_file_of_training_says_what_labels_of_validation_are(folder):
    write("val.h5", np.eye(CLASSES, dtype=int)[np.arange(N_VAL) % 3])
    config = configured()
    found = data.inspect_files(config)
    assert found.several
    with data.open_loaders(config, found)[1] as loader:
        assert loader.labels.shape == (N_VAL, CLASSES)


def test_all_of_a_file_says_what_the_labels_of_its_parts_are(folder):
    rows = np.eye(CLASSES, dtype=np.uint8)[np.arange(N) % 3]
    for fold in (1, 2):
        found = data.inspect_files(configured(val=None, fold=f"{fold}/2"))
        assert found.several
    # one image with two labels is in one of two folds, and both are of several labels
    rows[7] = [1, 1, 0]
    config = rewrite("train.h5", rows, NAMES)
    for fold in (1, 2):
        assert data.inspect_files(dataclasses.replace(config, val=None, fold=f"{fold}/2")).several


def test_sets_of_labels_are_shared_out_alike(folder):
    rows = np.repeat([[1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 1, 1]], [20, 10, 5, 1], axis=0)
    assert np.bincount(label_sets(rows, 5)).tolist() == [5, 10, 20, 0, 1]
    assert np.bincount(label_sets(rows, 5.5)).tolist()[-1] == 6
    write("train.h5", rows)
    config = configured(val=None, val_split=0.2)
    found = data.inspect_files(config)
    assert found.val_counts.tolist()[:2] in ([4, 6], [5, 7])
    assert len(found.parts.val) == 7
    kept = {tuple(row): 0 for row in rows}
    for row in rows[found.parts.val]:
        kept[tuple(row)] += 1
    assert (kept[(1, 1, 0)], kept[(0, 1, 0)], kept[(0, 0, 0)]) == (4, 2, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_weight": "balanced"}, "--class-weight is for one class an image; .* say --sample-weight NAME"),
        ({"sampling": "balanced"}, "--sampling balanced is for one class an image; .* say --sampling NAME"),
        ({"classes": 4}, r"--classes 4: labels of 'train\.h5' have 3 columns"),
        ({"labels_per_image": "one"}, "labels must be one integer for each image, found .* rows with several labels"),
    ],
)
def test_options_that_need_one_class_an_image_are_refused(folder, options, message):
    with pytest.raises(InputError, match=message):
        data.inspect_files(configured(**options))
    assert data.inspect_files(configured(classes=3)).several


def test_an_area_under_the_curve_needs_several_labels(folder):
    config = rewrite("train.h5", np.arange(N) % 3, NAMES)
    write("val.h5", np.arange(N_VAL) % 3)
    with pytest.raises(InputError, match="--monitor auc is for several labels an image"):
        data.inspect_files(dataclasses.replace(config, monitor="auc"))


@pytest.mark.parametrize(
    ("path", "labels", "message"),
    [
        ("val.h5", draw_rows(N_VAL, 2)[:, :2], r"3 columns, one for each class of training, found uint8 \(20, 2\)"),
        ("val.h5", np.arange(N_VAL) % 3, r"must be rows of 0 and 1 with 3 columns.*found int64 \(20,\)"),
        ("val.h5", draw_rows(N_VAL, 2) * 2, r"found uint8 \(20, 3\) with 2 for sample 0"),
        ("val.h5", np.array(["red", "ripe"] * 10, "S"), "with 3 columns.* found texts"),
        ("train.h5", np.zeros((N, 3)), r"labels must be one integer for each image, found float64 \(48, 3\), rows with several"),
        ("train.h5", draw_rows(N, 1)[:, :2], r"class_names has 3 names, and labels have 2 columns"),
    ],
)
def test_labels_that_do_not_fit_are_errors(folder, path, labels, message):
    write(path, labels)
    with pytest.raises(InputError, match=message) as caught:
        data.inspect_files(configured())
    assert path in str(caught.value)


def test_labels_that_were_never_written_are_no_labels(folder):
    write("train.h5", np.zeros((N, CLASSES)))
    with pytest.raises(InputError, match=r"train\.h5': labels are zeros, as if they were never written"):
        data.inspect_files(configured(labels_per_image="several"))


def test_labels_that_no_image_has_or_every_image_are_said(folder):
    rows = draw_rows(N, 1)
    rows[:, 2], rows[:, 0] = 0, 1
    write("train.h5", rows)
    assert data.inspect_files(configured()).notes == [
        "no training image has the label ripe",
        "every training image has the label round",
    ]


# --- network, loss and choice of the best


@pytest.mark.parametrize(
    ("name", "logits"),
    [
        ("logits", True),
        ("of_zeros", True),
        ("applications", False),
        ("wrapped", False),
        ("by_a_layer_of_ones_own", False),
        ("logits_by_a_layer_of_ones_own", True),
    ],
)
def test_a_network_ends_with_a_sigmoid_or_without_an_activation(folder, name, logits):
    for classes in (2, 3):  # two sigmoids of a new network sum almost to 1, as a softmax does
        config = Config(model=f"network_of_several:{name}", labels_per_image="several")
        model = network.build_model(config, (SIDE, SIDE, 3), classes)
        assert network.gives_logits(model, (SIDE, SIDE, 3), several=True) is logits


@pytest.mark.parametrize("name", ["softmax", "softmax_by_a_layer_of_ones_own"])
def test_a_softmax_is_refused(folder, name):
    config = Config(model=f"network_of_several:{name}", labels_per_image="several")
    with pytest.raises(InputError, match=r"ends with a softmax, which chooses one class, .*: end it with a sigmoid"):
        network.build_model(config, (SIDE, SIDE, 3), CLASSES)


def test_alexnet_ends_with_a_sigmoid_for_several_labels():
    for several, ending in (("several", "sigmoid"), ("one", "softmax")):
        model = network.build_model(Config(labels_per_image=several, l2=0.0), (57, 57, 3), CLASSES)
        assert model.layers[-1].activation.__name__ == ending
        assert network.gives_logits(model, (57, 57, 3), several=several == "several") is False


@pytest.mark.parametrize("logits", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_mean_of_binary_cross_entropies(logits, smoothing):
    rows = draw_rows(8, 4).astype("f4")
    model = keras.Sequential([keras.Input((CLASSES,)), keras.layers.Activation("linear" if logits else "sigmoid")])
    network.compile_model(model, Config(labels_per_image="several", label_smoothing=smoothing), logits)
    x = np.random.default_rng(3).normal(size=(8, CLASSES)).astype("f4")
    found = model.evaluate(x, rows, verbose=0, return_dict=True)
    p, y = 1 / (1 + np.exp(-x.astype("f8"))), rows * (1 - smoothing) + smoothing / 2
    assert found["loss"] == pytest.approx(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(), rel=1e-4)
    assert found["accuracy"] == pytest.approx(((p > 0.5) == rows).mean())
    pairs = [np.mean([[a > b for b in p[rows[:, k] == 0, k]] for a in p[rows[:, k] == 1, k]]) for k in range(CLASSES)]
    assert found["auc"] == pytest.approx(np.mean(pairs), abs=0.02)  # Keras adds up trapezia between 200 thresholds


def test_the_best_model_is_chosen_by_what_is_monitored():
    results = [(0.8, 0.5, 0.7), (0.9, 0.6, 0.6), (0.7, 0.4, 0.8), (0.7, 0.45, 0.8)]  # accuracy, loss, AUC
    for monitor, best in (("accuracy", 2), ("loss", 3), ("auc", 3)):
        state, config = RunState(), Config(labels_per_image="several", monitor=monitor)
        for accuracy, loss, auc in results:
            state.end_epoch(config, {"val_accuracy": accuracy, "val_loss": loss, "val_auc": auc}, Meter())
        assert (state.best_epoch, state.best_auc) == (best, results[best - 1][2])
    assert merit(Config(monitor="auc"), 0.5, 0.3, 0.7) > merit(Config(monitor="auc"), 0.9, 0.3, 0.6)


# --- from the command line


def command(*more):
    options = ["--train", "train.h5", "--crop", str(SIDE), "--batch-size", "8", "--epochs", "2", "--workers", "1"]
    return [*options, "--model", "network_of_several:logits", "--lr", "0.01", "--monitor", "auc", *more]


def test_a_run_remembers_that_labels_are_several(folder, capsys):
    assert train.main(command("--val", "val.h5", "--out", "run")) == 0
    text = capsys.readouterr().out
    assert "several labels an image: 3 classes (round, red, ripe), a sigmoid for each" in text
    assert "of the decisions of validation right, AUC " in text
    with open("run/history.csv", newline="") as file:
        history = list(csv.DictReader(file))
    assert len(history) == 2
    assert {"auc", "val_auc", "val_accuracy", "val_loss"} <= set(history[0])
    state, _ = checkpoint.read(folder / "run" / "best.keras")
    assert state["about"]["several_labels"] is True
    assert json.loads((folder / "run" / "config.json").read_text())["labels_per_image"] == "several"
    # rows that happen to have one label each are still rows of several
    one_hot = np.eye(CLASSES, dtype=np.uint8)[np.arange(N) % 3]
    write("once.h5", one_hot[:N_VAL])
    assert evaluate.main(["run", "--data", "once.h5", "--crops", "plain"]) == 0
    assert "several labels an image: 3 classes, each predicted where its probability is above 0.5" in capsys.readouterr().out
    for page in ("run/report.html", "run/evaluation-once/report.html"):
        assert 'aria-label="Area under the ROC curve"' in Path(page).read_text()
    write("train.h5", one_hot)
    assert train.main(["--resume", "run", "--epochs", "3", "--model", "network_of_several:logits"]) == 0
    assert "several labels an image: 3 classes" in capsys.readouterr().out
    assert train.main(["--resume", "run", "--epochs", "4", "--labels-per-image", "one"]) != 0
    assert "--labels-per-image was several and can't become one" in capsys.readouterr().err
    for name, wrong in (("val.h5", ["--labels-per-image", "one"]), ("one.h5", [])):
        write("one.h5", np.arange(N_VAL) % 3)
        assert evaluate.main(["run", "--data", name, "--out", "refused", *wrong]) != 0
    errors = capsys.readouterr().err
    assert "--labels-per-image one: 'run' was trained on several labels an image; leave the option out" in errors
    assert "labels must be rows of 0 and 1 with 3 columns" in errors
    assert "or say --labels none" in errors


def test_an_evaluation_averages_the_sigmoids_of_crops(folder, capsys):
    assert train.main(command("--val-split", "0.25", "--out", "run")) == 0
    val = checkpoint.read(folder / "run" / "best.keras")[1]["val_indices"]
    model, rows = keras.models.load_model("run/best.keras", compile=False), draw_rows(N, 1)
    for average in ("probs", "logits"):
        assert evaluate.main(["run", "--split", "val", "--average", average, "--out", average]) == 0
        with open(f"{average}/predictions.csv", newline="") as file:
            lines = list(csv.DictReader(file))
        assert [int(line["sample"]) for line in lines] == val.tolist()
        np.testing.assert_array_equal([[int(line[f"label_{name}"]) for name in NAMES] for line in lines], rows[val])
        for kind, crop in (("plain_crop", fastprep.CenterCrop(SIDE)), ("ten_crop", fastprep.TenCrop(SIDE))):
            with fastprep.Loader("train.h5", 1, crop, labels=None, mean=[60.0, 60.0, 60.0], indices=val) as loader:
                out = [keras.ops.convert_to_numpy(model(loader.batch(0, k))).astype("f8") for k in range(len(val))]
            if average == "probs":
                wanted = [(1 / (1 + np.exp(-logits))).mean(axis=0) for logits in out]
            else:
                wanted = [1 / (1 + np.exp(-logits.mean(axis=0))) for logits in out]
            found = np.array([[float(line[f"{kind}_{name}"]) for name in NAMES] for line in lines])
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-6)
            np.testing.assert_allclose(np.load(f"{average}/probabilities.npz")[kind], wanted, rtol=1e-3, atol=1e-6)
            with open(f"{average}/classes-{kind.replace('_', '-')}.csv", newline="") as file:
                by_class = list(csv.DictReader(file))
            assert [line["name"] for line in by_class] == NAMES
            assert [int(line["predicted"]) for line in by_class] == (np.array(wanted) > 0.5).sum(axis=0).tolist()
    scores = {score["name"]: score for score in json.loads((folder / "probs" / "summary.json").read_text())["scores"]}
    state, _ = checkpoint.read(folder / "run" / "best.keras")
    # the validation of training and the test see the same images in the same way
    assert scores["plain crop"]["accuracy"] == pytest.approx(state["course"]["best_accuracy"])
    assert scores["plain crop"]["loss"] == pytest.approx(state["course"]["best_loss"], rel=1e-3)
    assert not list(folder.glob("probs/confusion*"))
    # a model from elsewhere is told by its labels
    model.save("elsewhere.keras")
    with h5py.File("train.h5", "r+") as file:
        del file["images"].attrs["class_names"]
    options = ["elsewhere.keras", "--data", "train.h5", "--mean", "file", "--crops", "plain"]
    assert evaluate.main([*options, "--out", "elsewhere"]) == 0
    probabilities = np.load("elsewhere/probabilities.npz")["plain_crop"]
    np.testing.assert_allclose(probabilities[val], np.load("probs/probabilities.npz")["plain_crop"], rtol=1e-4)
    assert evaluate.main([*options, "--labels", "none", "--labels-per-image", "several", "--out", "unlabelled"]) == 0
    np.testing.assert_array_equal(np.load("unlabelled/probabilities.npz")["plain_crop"], probabilities)
    with open("unlabelled/predictions.csv", newline="") as file:
        assert next(csv.reader(file)) == ["sample", "plain_crop_0", "plain_crop_1", "plain_crop_2"]
