"""The examples run as they stand, and what they print and save is what it says it is."""

import ast
import os
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import notebook_cells
import numpy as np
import pytest
from optional_libraries import needs

import fastprep
from fastprep.h5 import write_images

keras = pytest.importorskip("keras")
from keras_backend import BACKEND, needs_tensorflow  # noqa: E402

FOLDER = Path(__file__).parents[1] / "examples"
SCRIPTS = ["channels_first", "detection", "mobilenet_v3", "own_loop", "regression", "resnet50", "segmentation", "two_inputs"]
NOTEBOOK = FOLDER / "first_look.ipynb"
OF_TENSORFLOW = ["own_loop", "resnet50"]
CENTRE = fastprep.CenterCrop(32)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two files of 24 images each, with labels and with two targets."""
    folder, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(11)
    paths = {}
    for name in ("train", "val"):
        paths[name] = folder / f"{name}.h5"
        labels = np.arange(24) % 3 == 0
        images = rng.integers(0, 200, (24, 64, 64, 3)) + labels[:, None, None, None] * 50
        write_images(paths[name], images.astype("uint8"), labels.astype("int64"), channel_order="RGB")
        with h5py.File(paths[name], "a") as file:
            file["targets"] = rng.normal(size=(24, 2)).astype("float32")
    return paths


@pytest.fixture(autouse=True)
def image_data_format():
    """Put back what channels_first.py sets for the whole process."""
    before = keras.config.image_data_format()
    yield
    keras.config.set_image_data_format(before)


@pytest.fixture(scope="module")
def photographs():
    return pytest.importorskip("elpv_dataset.utils").load_dataset()


@pytest.fixture
def cells(photographs, tmp_path, monkeypatch):
    """The demo's photographs, read once for all tests that build its files in the working folder."""
    monkeypatch.setattr("elpv_dataset.utils.load_dataset", lambda: photographs)
    monkeypatch.chdir(tmp_path)
    return photographs


def skip_on_other_backends(name):
    if name in OF_TENSORFLOW:
        needs_tensorflow(f"the training step of {name}.py is TensorFlow's")


def example(name):
    """Return what a script defines, without running it; its classes are known to `load_model` then."""
    skip_on_other_backends(name)
    return runpy.run_path(str(FOLDER / f"{name}.py"), run_name="example")


def start(name, files, *options, **environment):
    skip_on_other_backends(name)
    command = [sys.executable, FOLDER / f"{name}.py", "--train", files["train"], "--val", files["val"], "--size", "32", *options]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)  # which users do not set
    return subprocess.Popen(
        list(map(str, command)), env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    )


def run(name, files, *options, **environment):
    """Run a script to its end, and return what it printed; where TensorFlow is Keras' backend, its start says nothing."""
    with start(name, files, *options, **environment) as process:
        printed, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    if environment.get("KERAS_BACKEND", BACKEND) == "tensorflow":  # on JAX, Keras imports it to save a model
        assert errors == ""
    return printed


def interrupt(name, files, at, *options):
    """Send Ctrl-C to a script when it prints a line that begins so; return its exit status and what it printed."""
    with start(name, files, *options) as process:
        try:
            lines = []
            for line in process.stdout:
                lines.append(line)
                if line.startswith(at):
                    process.send_signal(signal.SIGINT)
                    break
            rest, errors = process.communicate(timeout=300)
        finally:
            process.kill()
    assert lines, errors
    assert lines[-1].startswith(at), errors
    return process.returncode, "".join(lines) + rest


as_numpy = keras.ops.convert_to_numpy


def number(printed, name):
    return float(re.search(rf"{name} (-?[\d.]+)", printed)[1])


def accuracy(model, path, **options):
    """Score a model without `evaluate`."""
    with fastprep.Loader(path, 24, CENTRE, **options) as loader:
        x, y = loader.batch(0, 0)
    return np.mean(as_numpy(model(x, training=False)).argmax(axis=1) == y)


def check_scores(printed, model, path, **options):
    assert np.isfinite(number(printed, "val loss"))
    assert number(printed, "val accuracy") == pytest.approx(accuracy(model, path, **options), abs=1e-6)


@pytest.mark.large
def test_resnet50(files, tmp_path):
    printed = run("resnet50", files, "--epochs", "1", "--batch-size", "8", "--out", tmp_path / "r.keras")
    example("resnet50")
    with h5py.File(files["train"]) as file:
        mean = file["images"].attrs["mean"]
    check_scores(printed, keras.models.load_model(tmp_path / "r.keras"), files["val"], mean=mean)


def test_resnet50_gives_weights_the_pixels_that_they_were_trained_on(files, tmp_path):
    names = example("resnet50")
    body = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg")
    body.save_weights(tmp_path / "some.weights.h5")
    model = names["network"]((32, 32, 3), 2, "RGB", tmp_path / "some.weights.h5")
    with fastprep.Loader(files["val"], 24, CENTRE, mean=None) as loader:
        pixels, _ = loader.batch(0, 0)
    wanted = keras.applications.resnet50.preprocess_input(pixels.copy())
    with fastprep.Loader(files["val"], 24, CENTRE, mean=names["IMAGENET_MEAN"]["RGB"]) as loader:
        x, _ = loader.batch(0, 0)
        np.testing.assert_array_equal(names["as_bgr"](x, loader.channel_order), wanted)
    head = model.layers[-1]
    np.testing.assert_array_equal(model(x, training=False), head(body(wanted, training=False)))
    assert names["as_bgr"](x, "BGR") is x
    grey = np.asarray(names["as_bgr"](x[..., :1], "L"))
    assert all(np.array_equal(grey[..., k], x[..., 0]) for k in range(3))


def preprocessing_table():
    rows = re.findall(
        r"^\| (caffe|tf|torch|none) \| (.*?) \| `(.*?)` \| `(.*?)` \| (.*?) \|$", (FOLDER / "README.md").read_text(), re.M
    )
    for mode, networks, mean, scale, equal in rows:
        for network in re.findall(r"`(\w+)`", networks):
            yield pytest.param(mode, network, mean, scale, equal, id=f"{mode}-{network}")


@pytest.mark.parametrize(("mode", "network", "mean", "scale", "equal"), list(preprocessing_table()))
def test_what_the_readme_says_of_preprocess_input(files, mode, network, mean, scale, equal):
    mean, scale = (eval(text, {"__builtins__": {}}) for text in (mean, scale))
    with fastprep.Loader(files["val"], 24, CENTRE, mean=None) as loader:
        pixels, _ = loader.batch(0, 0)
    with fastprep.Loader(files["val"], 24, CENTRE, mean=mean, scale=scale) as loader:
        ours, _ = loader.batch(0, 0)
    theirs = getattr(keras.applications, network).preprocess_input(pixels.copy())
    if mode == "caffe":
        ours = ours[..., ::-1]
    if equal.startswith("bit for bit"):
        np.testing.assert_array_equal(ours, theirs)
    else:
        within = float(equal.removeprefix("to "))
        assert 0 < np.abs(ours - theirs).max() <= within


@pytest.mark.large
def test_mobilenet_v3_goes_on_with_the_epoch_that_was_broken_off(files, tmp_path):
    options = ["--batch-size", "8", "--precision", "mixed_bfloat16", "--preprocessing", "outside", "--out", tmp_path / "m.keras"]
    code, printed = interrupt("mobilenet_v3", files, "Epoch 3/", *options, "--epochs", "9999", "--patience", "9999")
    assert code != 0
    begun = int(re.findall(r"^Epoch (\d+)/", printed, re.M)[-1])
    printed = run("mobilenet_v3", files, *options, "--epochs", str(begun + 2))
    epochs = [int(epoch) for epoch in re.findall(r"^Epoch (\d+)/", printed, re.M)]
    assert epochs[0] in (begun, begun + 1)  # or the signal came when an epoch was over and the next one not begun
    assert epochs == list(range(epochs[0], begun + 3))
    model = keras.models.load_model(tmp_path / "m.keras")
    assert model.layers[1].compute_dtype == "bfloat16"
    check_scores(printed, model, files["val"], mean=127.5, scale=1 / 127.5)


def test_mobilenet_v3_sees_the_same_either_way(files):
    names = example("mobilenet_v3")
    inside, outside = (names["network"]((32, 32, 3), 3, where) for where in ("inside", "outside"))
    outside.set_weights(inside.get_weights())
    rows = []
    for model, where in ((inside, "inside"), (outside, "outside")):
        with fastprep.Loader(files["val"], 24, CENTRE, **names["PREPROCESSING"][where]) as loader:
            rows.append(as_numpy(model(loader.batch(0, 0)[0], training=False)))
    np.testing.assert_allclose(*rows, rtol=1e-4)  # x / 127.5 - 1 is rounded otherwise than (x - 127.5) / 127.5
    weights = names["balanced"](np.array([0, 5, 5, 5, 2, 2]))
    assert weights == pytest.approx({0: 2.0, 2: 1.0, 5: 2 / 3})  # 6 / (3 * 1), 6 / (3 * 2), 6 / (3 * 3)


@pytest.mark.large
def test_regression(files, tmp_path):
    printed = run(
        "regression", files, "--epochs", "1", "--batch-size", "8", "--names", "width", "height", "--out", tmp_path / "m.keras"
    )
    example("regression")
    model = keras.models.load_model(tmp_path / "m.keras")
    with h5py.File(files["train"]) as train, h5py.File(files["val"]) as val:
        mean, known, wanted = train["images"].attrs["mean"], train["targets"][()], val["targets"][()]
    with fastprep.Loader(files["val"], 8, CENTRE, labels="targets", scale=1 / 64, mean=mean) as loader:
        scores = model.evaluate(loader, return_dict=True, verbose=0)
        x = np.concatenate([x.copy() for x, _ in loader])
    out = {name: as_numpy(values) for name, values in model(x, training=False).items()}
    for k, name in enumerate(("width", "height")):
        error, mean_error = map(
            float, re.search(rf"{name}: mean squared error ([\d.]+) \(always the mean: ([\d.]+)", printed).groups()
        )
        assert error == pytest.approx(np.mean((out[name][:, 0] - wanted[:, k]) ** 2), abs=2e-6)
        assert error == pytest.approx(scores[f"{name}_loss"], abs=2e-6)
        assert scores[f"{name}_mae"] == pytest.approx(np.abs(out[name][:, 0] - wanted[:, k]).mean(), rel=1e-5)
        assert mean_error == pytest.approx(np.mean((known[:, k].mean() - wanted[:, k]) ** 2), abs=2e-6)
    assert scores["loss"] == pytest.approx(scores["width_loss"] + scores["height_loss"], rel=1e-5)


def test_regression_knows_the_targets_of_the_demo(cells):
    photographs, probability, kind = cells
    names = example("regression")
    files = names["solar_cells"](16)
    for part, samples in names["split"]((probability > 0.5).astype("int64"), kind).items():
        with h5py.File(files[part]) as file:
            targets, images = file["targets"][()], file["images"][()]
            np.testing.assert_array_equal(file["labels"][()], targets[:, 0] > 0.5)
        np.testing.assert_array_equal(targets[:, 0], probability[samples].astype("float32"))
        np.testing.assert_array_equal(targets[:, 1], kind[samples] == "mono")
        bright = photographs[samples].mean(axis=(1, 2))
        np.testing.assert_allclose(images.mean(axis=(1, 2, 3)), bright, atol=4)  # of images a nineteenth as wide
    assert names["solar_cells"](16) == files  # a second time, as they are


@pytest.mark.large
def test_own_loop_goes_on_at_the_exact_next_batch(files, tmp_path):
    """Weights, optimizer, dropout's random state and place, bit for bit; in the partial last batch, too."""
    options = ["--batch-size", "10", "--epochs", "60", "--out"]
    whole = run("own_loop", files, *options, tmp_path / "whole.npz")
    code, printed = interrupt("own_loop", files, "epoch 3:", *options, tmp_path / "parts.npz")
    assert code == 130
    assert re.search(r"^stopped in epoch \d+, after (0|10|20) samples of it$", printed, re.M)
    printed += run("own_loop", files, *options, tmp_path / "parts.npz")
    lines = whole.splitlines()
    assert [line for line in printed.splitlines() if not line.startswith("stopped")] == lines
    assert len(lines) == 61
    losses = [number(line, "loss") for line in lines[:-1]]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    with np.load(tmp_path / "whole.npz") as one, np.load(tmp_path / "parts.npz") as other:
        assert one.files == other.files
        for name in one.files:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
        model = example("own_loop")["network"]((32, 32, 3), 2)
        for k, variable in enumerate(model.variables):
            variable.assign(one[f"arr_{k}"])
    with h5py.File(files["train"]) as file:
        mean = file["images"].attrs["mean"]
    assert number(whole, "val accuracy") == pytest.approx(accuracy(model, files["val"], scale=1 / 64, mean=mean), abs=1e-6)


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param("tensorflow", marks=needs("tensorflow")),
        pytest.param("jax", marks=[needs("jax"), *[pytest.mark.large] * (BACKEND != "jax")]),
        pytest.param("torch", marks=needs("torch")),
    ],
)
def test_channels_first(files, tmp_path, backend):
    out = tmp_path / "c.keras"
    printed = run("channels_first", files, "--epochs", "1", "--batch-size", "8", "--out", out, KERAS_BACKEND=backend)
    layout, shape = ("channels_last", (8, 32, 32, 3)) if backend == "tensorflow" else ("channels_first", (8, 3, 32, 32))
    assert printed.startswith(f"{backend}: {layout}, x is {shape}")
    model = example("channels_first")["network"]((32, 32, 3), 2, "channels_last")
    model.set_weights(keras.models.load_model(out).get_weights())  # trained in either layout, tested in this one
    with h5py.File(files["train"]) as file:
        mean = file["images"].attrs["mean"]
    check_scores(printed, model, files["val"], scale=1 / 64, mean=mean)


def test_segmentation_prints_how_well_its_masks_are_those_of_the_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = example("segmentation")
    train, val = (names["discs_and_bars"](tmp_path / f"{k}.h5", 24, 40, seed=k) for k in (1, 2))
    names["main"](train, val, epochs=2, size=32, batch_size=8)
    printed = capsys.readouterr().out
    model = keras.models.load_model(tmp_path / "runs" / "segmentation.keras")
    with h5py.File(val) as file:
        images, masks = file["images"][:, 4:36, 4:36], file["masks"][:, 4:36, 4:36]
    assert {*np.unique(masks)} == {0, 1, 2}
    found = as_numpy(model((images.astype("float32") - 127.5) / 64, training=False)).argmax(axis=-1)
    for k in range(3):
        both, either = ((found == k) & (masks == k)).sum(), ((found == k) | (masks == k)).sum()
        assert number(printed, f"class {k}: intersection over union") == pytest.approx(both / either, abs=1e-3)  # at 0.5, a pixel


def test_detection_finds_what_its_cells_say(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = example("detection")
    train, val = (names["crosses_and_frames"](tmp_path / f"{k}.h5", 24, 40, seed=k) for k in (1, 2))
    names["main"](train, val, epochs=1, size=32, batch_size=8)
    assert re.search(r"found \d+ of \d+ objects, and \d+ that are none", capsys.readouterr().out)
    box = np.array([[[3.0, 9, 21, 30, 1], [-1] * 5]])  # its middle is in the cell of row 2 and column 1
    right = np.full((1, 4, 4, 7), -20, "float32")
    right[0, 2, 1] = [20, *((box[0, 0, :4] / 8) - [1.5, 2.5, 1.5, 2.5]), -20, 20]
    ((kind, edges),) = names["boxes_of"](right[0])
    assert kind == 1
    np.testing.assert_allclose(edges, box[0, 0, :4])
    assert names["overlap"](edges, box[0, 0, :4]) == pytest.approx(1)
    assert names["overlap"](edges, edges + 100) == 0
    loss = [float(as_numpy(names["cell_loss"](box.astype("float32"), cells))[0]) for cells in (right, np.roll(right, 1, axis=2))]
    assert loss[0] == pytest.approx(0, abs=1e-4)
    assert loss[1] > 1


def test_two_inputs_learns_shifts_and_prints_by_how_much_it_is_off(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names, rng = example("two_inputs"), np.random.default_rng(3)
    right = rng.integers(0, 256, (40, 60, 3)).astype("uint8")
    pair = {"left": np.roll(right, 2, axis=1), "right": right, "disparity": np.full((40, 60), 2, "float32")}
    pair["disparity"][:, :2] = -1  # what has come in at the other side
    train = names["write_parts"](tmp_path / "train.h5", pair, slice(None), 24, 4)
    val = names["write_parts"](tmp_path / "val.h5", pair, slice(20), 20, 20)
    names["main"](train, val, epochs=1, size=16, batch_size=8, shifts=4)
    printed = capsys.readouterr().out
    model = keras.models.load_model(tmp_path / "runs" / "two_inputs.keras")
    with h5py.File(val) as file:
        x = {name: (file[name][:, 2:18, 2:18].astype("float32") - 127.5) / 64 for name in ("left", "right")}
    off = np.abs(as_numpy(model(x, training=False)) - 2).mean()
    assert number(printed, "off by") == pytest.approx(off, abs=6e-3)
    assert number(printed, "always the mean of training:") == 0
    costs = names["Costs"](4)(*(keras.ops.convert_to_tensor(x[name]) for name in ("left", "right")))
    assert as_numpy(costs)[:, :, 4:].mean((0, 1, 2, 4)).argmin() == 2
    assert float(names["off_by"](np.array([-1.0, 2, 4], "float32"), np.array([9.0, 3, 7], "float32"))) == 2


def test_two_inputs_knows_by_how_much_the_cameras_of_the_motorcycle_differ(tmp_path, monkeypatch):
    pytest.importorskip("skimage")
    monkeypatch.chdir(tmp_path)
    for path in example("two_inputs")["motorcycle"](48):
        with h5py.File(path) as file:
            left, right, disparity = (file[name][()].astype(float) for name in ("left", "right", "disparity"))
        n, y, x = np.nonzero(disparity >= 0)
        other = x - disparity[n, y, x].round().astype(int)
        seen = other >= 0
        n, y, x, other = n[seen], y[seen], x[seen], other[seen]
        assert np.abs(left[n, y, x] - right[n, y, other]).mean() < np.abs(left[n, y, x] - right[n, y, x]).mean() / 2


@pytest.mark.parametrize("name", SCRIPTS)
def test_one_file_alone_is_an_error(name):
    with pytest.raises(SystemExit, match="--train and --val go together"):
        example(name)["main"](train=Path("train.h5"))


def test_the_demo_stands_in_where_no_files_are_given(cells, tmp_path, capsys):
    main = example("channels_first")["main"]
    main(epochs=1, size=16)
    assert 0.6 < number(capsys.readouterr().out, "val accuracy") <= 1  # 68.7 % of the cells are functional
    assert (tmp_path / "runs" / "channels_first.keras").exists()


def test_the_notebook_runs_from_top_to_bottom_and_its_network_learns(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    shown = list(notebook_cells.run(NOTEBOOK, names))
    pages = [cell for cell in shown if isinstance(cell, str) and "<" in cell[:1]]
    assert [page.count("data:image/png;base64,") for page in pages] == [12]
    assert [cell[:4] for cell in shown if isinstance(cell, bytes)] == [b"\x89PNG"] * 3
    assert (names["found"] == names["val"].labels).mean() > 0.9
    assert names["history"].history["val_accuracy"][-1] > 0.9
    assert {path.name for path in tmp_path.rglob("*")} == {"fastprep-demo", "first_look.h5"}
    assert capsys.readouterr().out.count("Epoch ") == 8


def test_the_notebook_is_kept_without_outputs():
    content = notebook_cells.read(NOTEBOOK)
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    cells = content["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all((cell["outputs"], cell["execution_count"]) == ([], None) for cell in code)
    text = "\n".join(notebook_cells.source_of(cell) for cell in cells if cell["cell_type"] == "markdown")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert (FOLDER / target).exists()


def test_readme_and_docstrings_name_each_script():
    readme = (FOLDER / "README.md").read_text()
    scripts = sorted(FOLDER.glob("*.py"))
    assert [path.stem for path in scripts] == SCRIPTS
    order = ["resnet50", "mobilenet_v3", "regression", "segmentation", "detection", "two_inputs", "own_loop", "channels_first"]
    assert re.findall(r"^\| \[(\w+)\.py\]\((\w+)\.py\) \|", readme, re.M) == [(name, name) for name in order]
    assert "[first_look.ipynb](first_look.ipynb)" in readme
    for path in scripts:
        tree = ast.parse(path.read_text())
        assert f"python examples/{path.name}" in ast.get_docstring(tree)
        imported = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert not set(imported) & {*SCRIPTS, "examples"}  # each is complete
