"""The demo: the split it claims, files it can reuse, and its table, on few and small images."""

import functools
import json

import numpy as np
import pytest

import fastprep
from fastprep import demo, train
from fastprep.diagnostics import comparison
from fastprep.evaluation.significance import interval
from fastprep.training.config import Config

elpv = pytest.importorskip("elpv_dataset.utils")


@pytest.fixture(scope="module", autouse=True)
def photographs():
    """The demo's photographs, decoded once for all tests here."""
    loaded = elpv.load_dataset()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(elpv, "load_dataset", lambda: loaded)
        yield loaded


@pytest.fixture(scope="module")
def cells(photographs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cells")
    return demo.build(folder, 64), folder


def test_split_is_stratified_and_complete():
    _, probability, kind = elpv.load_dataset()
    labels = (probability > 0.5).astype(int)
    parts = demo.split(labels, kind)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(2624))
    assert {name: len(part) for name, part in parts.items()} == {"train": 1707, "val": 262, "test": 655}
    for stratum in [(label, k) for label in (0, 1) for k in ("mono", "poly")]:
        inside = (labels == stratum[0]) & (kind == stratum[1])
        for part in parts.values():
            assert inside[part].mean() == pytest.approx(inside.mean(), abs=0.005)
    assert (labels[parts["test"]] == 0).mean() == pytest.approx(0.687, abs=0.001)  # what the majority class alone gives
    again = demo.split(labels, kind)
    assert all(np.array_equal(parts[name], again[name]) for name in parts)


def test_files_hold_the_images_and_the_mean_of_training(cells):
    files, folder = cells
    photographs, probability, kind = elpv.load_dataset()
    parts = demo.split((probability > 0.5).astype(int), kind)
    mean = fastprep.image_mean(files["train"])
    for name, path in files.items():
        with fastprep.Loader(path, 5, None) as loader:
            assert loader.n_samples == len(parts[name])
            assert loader.class_names == ("functional", "defective")
            assert loader._spec.image_shape == (64, 64, 1)
            np.testing.assert_array_equal(loader.labels, (probability > 0.5)[parts[name]])
            np.testing.assert_array_equal(loader.mean, mean.astype("float32"))
            x, _ = loader.batch(0, 0)
            for image, original in zip(x[..., 0] + loader.mean, photographs[parts[name]], strict=False):
                assert image.mean() == pytest.approx(original.mean(), abs=1)
    before = {path: path.stat().st_mtime_ns for path in files.values()}
    files["val"].unlink()
    assert demo.build(folder, 64) == files
    assert {path for path in before if path.stat().st_mtime_ns != before[path]} == {files["val"]}


def keras_backend():
    import keras

    return keras.backend.backend()


def interval_of(score, n):
    low, high = interval(round(score["accuracy"] * n), n)
    return f"{low:.1%}-{high:.1%}"


def test_the_whole_demo_in_small(photographs, tmp_path, monkeypatch, capsys):
    """On every eighth cell."""
    few = tuple(part[::8] for part in photographs)
    monkeypatch.setattr(elpv, "load_dataset", lambda: few)
    labels = (few[1] > 0.5).astype(int)
    labels = labels[demo.split(labels, few[2])["test"]]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(comparison, "compare_rates", functools.partial(comparison.compare_rates, rounds=1, seconds=0.01))
    assert train.main(["--demo", "--epochs", "1", "--crop", "57"]) == 0
    printed = capsys.readouterr().out
    (run,) = (tmp_path / "fastprep-demo" / "runs").iterdir()
    majority, plain, ten_crop = json.loads((run / "test.json").read_text())
    assert majority == {"name": "always the majority class", "accuracy": pytest.approx((labels == 0).mean()), "found": 0}
    for score, name in ((plain, "small network, centre crop"), (ten_crop, "small network, ten-crop")):
        numbers = f"{score['accuracy']:8.2%}  {interval_of(score, len(labels)):>12}  {score['found']:>13.1%}"
        assert f"{name:29}  {numbers}  these {len(labels)}" in printed
    assert "82.44%             -              -  their own" in printed
    assert "88.42%" in printed
    assert "CC BY-NC-SA 4.0" in printed
    for name in ("best.keras", "last.keras", "report.html", "curves.png", "history.csv"):
        assert f"{(run / name).stat().st_size / 1000:,.0f} kB" in printed.split(str(run.relative_to(tmp_path) / name))[1][:30]
    for name in ("fastprep", "tf.data, images in memory", "numpy by hand, images in memory", "a loop over images"):
        assert (name in printed) == (keras_backend() == "tensorflow" or "tf.data" not in name)
    assert "waiting" in printed
    assert printed.index("What was made:") < printed.index("What next") < printed.index("The demo took 0 min ")
    shown = printed[printed.index("\n\n") :].splitlines()  # after the lines about the run
    assert max(map(len, shown)) < 80
    for line in demo.WHAT_NEXT[1:]:
        assert line in shown


def test_a_network_without_what_the_defaults_are_about_trains_all_the_same(cells, tmp_path, monkeypatch, capsys):
    (tmp_path / "plain_network.py").write_text(
        "import keras\n"
        "def network(shape, classes):\n"
        "    return keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(classes)])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "build", lambda folder, size: cells[0])
    monkeypatch.setattr(demo, "_speed", lambda path, config: [])
    assert train.main(["--demo", "--epochs", "1", "--crop", "57", "--model", "plain_network:network"]) == 0
    assert "plain_network:network, ten-crop" in capsys.readouterr().out


def test_ten_crop_and_plain_accuracy_are_what_keras_says(cells):
    import keras

    files, folder = cells
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((57, 57, 1)), keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.save(folder / "tiny.keras")
    config = Config(crop=57, batch_size=32)
    scores = {
        score.name: score
        for score in demo.test(
            folder / "tiny.keras", files["test"], config, fastprep.image_mean(files["train"]).astype("float32")
        )
    }
    with fastprep.Loader(files["test"], 100, fastprep.CenterCrop(57)) as loader:
        assert scores["AlexNet, centre crop"].accuracy == pytest.approx(model.evaluate(loader, verbose=0)[1], abs=1e-6)
    with fastprep.Loader(files["test"], 655, fastprep.TenCrop(57)) as loader:
        x, y = loader.batch(0, 0)
        averaged = model.predict(x, verbose=0).reshape(655, 10, 2).mean(axis=1, dtype="float64")
        right = averaged.argmax(axis=1) == y[::10]
        assert scores["AlexNet, ten-crop"].accuracy == pytest.approx(right.mean(), abs=1e-6)
        assert scores["AlexNet, ten-crop"].found == pytest.approx(right[y[::10] == 1].mean(), abs=1e-6)


def test_the_test_subtracts_what_training_subtracted(cells):
    import keras

    files, folder = cells
    layers = [keras.Input((57, 57, 1)), keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax", use_bias=False)]
    model = keras.Sequential(layers)
    model.layers[-1].set_weights([np.tile(np.array([[-1.0, 1.0]], "float32"), (57 * 57, 1))])  # bright is defective
    model.save(folder / "bright.keras")
    with_mean, without = (
        demo.test(folder / "bright.keras", files["test"], Config(crop=57), mean)[1].found
        for mean in (fastprep.image_mean(files["train"]).astype("float32"), None)
    )
    assert without == 1  # all pixels are positive
    assert with_mean < 1


def test_the_size_of_the_images_follows_that_of_the_crops():
    assert [demo.image_size(crop) for crop in (227, 113, 85, 57)] == [256, 127, 96, 64]


def test_without_its_package_the_demo_says_what_to_install(tmp_path, monkeypatch, capsys):
    import sys

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "elpv_dataset", None)
    monkeypatch.setitem(sys.modules, "elpv_dataset.utils", None)
    assert train.main(["--demo"]) == 2
    assert "the demo needs the package elpv_dataset" in capsys.readouterr().err
