"""What `show` finds in files of every kind, without names; the lines that it prints load, and train on, these very files."""

import shlex

import h5py
import numpy as np
import pytest
import tables
from encoded_files import write_rows
from encoded_images import by_pillow
from netcdf import netCDF4

import fastprep
from fastprep import evaluate, show, train
from fastprep.diagnostics.contents import Contents
from fastprep.diagnostics.load_lines import loading_lines
from fastprep.errors import MissingDatasetError, one_line
from fastprep.h5 import find_candidates, write_images
from fastprep.training import config as configuration
from fastprep.training import data

SHAPE = (24, 20, 3)
SQUARE = (16, 16, 3)
CHUNKS = (2, *SHAPE)


def images(n, seed=0, shape=SHAPE):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype="u1")


class Kind:
    """A kind of file.

    Parameters
    ----------
    write : callable
        Called with an open file, or with a path if `by_path`.
    names : list of str
        Images that are found, the likeliest first.
    labels : str or None
    wanted : ndarray
        The images that a loader gives.
    train : tuple of int, or str
        Classes, images for training, and images for validation; classes, and labels of all images, where these may have several;
        or why the command can't train.
    suffix : str
    by_path : bool
    """

    def __init__(self, write, names, labels, wanted, train, suffix=".h5", by_path=False):
        self.write, self.names, self.labels, self.wanted, self.train = write, names, labels, wanted, train
        self.suffix, self.by_path = suffix, by_path

    def make(self, folder, name):
        path = folder / f"a {name}{self.suffix}"  # a blank has to be quoted
        if self.by_path:
            self.write(path)
        else:
            with h5py.File(path, "w") as file:
                self.write(file)
        return path


def usual(path):
    write_images(path, images(40), np.arange(40) % 4)


def no_labels(file):
    file["images"] = images(30)


def answers(file):  # as of Galaxy10
    file["images"], file["ans"], file["ra"], file["mask"] = images(30), np.arange(30) % 3, np.zeros(30), images(30)[..., 0]


def signs(file):  # as of a course
    file["train_set_x"], file["train_set_y"] = images(40), np.arange(40)[None] % 6
    file["test_set_x"], file["test_set_y"] = images(12, 1), np.arange(12)[None] % 6
    file["list_classes"] = np.arange(6)


def parts(file):
    for part, n in (("test", 11), ("train", 30), ("val", 12)):
        file[f"{part}/images"], file[f"{part}/labels"] = images(n), np.arange(n) % 3


def groups(file):
    for k in range(15):
        file[f"pics/{k}.png"], file[f"y/{k}.png"] = images(15)[k], k % 2


def group_an_image(file):
    for k in range(15):
        file[f"{k}/image"], file[f"{k}/label"], file[f"{k}/mask"] = images(15)[k], k % 2, images(15)[k, ..., 0]


def top_level(file):
    for k in range(15):
        file[f"{k}.png"] = images(15)[k]


def planes(file):
    for k in range(15):
        file[f"pics/{k}.png"], file[f"y/{k}.png"] = images(15)[k].transpose(2, 0, 1), k % 2


def records(file):
    file["train/img"] = images(15)
    file["train/meta"] = np.array([(b"a", 1), (b"b", 2), (b"c", 2)] * 5, [("species", "S3"), ("age", "i4")])


def one(file):
    file["img"] = np.zeros((128, 96, 14), "f4")


def first_channels(file):  # as of Caffe
    file["data"], file["label"] = images(40).transpose(0, 3, 1, 2), np.arange(40.0) % 6


def usual_names(file):  # which does not help if the axes are others
    file["images"], file["labels"] = images(40).transpose(0, 3, 1, 2), np.arange(40) % 6


def last_samples(file):
    file["X"], file["y"] = images(40).transpose(1, 2, 3, 0), np.arange(40)[:, None] % 6


def from_matlab(path):  # the array (H, W, C, N) with labels from 1, as of street numbers
    with h5py.File(path, "w", userblock_size=512) as file:
        file["X"], file["y"] = images(40).transpose(0, 3, 2, 1), np.arange(40.0)[None] % 5 + 1
        file["X"].attrs["MATLAB_class"] = np.bytes_("uint8")
        file["#refs#/a"] = images(40)
    with open(path, "r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def grey_from_matlab(file):  # (H, W, N), which only the number of labels tells from (N, H, W)
    file["scans"], file["classes"] = images(40, shape=(24, 20)).transpose(0, 2, 1), np.arange(40.0)[None] % 2
    file["scans"].attrs["MATLAB_class"] = np.bytes_("uint8")


def netcdf(path):
    with netCDF4.Dataset(path, "w") as file:
        for name, size in zip(("time", "band", "y", "x"), (40, 3, *SHAPE[:2]), strict=True):
            file.createDimension(name, size)
        file.createVariable("radiance", "u1", ("time", "band", "y", "x"))[:] = images(40).transpose(0, 3, 1, 2)
        file.createVariable("target", "i4", ("time",))[:] = np.arange(40) % 4


def pytables(path):
    with tables.open_file(path, "w") as file:
        file.create_earray("/", "pics", obj=images(40), chunkshape=CHUNKS)
        meta = np.array([(b"cat", k) if k % 2 else (b"dog", k) for k in range(40)], [("species", "S3"), ("age", "i4")])
        file.create_table("/", "meta", obj=meta)


def flat(file):  # as of USPS
    for part, n in (("train", 40), ("test", 12)):
        rows = images(n, shape=(16, 16, 1)).reshape(n, 256)
        file[f"{part}/data"], file[f"{part}/target"] = rows.astype("f4"), np.arange(n) % 10


def flat_colours(file):
    file["x"], file["y"] = images(40, shape=SQUARE).reshape(40, -1), np.arange(40) % 10


def flat_planes(file):
    file["x"], file["y"] = images(40).transpose(0, 3, 1, 2).reshape(40, -1), np.arange(40) % 10
    file["x"].attrs["image_shape"] = (3, *SHAPE[:2])


def flat_sides(file):
    file["x"], file["y"] = images(40, shape=(10, 13, 1)).reshape(40, -1), np.arange(40) % 10
    file.attrs.update({"height": 10, "width": 13})


def flat_columns(file):
    file["fea"], file["gnd"] = images(40, shape=(10, 10, 1)).reshape(40, -1).T, np.arange(40) % 10


def two_files(path):  # as of PatchCamelyon
    for part, n in (("train", 40), ("valid", 12)):
        with h5py.File(path.with_name(path.name.replace("train", part)), "w") as file:
            file["x"] = images(n)
        with h5py.File(path.with_name(path.name.replace("train_x", f"{part}_y")), "w") as file:
            file["y"] = (np.arange(n) % 2).astype("u1").reshape(n, 1, 1, 1)


def to_predict(file):
    file["images"], file["labels"] = images(20), np.random.default_rng(0).random(20)


def with_rows(rows):
    def write(file):
        file["images"], file["labels"] = images(40), rows

    return write


def dashes(file):
    file["-images"], file["-labels"] = images(40), np.arange(40) % 4


SEVERAL = np.random.default_rng(7).integers(0, 2, (40, 3))
ONE_OR_NONE = np.eye(4, dtype="f4")[np.arange(40) % 4][:, :3]
GREY = images(40, shape=(16, 16, 1))
NO_LABELS = "labels are missing"
KINDS = {
    "usual": Kind(usual, ["images"], "labels", images(40), (4, 32, 8), by_path=True),
    "no labels": Kind(no_labels, ["images"], None, images(30), NO_LABELS),
    "answers": Kind(answers, ["images", "mask"], "ans", images(30), (3, 24, 6)),
    "signs": Kind(signs, ["train_set_x", "test_set_x"], "train_set_y", images(40), (6, 40, 12)),
    "parts": Kind(parts, ["train/images", "val/images", "test/images"], "train/labels", images(30), (3, 30, 12)),
    "groups": Kind(groups, ["pics/"], "y/", images(15), (2, 12, 3)),
    "group an image": Kind(group_an_image, ["*/image", "*/mask"], "*/label", images(15), (2, 12, 3)),
    "top level": Kind(top_level, ["/"], None, images(15), NO_LABELS),
    "planes": Kind(planes, ["pics/"], "y/", images(15), (2, 12, 3)),
    "records": Kind(records, ["train/img"], "train/meta:species", images(15), (3, 12, 3)),
    "one": Kind(one, ["img"], None, np.zeros((1, 128, 96, 14)), NO_LABELS),
    "first": Kind(first_channels, ["data"], "label", images(40), (6, 32, 8)),
    "usual names": Kind(usual_names, ["images"], "labels", images(40), (6, 32, 8)),
    "last": Kind(last_samples, ["X"], "y", images(40), (6, 32, 8)),
    "matlab": Kind(from_matlab, ["X"], "y", images(40), (6, 32, 8), ".mat", by_path=True),
    "grey": Kind(grey_from_matlab, ["scans"], "classes", images(40, shape=(24, 20))[..., None], (2, 32, 8)),
    "netcdf": Kind(netcdf, ["radiance"], "target", images(40), (4, 32, 8), ".nc", by_path=True),
    "pytables": Kind(pytables, ["pics"], "meta:species", images(40), (2, 32, 8), by_path=True),
    "flat": Kind(flat, ["train/data", "test/data"], "train/target", GREY, (10, 40, 12)),
    "flat colours": Kind(flat_colours, ["x"], "y", images(40, shape=SQUARE), (10, 32, 8)),
    "flat planes": Kind(flat_planes, ["x"], "y", images(40), (10, 32, 8)),
    "flat sides": Kind(flat_sides, ["x"], "y", images(40, shape=(10, 13, 1)), (10, 32, 8)),
    "flat columns": Kind(flat_columns, ["fea"], "gnd", images(40, shape=(10, 10, 1)), (10, 32, 8)),
    "split_train_x": Kind(two_files, ["x"], "{folder}/a split_train_y.h5:y", images(40), (2, 40, 12), by_path=True),
    "several": Kind(with_rows(SEVERAL), ["images"], "labels", images(40), (3, SEVERAL.sum())),
    "one or none": Kind(with_rows(ONE_OR_NONE), ["images"], "labels", images(40), (3, 30)),
    "all none": Kind(with_rows(SEVERAL * 0), ["images"], "labels", images(40), "all labels are 0"),
    "rows of numbers": Kind(with_rows(SEVERAL + 0.5), ["images"], "labels", images(40), "several as rows of 0 and 1"),
    "dashes": Kind(dashes, ["-images"], "-labels", images(40), (4, 32, 8)),
    "to predict": Kind(to_predict, ["images"], "labels", images(20), "numbers to predict"),
}
AXES = {
    "one": "HWC",
    "first": "NCHW",
    "last": "HWCN",
    "planes": "NCHW",
    "grey": "NWH",
    "flat planes": "NCHW",
    "flat columns": "HWCN",
}
SIDES = {
    "flat": (16, 16, 1),
    "flat colours": SQUARE,
    "flat planes": SHAPE,
    "flat sides": (10, 13, 1),
    "flat columns": (10, 10, 1),
}


USUAL = [f"a {name}" for name, kind in KINDS.items() if kind.names == ["images"] and kind.labels in (None, "labels")]
USUAL.remove("a usual names")


@pytest.fixture(params=KINDS)
def found(request, tmp_path):
    kind = KINDS[request.param]
    return kind.make(tmp_path, request.param), kind, kind.labels and kind.labels.format(folder=tmp_path)


def line_after(printed, heading):
    lines = printed.splitlines()
    return lines[lines.index(heading) + 1].strip()


def test_the_line_of_python_loads_the_file(found, capsys):
    path, kind, labels = found
    assert [candidate.images for candidate in find_candidates(path)] == kind.names
    assert show.main([str(path)]) == 0
    printed = capsys.readouterr().out
    variables = {"fastprep": fastprep}
    exec(line_after(printed, "in Python:"), variables)
    with variables["loader"] as loader:
        batches = list(loader)
        x = np.concatenate([np.asarray(batch[0] if isinstance(batch, tuple) else batch) for batch in batches])
        mean = 0 if loader.mean is None else loader.mean
        np.testing.assert_array_equal(x, (kind.wanted - mean).astype("f4"))
        assert (loader.labels_name, loader.n_samples) == (labels, len(kind.wanted))
        assert (loader.mean is None) == (path.stem != "a usual")


def test_the_commands_show_the_file_again_and_train_on_it(found, capsys):
    path, kind, _ = found
    assert show.main([str(path)]) == 0
    printed = capsys.readouterr().out
    if path.stem not in USUAL:  # where there is nothing to add
        words = shlex.split(line_after(printed, "as a command:"))
        assert words[:3] == ["python", "-m", "fastprep.show"]
        assert show.main(words[3:]) == 0
        again = capsys.readouterr().out
        assert printed.endswith(again)
    line = line_after(printed, "to train:")
    if isinstance(kind.train, str):
        assert kind.train in line
        return
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "fastprep.train"]
    config = train.parse(words[3:])
    configuration.check(config)
    inputs = data.inspect_files(config)
    counts = inputs.counts.sum(), inputs.val_counts.sum()
    assert (inputs.classes, *(counts if len(kind.train) == 3 else [sum(counts)])) == kind.train
    assert inputs.notes == []


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if "images" not in kind.names])
def test_names_that_are_missing_suggest_the_same(tmp_path, name):
    kind = KINDS[name]
    path, labels = kind.make(tmp_path, name), kind.labels and kind.labels.format(folder=tmp_path)
    with pytest.raises(MissingDatasetError) as caught:
        fastprep.Loader(path, 4, None, mean=None)
    wanted = {"images": kind.names[0], "labels": labels, "axes": AXES.get(name), "shape": SIDES.get(name)}
    assert caught.value.suggestion == {name: value for name, value in wanted.items() if value is not None}
    assert f"; likely images={kind.names[0]!r}" in str(caught.value)
    sign = "=" if kind.names[0].startswith("-") else " "
    assert f"; likely --images{sign}{shlex.quote(kind.names[0])}" in one_line(caught.value)
    if name in SIDES:
        assert f" --shape {'x'.join(map(str, SIDES[name]))} (" in one_line(caught.value)
    with pytest.raises(MissingDatasetError) as caught:
        fastprep.Loader(path, 4, None, images="other", mean=None)
    assert "likely" not in str(caught.value)


def test_labels_that_are_missing_are_suggested_for_the_usual_images(tmp_path):
    path = KINDS["answers"].make(tmp_path, "x")
    with h5py.File(path, "r+") as file:
        file["train_x"], file["train_y"] = images(12), np.arange(12)
    with pytest.raises(MissingDatasetError, match=r"there is no dataset 'labels'; .*; likely images='images', labels='ans'"):
        fastprep.Loader(path, 4, None, mean=None)


def test_a_guess_is_said(tmp_path, capsys):
    for name, words in (
        ("first", "     guessed, axes NCHW: (40, 3, 24, 20) looks like (N, C, H, W), channels first"),
        (
            "grey",
            "     guessed, axes NWH: MATLAB has written it, which stores axes in reverse order, and 40 labels say which axis",
        ),
        ("flat", "     guessed, shape 16x16x1: rows of 256 numbers fit grey squares of 16 pixels"),
        ("flat colours", "squares of 16 pixels with 3 channels; if these come first, axes NCHW"),
        ("flat planes", "     guessed, shape 24x20x3 and axes NCHW: its attribute image_shape"),
        ("flat sides", "     guessed, shape 10x13x1: the file's attribute height, width"),
    ):
        assert show.main([str(KINDS[name].make(tmp_path, name))]) == 0
        assert words in capsys.readouterr().out


def test_a_mean_is_not_computed_by_a_guess(tmp_path, capsys):
    for name in ("first", "usual names", "flat"):
        path = KINDS[name].make(tmp_path, name)
        for options in ([], ["--store"]):
            assert show.main([str(path), "--mean", *options]) == 2
            assert "say" in capsys.readouterr().err


def test_options_go_into_the_lines(tmp_path, capsys):
    path = KINDS["answers"].make(tmp_path, "x")
    assert show.main([str(path), "--channels", "2,0"]) == 0
    printed = capsys.readouterr().out
    assert "labels='ans', channels=[2, 0], mean=None)" in line_after(printed, "in Python:")
    assert "--labels ans --channels 2,0" in line_after(printed, "as a command:")
    config = train.parse(shlex.split(line_after(printed, "to train:"))[3:])
    assert data.inspect_files(config).input_shape[2] == 2


def test_a_file_whose_name_begins_with_a_dash_is_no_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    KINDS["answers"].make(tmp_path, "x").rename("-train.h5")
    KINDS["answers"].make(tmp_path, "y").rename("-val.h5")
    with Contents("-train.h5", labels="ans") as contents:
        printed = "\n".join(loading_lines(contents, find_candidates("-train.h5")))
    assert show.main(shlex.split(line_after(printed, "as a command:"))[3:]) == 0
    config = train.parse(shlex.split(line_after(printed, "to train:"))[3:])
    assert data.inspect_files(config).val_counts.sum() == 30


def test_rows_whose_classes_have_other_names_do_not_train(tmp_path, capsys):
    path = KINDS["several"].make(tmp_path, "x")
    with h5py.File(path, "r+") as file:
        file["images"].attrs["class_names"] = ["a", "b"]
    assert show.main([str(path)]) == 0
    assert "3 columns have 2 names" in line_after(capsys.readouterr().out, "to train:")


def test_encoded_images_of_any_size_have_their_validation_beside(tmp_path, capsys):
    for name, sides in (("train", (20, 30)), ("val", (25, 25)), ("test", (9, 40))):
        rows = [by_pillow(image, "PNG") for image in images(10, shape=(*sides, 3))]
        write_rows(tmp_path / f"{name}.h5", rows)
    assert show.main([str(tmp_path / "train.h5")]) == 0
    assert f"--val {tmp_path}/val.h5 --mean compute" in line_after(capsys.readouterr().out, "to train:")


@pytest.mark.parametrize(
    ("name", "training"), [("val", "train"), ("test", "training"), ("my-Validation-2", "my-train-2"), ("a_dev", "a_train")]
)
def test_a_file_beside_one_for_training_is_not_trained_on_but_tests_a_run(name, training, tmp_path, capsys):
    path = tmp_path / f"{name}.h5"
    write_images(path, images(12), np.arange(12) % 2)
    assert show.main([str(path)]) == 0
    assert str(path) in line_after(capsys.readouterr().out, "to train:")
    (tmp_path / f"{training}.h5").touch()
    assert show.main([str(path)]) == 0
    printed = capsys.readouterr().out
    assert "to train:" not in printed
    assert line_after(printed, "to test a run:") == f"python -m fastprep.evaluate RUN --data {path}"


def test_images_without_labels_have_the_command_that_predicts(tmp_path, capsys):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["pixels"] = images(12)
    assert show.main([str(tmp_path / "x.h5"), "--images", "pixels"]) == 0
    words = shlex.split(line_after(capsys.readouterr().out, "to predict:"))
    config = evaluate.parse(words[3:])
    assert (config.data, config.images, config.labels) == (str(tmp_path / "x.h5"), "pixels", "none")


def test_masks_beside_images_without_labels_are_proposed_as_targets(tmp_path, capsys):
    path = tmp_path / "cells.h5"
    with h5py.File(path, "w") as file:
        file["data/img"], file["data/seg"] = images(20), np.zeros((20, *images(20).shape[1:3]), np.uint8)
    assert show.main([str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    line = lines[lines.index("or, if these are its masks:") + 1].strip()
    assert "labels=fastprep.Mask('data/seg')" in line
    names = {"fastprep": fastprep}
    exec(line, names)
    with names["loader"] as loader:
        assert next(iter(loader))[1].shape == (20, *images(20).shape[1:3])
