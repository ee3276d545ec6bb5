"""Shapes that are probably not (N, H, W, C): each of them, wherever images are read, and the argument that settles it."""

import contextlib

import h5py
import numpy as np
import pytest

import fastprep
from fastprep import CenterCrop, RandomCrop, TenCrop, convert, show
from fastprep.cli.option_words import in_options
from fastprep.errors import DataError
from fastprep.h5.convert import rewrite
from fastprep.loader import Loader

DOUBTFUL = {
    "channels first": ((24, 3, 40, 64), 24, "looks like (N, C, H, W), channels first; say axes='NCHW'"),
    "channels first, square": ((24, 3, 64, 64), 24, "looks like (N, C, H, W), channels first"),
    "channels first, grey": ((24, 1, 28, 28), 24, "looks like (N, C, H, W), channels first"),
    "one image": ((48, 60, 3), None, "looks like one image (H, W, C)"),
    "one image of 14 bands": ((128, 128, 14), None, "looks like one image (H, W, C)"),
    "one image of 14 bands, not square": ((100, 120, 14), None, "looks like one image (H, W, C)"),
    "one image, channels first": ((3, 48, 60), None, "looks like one image (C, H, W)"),
    "channels first, five bands, counted": ((60, 5, 64, 72), 60, "looks like (N, C, H, W), channels first"),
    "channels first, ten bands": ((7, 10, 32, 32), None, "looks like (N, C, H, W), channels first"),
    "channels first, thirteen bands": ((20, 13, 64, 64), None, "looks like (N, C, H, W), channels first"),
    "N last": ((28, 28, 90), None, "looks like (H, W, N)"),
    "N last, counted": ((28, 30, 90), 90, "as many entries along axis 2 as there are labels, 90"),
    "N last, with channels": ((28, 30, 3, 90), None, "looks like (H, W, C, N)"),
    "N last, channels first": ((3, 28, 30, 90), None, "looks like (C, W, H, N), as R stores (N, H, W, C), or (C, H, W, N)"),
    "N last, channels first, counted": ((3, 28, 30, 90), 90, "as many entries along axis 3 as there are labels, 90"),
    "N second, counted": ((28, 90, 30), 90, "as many entries along axis 1 as there are labels, 90"),
}
PLAUSIBLE = [
    ((24, 64, 40, 3), 24),
    ((24, 64, 40, 1), None),
    ((24, 64, 40, 13), None),
    ((200, 64, 64, 200), 200),
    ((24, 28, 28), None),
    ((28, 28, 28), None),
    ((28, 28, 90), 28),
    ((3, 48, 60), 3),
    ((1, 48, 60), None),
    ((7, 5, 6, 3), 7),
    ((2, 4, 4, 4), None),
    ((20, 7, 7, 512), 20),
    ((20, 14, 14, 256), None),
    ((20, 10, 24, 64), None),
    ((20, 12, 50, 13), None),
    ((100, 300, 1, 64), 100),
]


def write(path, shape, n_labels=None, **attributes):
    with h5py.File(path, "w") as file:
        images = file.create_dataset("images", data=np.arange(np.prod(shape)).reshape(shape).astype(np.uint8))
        images.attrs.update(attributes)
        if n_labels is not None:
            file["labels"] = np.arange(n_labels) % 2
    return str(path)


def axes_of(shape):
    return "NHWC" if len(shape) == 4 else "NHW"


@pytest.mark.parametrize("case", DOUBTFUL)
def test_a_doubtful_shape_is_an_error_for_every_reader(tmp_path, case):
    shape, n_labels, words = DOUBTFUL[case]
    path = write(tmp_path / "a.h5", shape, n_labels)
    labels = None if n_labels is None else "labels"
    for read in (
        lambda axes: Loader(path, 2, None, mean=None, labels=labels, axes=axes).close(),
        lambda axes: fastprep.image_mean(path, axes=axes),
    ):
        with pytest.raises(DataError) as caught:
            read(None)
        text = str(caught.value)
        assert words in text
        assert f"axes='{axes_of(shape)}'" in text
        with contextlib.suppress(DataError) if n_labels not in (None, shape[0]) else contextlib.nullcontext():
            read(axes_of(shape))


@pytest.mark.parametrize("case", DOUBTFUL)
def test_a_doubtful_shape_is_an_error_for_the_commands(tmp_path, capsys, case):
    shape, n_labels, words = DOUBTFUL[case]
    path, before = write(tmp_path / "a.h5", shape, n_labels), (tmp_path / "a.h5").read_bytes()
    assert show.main([path]) == 0
    printed = capsys.readouterr().out
    assert words.split(";")[0] in printed
    assert "     guessed, axes " in printed
    for arguments in ([path, "--images", "images"], [path, "--mean"], [path, "--mean", "--store"]):
        assert show.main(arguments) == 2
        assert in_options(words) in capsys.readouterr().err
    assert convert.main([path, str(tmp_path / "new.h5")]) == 2
    assert in_options(words) in capsys.readouterr().err
    assert (tmp_path / "a.h5").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.h5"]
    assert show.main([path, "--axes", axes_of(shape)]) == 0
    assert convert.main([path, str(tmp_path / "new.h5"), "--axes", axes_of(shape)]) == 0


def test_both_axes_are_named_where_width_and_height_may_be_exchanged(tmp_path):
    path = write(tmp_path / "a.h5", (3, 28, 30, 90), 90)
    with pytest.raises(DataError, match="say axes='CWHN' or axes='CHWN', if that is so"):
        Loader(path, 2, None, mean=None)


@pytest.mark.parametrize(("shape", "n_labels"), PLAUSIBLE)
def test_a_plausible_shape_is_taken(tmp_path, shape, n_labels):
    path = write(tmp_path / "a.h5", shape, n_labels)
    with Loader(path, 2, None, mean=None, labels=None if n_labels is None else "labels") as loader:
        assert loader.n_samples == shape[0]


def test_matlab_s_files_are_transposed(tmp_path):
    path = write(tmp_path / "a.mat", (20, 30, 40), None, MATLAB_class=np.bytes_("uint8"))
    with pytest.raises(DataError, match=r"MATLAB has written them.*\(20, 30, 40\) is an array of \(40, 30, 20\).*axes='NWH'"):
        Loader(path, 4, None, mean=None, labels=None)
    with Loader(path, 4, None, mean=None, axes="NHW", labels=None) as loader:
        assert loader.output_shape == (30, 40, 1)


@pytest.mark.parametrize("attributes", [{}, {"MATLAB_class": np.bytes_("uint8")}], ids=["by shape", "by MATLAB"])
def test_axes_that_were_named_for_converting_need_not_be_named_again(tmp_path, attributes):
    path = write(tmp_path / "a.h5", (24, 3, 40, 64), 24, **attributes)
    rewrite(path, tmp_path / "b.h5", axes="NHWC")
    with Loader(tmp_path / "b.h5", 4, None) as loader:
        assert loader.output_shape == (3, 40, 64)


def test_axes_have_to_be_known_and_of_the_right_rank(tmp_path):
    path = write(tmp_path / "a.h5", (6, 20, 30, 3), 6)
    for axes in ("NCH", "nhwc", 4, "", "NHWCC", "NHWX", b"NHWC"):
        with pytest.raises(ValueError, match="axes must be"):
            Loader(path, 4, None, mean=None, axes=axes)
        with pytest.raises(ValueError, match="axes must be"):
            fastprep.image_mean(path, axes=axes)
    with pytest.raises(DataError, match=r"axes='NHW' are 3, but images have the shape \(6, 20, 30, 3\)"):
        Loader(path, 4, None, mean=None, axes="NHW")


def test_one_file_of_many_is_named(tmp_path):
    paths = [write(tmp_path / f"{k}.h5", (5, 20, 30, 3) if k < 3 else (5, 3, 20, 30), 5) for k in range(5)]
    with pytest.raises(DataError, match=r"3\.h5.*channels first"):
        Loader(paths, 4, None, mean=None)


FORMS = ["array", "list", "column", "row", "one-hot", "texts", "outputs", "named outputs", "other file", "row of another file"]


def labels_beside(folder, n_labels):
    with h5py.File(folder / "y.h5", "w") as file:
        file["y"], file["one_row"] = np.arange(n_labels), np.arange(n_labels)[None]
    return {
        "array": np.arange(n_labels),
        "list": list(range(n_labels)),
        "column": np.arange(n_labels)[:, None],
        "row": np.arange(n_labels)[None],
        "one-hot": np.eye(n_labels),
        "texts": np.array([f"class {k}" for k in range(n_labels)]),
        "outputs": (np.arange(n_labels), np.zeros(n_labels)),
        "named outputs": {"a": np.arange(n_labels), "b": f"{folder}/y.h5:y"},
        "other file": f"{folder}/y.h5:y",
        "row of another file": f"{folder}/y.h5:one_row",
    }


@pytest.mark.parametrize("form", FORMS)
def test_labels_that_are_elsewhere_say_which_axis_is_n(tmp_path, form):
    path = write(tmp_path / "x.h5", (28, 30, 90))
    labels = labels_beside(tmp_path, 90)[form]
    with pytest.raises(DataError, match=r"as many entries along axis 2 as there are labels, 90.*say axes='HWN'"):
        Loader(path, 4, None, mean=None, labels=labels)
    with Loader(path, 4, None, mean=None, labels=labels, axes="HWN") as loader:
        assert loader.n_samples == 90


@pytest.mark.parametrize("form", FORMS)
def test_labels_that_are_elsewhere_settle_a_doubt(tmp_path, form):
    path = write(tmp_path / "x.h5", (90, 30, 3))  # which without labels looks like one image (H, W, C)
    with pytest.raises(DataError, match="looks like one image"):
        Loader(path, 4, None, mean=None, labels=None)
    with Loader(path, 4, None, mean=None, labels=labels_beside(tmp_path, 90)[form]) as loader:
        assert (loader.n_samples, loader.output_shape) == (90, (30, 3, 1))


def test_labels_that_are_elsewhere_belong_to_each_of_several_files(tmp_path):
    paths = [write(tmp_path / f"x{k}.h5", (28, 30, 90)) for k in range(2)]
    for k in range(2):
        with h5py.File(tmp_path / f"y{k}.h5", "w") as file:
            file["y"] = np.arange(90)
    with pytest.raises(DataError, match="as many entries along axis 2 as there are labels, 90"):
        Loader(paths, 4, None, mean=None, labels=f"{tmp_path}/y*.h5:y")


def test_labels_of_another_file_count_for_show(tmp_path, capsys):
    path = write(tmp_path / "x.h5", (90, 30, 3))
    labels_beside(tmp_path, 90)
    assert show.main([path, "--images", "images", "--labels", f"{tmp_path}/y.h5:y"]) == 0
    assert "90 of 30x3x1" in capsys.readouterr().out
    assert show.main([path, "--images", "images"]) == 2


def test_a_mean_of_many_channels_is_stored_only_when_asked_for(tmp_path, capsys):
    path = write(tmp_path / "a.h5", (20, 30, 40, 17), 20)
    assert show.main([path, "--mean"]) == 0
    assert show.main([path, "--mean", "--store"]) == 2
    assert "17 numbers" in (text := capsys.readouterr().err)
    assert "--axes NHWC" in text
    for options, stored in (([], False), (["--axes", "NHWC"], True)):
        assert convert.main([path, str(tmp_path / "new.h5"), "--overwrite", *options]) == 0
        assert ("no mean is stored" in capsys.readouterr().err) == (not stored)
        with h5py.File(tmp_path / "new.h5") as file:
            assert ("mean" in file["images"].attrs) == stored
    assert show.main([path, "--mean", "--store", "--axes", "NHWC"]) == 0
    with h5py.File(path) as file:
        assert file["images"].attrs["mean"].shape == (17,)


def test_a_mean_of_sixteen_channels_is_stored(tmp_path):
    path = write(tmp_path / "a.h5", (20, 30, 40, 16), 20)
    assert show.main([path, "--mean", "--store"]) == 0


@pytest.mark.parametrize("shape", [(6, 20, 30), (6, 20, 30, 1), (6, 20, 30, 5), (6, 1, 20, 30)])
@pytest.mark.parametrize(
    ("crop", "fits"),
    [
        (None, True),
        (CenterCrop((20, 30)), True),
        (RandomCrop((20, 30)), True),
        (RandomCrop((20, 30), mirror=True), False),
        (RandomCrop((20, 30), flip=True), False),
        (RandomCrop((19, 30)), False),
        (CenterCrop(20), False),
        (TenCrop((20, 30)), False),
    ],
)
def test_masks_as_labels_need_whole_images(make_file, shape, crop, fits):
    path, *_ = make_file(n=6, height=20, width=30)
    with h5py.File(path, "r+") as file:
        file["masks"] = np.zeros(shape, np.uint8)
    if fits:
        with Loader(path, 4, crop, labels="masks") as loader:
            assert loader.labels.shape == shape
    else:
        with pytest.raises(DataError, match=r"dataset 'masks': labels have the shape .* 20x30, like masks; .*crop=None"):
            Loader(path, 4, crop, labels="masks")


@pytest.mark.parametrize(("axes", "width"), [("NCWH", 30), ("NWHC", 30), ("CWHN", 30), ("NCWH", 20), ("NWH", 20)])
def test_masks_that_lie_as_the_images_did_before_they_were_turned_are_an_error(tmp_path, axes, width):
    """Of square images, too, where nothing else would show it."""
    images, masks = np.zeros((4, 20, width, 3 if "C" in axes else 1), np.uint8), np.zeros((4, width, 20), np.uint8)
    stored = images.transpose(*("NHWC".index(letter) for letter in (axes if "C" in axes else f"{axes}C")))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"], file["masks"] = stored if "C" in axes else stored[..., 0], masks
        file["upright"] = masks.swapaxes(1, 2)
    options = {"batch_size": 2, "crop": None, "mean": None, "axes": axes}
    for labels in ("masks", ("masks", np.arange(4)), {"kind": np.arange(4), "mask": "masks"}):
        with pytest.raises(DataError, match=rf"'masks': .*axes the loader turns to 20x{width}; .*labels=masks\.swapaxes\(1, 2\)"):
            Loader(tmp_path / "a.h5", labels=labels, **options)
    for labels in (masks.swapaxes(1, 2), *["upright"] * (width != 20)):  # of square ones in a file nobody can tell
        with Loader(tmp_path / "a.h5", labels=labels, **options) as loader:
            assert loader.labels.shape == (4, 20, width)
    if axes == "NCWH":
        with h5py.File(tmp_path / "a.h5", "r+") as file:
            file["nchw"] = images.transpose(0, 3, 1, 2)
        with Loader(tmp_path / "a.h5", images="nchw", labels="upright", **{**options, "axes": "NCHW"}) as loader:
            assert loader.labels.shape == (4, 20, width)


def test_labels_of_other_shapes_are_no_masks(make_file, rng):
    path, *_ = make_file(n=6, height=20, width=30)
    boxes = rng.integers(0, 9, (6, 30, 20), np.uint8)
    with h5py.File(path, "r+") as file:
        file["boxes"] = boxes
    with Loader(path, 4, RandomCrop(10), labels="boxes") as loader:
        np.testing.assert_array_equal(loader.labels, boxes, strict=True)
