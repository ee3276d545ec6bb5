"""Files as others publish them: the guide's lines load them, fit and train on them, and nothing differs from numpy."""

import contextlib
import csv
import re
import shlex
import sys

import h5py
import numpy as np
import public_files
import pytest
from pages import ROOT, blocks, sections

import fastprep
from fastprep import train
from fastprep.training import config as configuration
from fastprep.training import data

keras = pytest.importorskip("keras")
PAGE = ROOT / "docs" / "guide" / "known-files.md"
if not PAGE.is_file():
    pytest.skip("this copy of the tests has no documentation beside it", allow_module_level=True)

FILES = {
    "PatchCamelyon": public_files.patch_camelyon,
    "Galaxy10": public_files.galaxy10,
    "Signs of a Coursera course": public_files.coursera_signs,
    "Caffe": public_files.caffe,
    "NYU Depth V2": public_files.nyu_depth,
    "MATLAB, as SVHN": public_files.svhn,
    "So2Sat LCZ42": public_files.so2sat,
    "BraTS, a file for each slice": public_files.brats_slices,
    "A dataset for each image": public_files.a_dataset_an_image,
    "USPS": public_files.usps,
    "Julia": public_files.reversed_by_julia,
    "R": public_files.reversed_by_r,
    "netCDF": public_files.netcdf,
    "PyTables": public_files.pytables,
}
SECTIONS = sections(PAGE)
SMALLEST = 57  # side of the smallest images that AlexNet takes


class Form:
    """A kind of files: what the guide says of it, files that were written, and images and labels that are in them."""

    def __init__(self, name, folder):
        self.name, self.folder = name, folder
        self.images, self.labels = FILES[name](folder)
        self.line, self.text = SECTIONS[name]["python"]

    def open(self):
        """Run the block of Python, and return the loader that it makes."""
        names = {"fastprep": fastprep, "h5py": h5py}
        exec(compile("\n" * (self.line - 1) + self.text, str(PAGE), "exec"), names)
        return names["loader"]

    def options(self):
        """Return the options of the command; None if there is none."""
        if "sh" not in SECTIONS[self.name]:
            return None
        (command,) = SECTIONS[self.name]["sh"][1].replace("\\\n", "").splitlines()
        words = shlex.split(command)
        assert words[:3] == ["python", "-m", "fastprep.train"]
        return words[3:]


@pytest.fixture(scope="module", params=FILES)
def written(request, tmp_path_factory):
    return Form(request.param, tmp_path_factory.mktemp("files"))


@pytest.fixture
def form(written, monkeypatch):
    """Files of each kind in the current folder, as the guide's lines expect them, and the network of its page."""
    monkeypatch.chdir(written.folder)
    ((_, network),) = [(line, text) for line, text in blocks(PAGE, "python") if "def network" in text]
    (written.folder / "small_network.py").write_text(network)
    monkeypatch.syspath_prepend(written.folder)
    sys.modules.pop("small_network", None)
    yield written
    sys.modules.pop("small_network", None)  # other tests have networks of that name


def test_the_page_has_a_section_and_a_row_for_each_kind_of_files():
    rows = re.findall(r"^\| \[(.*?)\]\(", PAGE.read_text(), re.MULTILINE)
    assert rows == list(SECTIONS) == list(FILES)
    assert sum("sh" in under for under in SECTIONS.values()) >= 8


def test_the_line_of_the_guide_gives_what_was_written(form):
    with form.open() as loader:
        assert len(loader) > 1
        batches = list(loader)
    x, y = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    np.testing.assert_array_equal(x, form.images.astype(np.float32), strict=True)
    np.testing.assert_array_equal(y, form.labels)


def network_for(images, labels):
    """Return a network whose output has the form of the labels; without convolutions, whose threads add numbers in any order."""
    keras.utils.set_random_seed(1)
    x = inputs = keras.Input(images.shape[1:])
    x = keras.layers.Rescaling(1 / np.abs(images).max())(x)
    if labels.ndim > 2:  # a label for each pixel
        x = keras.layers.Dense(labels[0, 0, 0].size)(keras.layers.AveragePooling2D(40)(x))
        outputs, loss = keras.layers.Reshape(labels.shape[1:])(keras.layers.UpSampling2D(40)(x)), "mse"
    else:
        x = keras.layers.Dense(8, activation="relu")(keras.layers.Flatten()(keras.layers.AveragePooling2D(4)(x)))
        classes = labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1
        outputs = keras.layers.Dense(classes, activation="softmax")(x)
        loss = "categorical_crossentropy" if labels.ndim == 2 else "sparse_categorical_crossentropy"
    model = keras.Model(inputs, outputs)
    model.compile("sgd", loss)
    return model


def test_a_fit_gives_the_weights_of_one_on_arrays(form):
    model = network_for(form.images, form.labels)
    first, results = model.get_weights(), []
    with form.open() as loader:
        arrays = {"x": form.images.astype(np.float32), "y": form.labels, "batch_size": loader.batch_size, "shuffle": False}
        for data in ({"x": loader}, arrays):
            model.set_weights(first)
            model.fit(**data, epochs=1, verbose=0)
            results.append(model.get_weights())
    for start, fitted, wanted in zip(first, *results, strict=True):
        np.testing.assert_array_equal(fitted, wanted, strict=True)
        assert not np.array_equal(fitted, start)


def classes_of(labels):
    """Return the number of each image's class: that of a one-hot row, or whether there is anything in a mask."""
    return labels if labels.ndim == 1 else labels.argmax(axis=1) if labels.ndim == 2 else labels.any(axis=(1, 2, 3))


def check_first_batches(form, loaders):
    """Compare the labels of training, and images and labels of a part for validation, with what was written."""
    for loader, is_train in zip(loaders, (True, False), strict=True):
        if not is_train and loader.indices is None:  # another file
            continue
        rows = loader.samples(0, 0) if loader.indices is None else loader.indices[loader.samples(0, 0)]
        x, y = loader.batch(0, 0)
        np.testing.assert_array_equal(y if y.ndim == 1 else y.argmax(axis=1), classes_of(form.labels)[rows])
        if not is_train:
            height, width, _ = loader.output_shape
            top, left = (form.images.shape[1] - height) // 2, (form.images.shape[2] - width) // 2
            crops = form.images[rows, top : top + height, left : left + width].astype(np.float32)
            np.testing.assert_array_equal(x, crops - np.float32(0 if loader.mean is None else loader.mean), strict=True)


def test_the_command_of_the_guide_trains(form, tmp_path):
    options = form.options()
    if options is None:
        pytest.skip("these files have no labels that are classes")
    form.open().close()  # its block may write a file that the command reads
    config = train.parse(options)
    configuration.check(config)
    inputs = data.inspect_files(config)
    rows = slice(None) if inputs.parts.train is None else inputs.parts.train
    if config.mean == "compute":  # it is summed up in another order here, in float64
        np.testing.assert_allclose(inputs.mean, form.images[rows].mean(axis=(0, 1, 2)), rtol=1e-6)
    with contextlib.ExitStack() as opened:
        check_first_batches(form, [opened.enter_context(loader) for loader in data.open_loaders(config, inputs)])
    if config.model == "alexnet":
        assert min(inputs.input_shape[:2]) >= SMALLEST
        options = [*options, "--model", "small_network:network"]
    assert train.main([*options, "--epochs", "1", "--batch-size", "16", "--workers", "1", "--out", str(tmp_path / "run")]) == 0
    with open(tmp_path / "run" / "history.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert all(np.isfinite(float(row[name])) for name in ("loss", "accuracy", "val_loss", "val_accuracy"))
