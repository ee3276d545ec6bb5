"""The show command: what it says, what it draws, and a mean that is stored only where there is none."""

import os

import h5py
import numpy as np
import pytest
from encoded_files import write_rows
from encoded_images import by_pillow
from PIL import Image

import fastprep
from fastprep import show
from fastprep.cli import overlays, plots
from fastprep.cli.columns import n_columns
from fastprep.diagnostics import drawings
from fastprep.errors import MissingMeanError
from fastprep.h5 import write_images
from fastprep.loader import Loader


def run(capsys, *arguments):
    status = show.main([str(argument) for argument in arguments])
    return status, *capsys.readouterr()


def check_refused(capsys, message, *arguments):
    status, printed, errors = run(capsys, *arguments)
    assert status == 2
    assert errors.startswith("fastprep.show: ")
    assert errors.count("\n") == 1
    assert message in errors
    return printed


@pytest.fixture
def built(tmp_path, rng):
    """A file with everything in it."""
    images = rng.integers(0, 256, (12, 30, 40, 3), dtype=np.uint8)
    names = [f"cat/{k}.jpg" for k in range(12)]
    labels = [0] * 8 + [2] * 4
    path = tmp_path / "train.h5"
    write_images(path, images, labels, std=[1, 2, 3], channel_order="RGB", class_names=["cat", "bird", "dog"], file_names=names)
    return path, images


# --- in words


def test_everything_is_said(built, capsys):
    path, images = built
    status, printed, errors = run(capsys, path)
    assert (status, errors) == (0, "")
    mean = images.mean(axis=(0, 1, 2))
    for line in (
        str(path),
        "  images       12 of 30x40x3, uint8, in dataset 'images'",
        "  read         contiguous",
        "  size         0.0 MiB",
        "  channels     RGB",
        f"  mean         R {mean[0]:.4f}, G {mean[1]:.4f}, B {mean[2]:.4f}",
        "  std          R 1.0000, G 2.0000, B 3.0000",
        "  file names   yes, such as cat/0.jpg",
        "  labels       int64 (12,)",
        f"  cat          8  66.7% {'█' * 40}",
        "  bird         0   0.0% ",
        f"  dog          4  33.3% {'█' * 20}",
    ):
        assert line in printed.splitlines(), line


def test_the_bars_of_classes_of_any_script_begin_in_one_column_of_a_terminal(tmp_path, capsys):
    names = ["红色圆形", "مربع أزرق", "⭐ star 🌟", "a name of more than thirty characters", "é"]
    images = np.zeros((20, 4, 4, 3), np.uint8)
    write_images(tmp_path / "x.h5", images, np.arange(20) % 5, channel_order="RGB", class_names=names)
    status, printed, _ = run(capsys, tmp_path / "x.h5")
    assert status == 0
    bars = [line for line in printed.splitlines() if "█" in line]
    assert len(bars) == 5
    assert {n_columns(line.partition("█")[0]) for line in bars} == {2 + 30 + 18}
    assert max(map(n_columns, bars)) == 79


def test_a_file_of_others(make_file, capsys):
    path, _, labels = make_file(mean=False, dtype="float32", chunks=(5, 12, 14, 3), compression="gzip")
    status, printed, _ = run(capsys, path)
    assert status == 0
    for text in (
        "23 of 12x14x3, float32",
        "chunked, 5 images each, filters gzip",
        "the file does not say in which order",
        "mean         none",
        "std          none",
        "file names   none",
    ):
        assert text in printed
    for label in range(3):
        assert f"  {label} {(labels == label).sum():>9}" in printed


def test_labels_that_are_no_classes(make_file, capsys):
    path, _, _ = make_file()
    for values, said in (
        (None, "none that loaders take: there is no dataset 'labels'"),
        (np.zeros((23, 4)), "float64 (23, 4)"),
        (np.arange(5), "none that loaders take: there must be one label for each"),
        (np.full(23, -1), "int64 (23,)"),
    ):
        with h5py.File(path, "r+") as file:
            file.pop("labels", None)
            if values is not None:
                file["labels"] = values
        status, printed, _ = run(capsys, path)
        assert status == 0
        assert said in printed
        assert "%" not in printed
    with h5py.File(path, "r+") as file:
        file["y"] = np.full((23, 1), 2**40)
    assert f"  {2**40} {23:>9} 100.0%" in run(capsys, path, "--labels", "y")[1]


def test_very_many_classes_are_shortened(tmp_path, capsys):
    labels = np.repeat(np.arange(100), np.arange(1, 101))
    write_images(tmp_path / "x.h5", np.zeros((len(labels), 2, 2, 1), np.uint8), labels, class_names=[f"c{k}" for k in range(100)])
    printed = run(capsys, tmp_path / "x.h5")[1]
    bars = printed.split("\n\n")[1].splitlines()
    assert len(bars) == 61
    assert bars[0].split()[:2] == ["c99", "100"]
    assert bars[30] == "  ... 40 classes between"
    assert bars[-1].split()[:2] == ["c0", "1"]


def test_names_and_std_of_another_kind_are_not_taken(make_file, capsys):
    path, _, _ = make_file()
    with h5py.File(path, "r+") as file:
        file["file_names"] = np.arange(23)
        file["images"].attrs["std"] = "large"
    status, printed, _ = run(capsys, path)
    assert status == 0
    assert "file names   none" in printed
    assert "std          none" in printed


def test_bad_input_is_one_line(make_file, tmp_path, capsys):
    path, _, _ = make_file()
    (tmp_path / "text.h5").write_text("text")
    (tmp_path / "there.png").write_text("precious")
    for message, arguments in (
        ("No such file", (tmp_path / "nowhere.h5",)),
        ("not an HDF5 file", (tmp_path / "text.h5",)),
        ("it has 'images' (23, 12, 14, 3) uint8, 'labels' (23,) int64 (--images takes another name)", (path, "--images", "x")),
        ("--store goes with --mean only", (path, "--store")),
        ("--n must be at least 1, got 0", (path, "--sheet", tmp_path / "x.png", "--n", 0)),
        ("exists already; it is only replaced when asked to (--overwrite)", (path, "--sheet", tmp_path / "there.png")),
    ):
        assert check_refused(capsys, message, *arguments) == ""
    check_refused(
        capsys, "--size: crop is larger than the image: 13x13 from 12x14", path, "--crops", tmp_path / "x.png", "--size", 13
    )
    check_refused(capsys, "--axes must be the letters H and W", path, "--axes", "XYZ")
    check_refused(capsys, "--size: size must be a positive integer", path, "--crops", tmp_path / "x.png", "--size", 0)
    assert (tmp_path / "there.png").read_text() == "precious"
    assert not (tmp_path / "x.png").exists()


# --- drawings


def caught(monkeypatch, name):
    """Note what a drawing is made of, and draw it all the same."""
    calls = []
    draw = getattr(drawings, name)
    monkeypatch.setattr(drawings, name, lambda *arguments: calls.append(arguments) or draw(*arguments))
    return calls


def test_sheet(built, tmp_path, capsys, monkeypatch):
    path, images = built
    calls = caught(monkeypatch, "draw_sheet")
    status, printed, _ = run(capsys, path, "--sheet", tmp_path / "sheet.png", "--n", 5, "--seed", 3)
    assert status == 0
    assert f"wrote {tmp_path / 'sheet.png'}" in printed
    with Image.open(tmp_path / "sheet.png") as drawing:
        assert drawing.format == "PNG"
    ((drawn, titles, heading, _),) = calls
    assert heading == "5 of 12 images of train.h5"
    samples = [next(k for k, image in enumerate(images) if np.array_equal(image, drawn_image)) for drawn_image in drawn]
    assert len(set(samples)) == 5
    assert titles == ["cat" if sample < 8 else "dog" for sample in samples]
    run(capsys, path, "--sheet", tmp_path / "sheet.png", "--overwrite")
    assert sorted(np.stack(calls[1][0]).tobytes()) == sorted(images.tobytes())  # all there are
    run(capsys, path, "--sheet", tmp_path / "sheet.png", "--overwrite", "--n", 5, "--seed", 4)
    assert not np.array_equal(calls[2][0], drawn)


@pytest.mark.parametrize(
    ("order", "picked"), [("BGR", [2, 1, 0]), ("RGBA", [0, 1, 2]), ("L", [0]), (None, [0, 1, 2]), ("XY", [0])]
)
def test_channels_are_drawn_as_rgb_or_grey(tmp_path, rng, capsys, monkeypatch, order, picked):
    images = rng.integers(0, 256, (1, 6, 7, len(order or "123")), dtype=np.uint8)
    write_images(tmp_path / "x.h5", images, [0], channel_order=order)
    calls = caught(monkeypatch, "draw_sheet")
    run(capsys, tmp_path / "x.h5", "--sheet", tmp_path / "x.png")
    np.testing.assert_array_equal(calls[0][0], images[..., picked])
    assert ("order of channels not stored: drawn as RGB" in calls[0][2]) == (order is None)


@pytest.mark.parametrize(("dtype", "highest"), [("float32", 1.0), ("float64", 255.0), ("uint16", 4095.0)])
def test_values_of_any_range_are_drawn(make_file, tmp_path, capsys, monkeypatch, dtype, highest):
    path, images, _ = make_file(n=4)
    images[0, 0, 0, 0] = 255
    with h5py.File(path, "r+") as file:
        del file["images"]
        file["images"] = (images * (highest / 255)).astype(dtype)
    calls = caught(monkeypatch, "draw_sheet")
    assert run(capsys, path, "--sheet", tmp_path / "x.png")[0] == 0
    assert np.abs(np.stack(calls[0][0]).astype(int) - images).max() <= (1 if dtype == "uint16" else 0)


@pytest.mark.parametrize("mean", [True, False])
def test_crops_are_what_training_sees(built, tmp_path, capsys, monkeypatch, mean):
    path, images = built
    if not mean:
        with h5py.File(path, "r+") as file:
            del file["images"].attrs["mean"]
    calls = caught(monkeypatch, "draw_crops")
    assert run(capsys, path, "--crops", tmp_path / "crops.png", "--seed", 5)[0] == 0
    with Image.open(tmp_path / "crops.png") as drawing:
        assert drawing.format == "PNG"
    ((rows, heading, _),) = calls
    assert ("mean added back" in heading) == mean
    assert len(rows) == 6
    crop = fastprep.RandomCrop(26, mirror=True)
    used = []
    for caption, (whole, *crops), titles, over in rows[:5]:
        assert over == ()
        sample = next(k for k, image in enumerate(images) if np.array_equal(image, whole))
        used.append(sample)
        assert caption.startswith("cat: " if sample < 8 else "dog: ")
        assert titles == ["whole", *(f"epoch {k}" for k in range(1, 10))]
        for epoch, patch in enumerate(crops):
            ((_, y, x, mirrored),) = crop.table(30, 40, np.array([sample]), 5, epoch)
            wanted = images[sample, y : y + 26, x : x + 26]
            np.testing.assert_array_equal(patch, wanted[:, ::-1] if mirrored else wanted)
    caption, ten, titles, _ = rows[5]
    table = fastprep.TenCrop(26).table(30, 40, np.array(used[:1]), 0, 0)
    for drawn_image, (_, y, x, mirrored) in zip(ten, table, strict=True):
        wanted = images[used[0], y : y + 26, x : x + 26]
        np.testing.assert_array_equal(drawn_image, wanted[:, ::-1] if mirrored else wanted)
    assert titles[2] == "bottom right"
    assert titles[7] == "bottom right, mirrored"


@pytest.mark.parametrize("option", ["trivial", "rand:3:20"])
def test_crops_are_drawn_with_the_policy_of_training(built, tmp_path, capsys, monkeypatch, option):
    path, images = built
    calls = caught(monkeypatch, "draw_crops")
    assert run(capsys, path, "--crops", tmp_path / "crops.png", "--seed", 5, "--policy", option)[0] == 0
    policy = fastprep.TrivialAugment() if option == "trivial" else fastprep.RandAugment(3, 20)
    with Loader(path, len(images), fastprep.RandomCrop(26, mirror=True), policy=policy, mean=None, seed=5) as loader:
        batches = [loader.batch(epoch, 0)[0].copy() for epoch in range(9)]
    for row in calls[0][0][:5]:
        whole, *crops = row.images
        sample = next(k for k, image in enumerate(images) if np.array_equal(image, whole))
        for epoch, drawn in enumerate(crops):
            # the mean is subtracted and added again, in float32, before values are rounded
            assert np.abs(drawn - np.clip(batches[epoch][sample], 0, 255)).max() <= 0.501
    check_refused(capsys, "--policy: goes with --crops", path, "--policy", option)
    check_refused(capsys, "--policy must be trivial, rand, or", path, "--crops", tmp_path / "x.png", "--policy", "auto")


def test_standardised_crops_are_drawn_around_grey(built, tmp_path, capsys, monkeypatch):
    calls, (path, _) = caught(monkeypatch, "draw_crops"), built
    assert run(capsys, path, "--crops", tmp_path / "crops.png", "--size", 20, "--seed", 3, "--standardize")[0] == 0
    ((rows, heading, _),) = calls
    assert heading.endswith("standardised, grey for 0, and black and white two standard deviations away")
    with h5py.File(path) as file:
        images, order = file["images"][()], file["images"].attrs["channel_order"].decode()
    rgb = [order.index(letter) for letter in "RGB"]
    whole = [next(k for k in range(len(images)) if np.array_equal(images[k][..., rgb], row.images[0])) for row in rows[:5]]
    with Loader(path, len(images), fastprep.RandomCrop(20, mirror=True), seed=3, standardize=True, device="cpu") as loader:
        for epoch in range(9):
            x, _ = loader.batch(epoch, 0)
            wanted = np.clip(np.rint((np.asarray(x)[..., rgb] + 2) * (255 / 4)), 0, 255)
            for row, sample in zip(rows[:5], whole, strict=True):
                np.testing.assert_array_equal(row.images[1 + epoch], wanted[sample])
    check_refused(capsys, "--standardize: goes with --crops", path, "--standardize")


@pytest.mark.parametrize("names", ["rgb=images,depth=masks", "images,masks", "{'a': 'images'}"])
def test_names_of_several_inputs_are_refused_with_the_way_out(built, capsys, names):
    way_out = "a network of several inputs is for Python, fastprep.Loader(..., images={...})"
    check_refused(capsys, way_out, built[0], "--images", names)


@pytest.fixture
def with_targets(tmp_path, rng):
    """A file with masks, boxes and points beside its images; their names are those of the options."""
    path, size = tmp_path / "targets.h5", (12, 30, 40)
    with h5py.File(path, "w") as file:
        file["images"] = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        file["masks"] = rng.integers(0, 4, size, dtype=np.uint8)
        file["boxes"] = [[[3, 4, 5, 6, 1], [10, 11, 30, 4, 2]]] * 12
        file["points"] = rng.uniform(5, 25, (12, 3, 2))
        file["across"] = file["masks"][()].swapaxes(1, 2)
        file["first"], file["depth"] = np.zeros((12, 3, 30, 40), "u1"), np.full(size, np.nan)
    return path


def test_masks_boxes_and_points_lie_over_the_crops_as_a_loader_gives_them(with_targets, tmp_path, capsys, monkeypatch):
    calls = caught(monkeypatch, "draw_crops")
    options = ["--masks", "masks", "--boxes", "boxes", "--box-format", "xywh", "--points", f"{with_targets}:points", "--turn"]
    assert run(capsys, with_targets, "--crops", tmp_path / "crops.png", "--seed", 5, *options)[0] == 0
    with Image.open(tmp_path / "crops.png") as drawing:
        assert drawing.format == "PNG"
    labels = {
        "masks": fastprep.Mask("masks"),
        "boxes": fastprep.Boxes("boxes", format="xywh"),
        "points": fastprep.Points("points"),
    }
    with h5py.File(with_targets) as file:
        images = file["images"][()]
    ((rows, _, _),) = calls
    samples = [next(k for k, image in enumerate(images) if np.array_equal(image, row.images[0])) for row in rows[:5]]
    crop = fastprep.RandomCrop(26, mirror=True, turn=True)
    for seen, first, n in ((crop, 1, 9), (None, 0, 1), (fastprep.TenCrop(26), 0, 10)):
        with Loader(with_targets, 12, seen, labels=labels, mean=None, seed=5) as loader:
            batches = [loader.batch(epoch, 0)[1] for epoch in range(9)]
        for row, sample in zip(rows[:5], samples, strict=True) if n < 10 else [(rows[5], samples[0])]:
            assert len(row.overlays) == len(row.images) == 10
            for k, overlay in enumerate(row.overlays[first : first + n]):
                y, place = (batches[k], sample) if n < 10 else (batches[0], 10 * sample + k)
                np.testing.assert_array_equal(overlay.masks, y["masks"][place])
                np.testing.assert_array_equal(overlay.points, y["points"][place])
                left, top, width, height, kind = np.asarray(y["boxes"])[place].T
                np.testing.assert_array_equal(overlay.boxes.T, [left, top, left + width, top + height, kind])


def test_masks_and_boxes_lie_over_encoded_images_of_different_sizes(tmp_path, rng, capsys, monkeypatch):
    calls = caught(monkeypatch, "draw_crops")
    masks = [rng.integers(0, 9, (20 + 2 * k, 31 - k)).astype(np.uint8) for k in range(7)]
    images = [np.repeat(mask[..., None] * 20, 3, axis=2) for mask in masks]
    path = write_rows(tmp_path / "a.h5", [by_pillow(image, "PNG") for image in images])
    write_rows(path, [by_pillow(mask, "PNG") for mask in masks], "masks")
    with h5py.File(path, "a") as file:
        file["boxes"] = np.tile([0.25, 0.5, 0.75, 1], (7, 1, 1))
    options = ["--images", "images", "--masks", "masks", "--boxes", "boxes", "--box-format", "rel_xyxy", "--augment", "imagenet"]
    assert run(capsys, path, "--crops", tmp_path / "crops.png", "--size", 12, *options)[0] == 0
    ((rows, _, _),) = calls
    for row in rows[:5]:
        height, width, _ = row.images[0].shape
        np.testing.assert_array_equal(row.overlays[0].masks * 20, row.images[0][..., 0])
        np.testing.assert_allclose(row.overlays[0].boxes, [[width / 4, height / 2, width * 3 / 4, height]], rtol=1e-6)  # float32
        assert all(overlay.masks.shape == (12, 12) for overlay in row.overlays[1:])


def test_a_drawing_has_colours_for_classes_and_a_scale_for_quantities(tmp_path):
    """Pixels of the drawing, where nothing else is near."""
    grey, mask = np.full((20, 20, 1), 100, np.uint8), np.zeros((20, 20))
    mask[:, 10:] = 3
    boxes, points = np.array([[2, 2, 18, 18.0], [-1, -1, -1, -1]]), np.array([[10, 10, 1.0], [5, 5, 0]])
    drawn = []
    for k, overlay in enumerate(
        [
            overlays.Overlay(),
            overlays.Overlay(masks=mask.astype(np.uint8)),
            overlays.Overlay(masks=mask),
            overlays.Overlay(masks=np.eye(4, dtype=np.uint8)[mask.astype(int)][..., 1:]),
            overlays.Overlay(boxes=boxes),
            overlays.Overlay(points=points),
        ]
    ):
        plots.draw_crops([plots.CropRow("", [grey], [""], [overlay])], "", tmp_path / f"{k}.png")
        with Image.open(tmp_path / f"{k}.png") as drawing:
            drawn.append(np.asarray(drawing.convert("RGB")).astype(int))
    plain, classes, quantity, channels, box, point = drawn
    for changed in drawn[1:]:
        assert changed.shape == plain.shape
    differs = (classes != plain).any(axis=2)
    left, right = np.split(differs[:, np.flatnonzero(differs.any(axis=0))[0] - 20 :], [20], axis=1)
    assert not left.any()
    assert right.any()
    np.testing.assert_array_equal(classes, channels)
    assert (quantity != plain).any(axis=2).sum() > 1.8 * differs.sum()  # a quantity of 0 has a colour, too
    assert 0 < (point != plain).any(axis=2).sum() < (box != plain).any(axis=2).sum() < differs.sum()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--masks", "none"], "(--masks takes another name)"),
        (["--boxes", "none"], "(--boxes takes another name)"),
        (["--masks", "points"], "--mask-axes"),
        (["--masks", "x.h5:masks"], "--masks='x.h5:masks': there is no file"),
        (["--masks", "across"], "say which: --mask-axes"),
        (["--masks", "masks", "--augment", "strong"], "--masks: MixUp and CutMix can't mix them; --mixup 0 --cutmix 0"),
        (["--boxes", "boxes", "--box-format", "corners"], "--box-format must be one of xyxy"),
        (["--box-format", "xywh"], "--box-format goes with --boxes only"),
        (["--mask-axes", "NWH"], "--mask-axes goes with --masks only"),
        (["--masks", "masks", "--mask-axes", "xyz"], "show: --mask-axes must be the letters H and W"),
        (["--masks", "first"], "channels first; say --mask-axes NCHW, if that is so"),
        (["--masks", "depth"], "its mask has NaN or infinity; mend the file\n"),
    ],
)
def test_targets_that_can_not_be_drawn_are_refused_in_the_words_of_the_command(with_targets, tmp_path, capsys, options, message):
    check_refused(capsys, message, with_targets, "--crops", tmp_path / "crops.png", *options)
    assert not (tmp_path / "crops.png").exists()


def test_masks_of_other_axes_are_drawn_and_targets_need_a_drawing(with_targets, tmp_path, capsys):
    options = ["--masks", "across", "--mask-axes", "NWH"]
    assert run(capsys, with_targets, "--crops", tmp_path / "crops.png", *options)[0] == 0
    check_refused(capsys, "--masks: goes with --crops", with_targets, *options)


def test_some_of_the_channels(tmp_path, rng, capsys, monkeypatch):
    images = rng.integers(0, 256, (6, 20, 22, 5), dtype=np.uint8)
    path = tmp_path / "x.h5"
    write_images(path, images, np.arange(6) % 2, std=[1, 2, 3, 4, 5], channel_order="RGBNX")
    sheets, crops = caught(monkeypatch, "draw_sheet"), caught(monkeypatch, "draw_crops")
    drawings = ["--sheet", tmp_path / "s.png", "--crops", tmp_path / "c.png", "--size", 20]
    for option, picked, named in (("4,2", [4, 2], "4, 2 of 5 (XB)"), ("NRG", [3, 0, 1], "3, 0, 1 of 5 (NRG)")):
        status, printed, _ = run(capsys, path, "--channels", option, *drawings, "--overwrite")
        assert status == 0
        assert "6 of 20x22x5, uint8" in printed
        assert f"  channels     {named}" in printed
        mean = images.mean(axis=(0, 1, 2))[picked]
        letters = named.split("(")[1]
        assert f"  mean         {letters[0]} {mean[0]:.4f}, {letters[1]} {mean[1]:.4f}" in printed
        assert f"  std          {letters[0]} {picked[0] + 1}.0000" in printed
        drawn = images[..., picked] if len(picked) == 3 else images[..., picked[:1]]
        np.testing.assert_array_equal(sheets.pop()[0], drawn)
        whole = crops.pop()[0][0][1][0]
        assert any(np.array_equal(whole, image) for image in drawn)
        assert f"{mean[0]:.4f}, {letters[1]} {mean[1]:.4f}" in run(capsys, path, "--mean", "--channels", option)[1]
    check_refused(capsys, "--store keeps the mean of all channels", path, "--mean", "--store", "--overwrite", "--channels", "0")
    check_refused(capsys, "--channels must be numbers from 0 to 4", path, "--channels", "5")


def test_channels_beyond_those_that_are_named(tmp_path, capsys):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = np.zeros((3, 8, 8, 5), "u1")
        file["images"].attrs["channel_order"] = "RGB"
    assert "  channels     4, 0 of 5\n" in run(capsys, tmp_path / "x.h5", "--channels", "4,0")[1]
    with Loader(tmp_path / "x.h5", 2, None, labels=None, mean=None, channels=[4, 0]) as loader:
        assert loader.channel_order is None


# --- the mean


def test_mean_is_printed_and_stored_where_there_is_none(make_file, capsys):
    path, images, _ = make_file(mean=False, dtype="float32")
    with pytest.raises(MissingMeanError, match=rf"python -m fastprep\.show {path} --mean --store") as error:
        Loader(path, 4, None)
    before = path.read_bytes()
    status, printed, _ = run(capsys, path, "--mean")
    mean = images.mean(axis=(0, 1, 2), dtype="float64")
    assert status == 0
    first, *components = printed.splitlines()
    assert first == f"mean of 23 images: {mean[0]:.4f}, {mean[1]:.4f}, {mean[2]:.4f}"
    variances, directions = np.linalg.eigh(np.cov(images.reshape(-1, 3).T.astype("float64"), bias=True))
    assert len(components) == 3
    for number, line in enumerate(components, 1):
        assert line.startswith(f"principal component {number}: standard deviation {variances[-number] ** 0.5:.4f} along ")
        shown = np.array([float(word) for word in line.partition("along ")[2].split(", ")])
        assert abs(shown @ directions[:, -number]) == pytest.approx(1, abs=1e-3)
    assert path.read_bytes() == before
    command = str(error.value).split("`")[1].split()[3:]  # as the error has it
    status, printed, _ = run(capsys, *command)
    assert status == 0
    assert f"stored as attributes mean and covariance of 'images' in {path}" in printed
    with Loader(path, 4, None) as loader:
        np.testing.assert_array_equal(loader.mean, fastprep.image_mean(path).astype("float32"))
        np.testing.assert_allclose(loader.mean, mean, rtol=1e-6)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["images"][()], images)


def test_a_mean_that_is_there_is_replaced_only_when_asked_to(make_file, capsys):
    path, images, _ = make_file()
    before = path.read_bytes()
    printed = check_refused(capsys, "has a mean already: 90.0000, 105.0000, 120.0000 (--overwrite)", path, "--mean", "--store")
    assert printed == ""
    assert path.read_bytes() == before
    assert run(capsys, path, "--mean", "--store", "--overwrite")[0] == 0
    with h5py.File(path) as file:
        np.testing.assert_allclose(file["images"].attrs["mean"], images.mean(axis=(0, 1, 2)))


def test_a_mean_of_the_wrong_kind_is_said_and_replaced_when_asked_to(make_file, capsys):
    path, _, _ = make_file()
    with h5py.File(path, "r+") as file:
        file["images"].attrs["mean"] = [1.0, 2.0]
    assert "attribute 'mean' must hold 3 finite numbers" in run(capsys, path)[1]
    check_refused(capsys, "has a mean already; it is only replaced when asked to (--overwrite)", path, "--mean", "--store")
    assert run(capsys, path, "--mean", "--store", "--overwrite")[0] == 0
    assert "must hold" not in run(capsys, path)[1]


def test_a_file_that_can_not_be_written_to(make_file, capsys):
    path, _, _ = make_file(mean=False)
    with h5py.File(path, "r"):
        printed = check_refused(capsys, "the mean can't be stored: ", path, "--mean", "--store")
    assert printed.startswith("mean of 23 images")
    path.chmod(0o400)
    if not os.access(path, os.W_OK):  # root may always
        check_refused(capsys, "Permission denied", path, "--mean", "--store")


def test_a_file_that_claims_many_images_can_be_drawn(tmp_path, capsys):
    path = tmp_path / "many.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("images", (2**39, 1, 1, 1), "uint8", fillvalue=7)
        file.create_dataset("labels", (2**39,), "uint8")
        file.create_dataset("file_names", (2**39,), "S2000")
    status, printed, errors = run(capsys, path, "--sheet", tmp_path / "sheet.png", "--n", 3)
    assert status == 0, errors
    assert "549,755,813,888 of 1x1x1" in printed
    assert "none that loaders take: the header says (549755813888,) uint8: 549755813888 bytes in memory, of which 0" in printed
    assert Image.open(tmp_path / "sheet.png").size


def test_a_mean_is_stored_and_the_file_is_drawn_by_one_command(make_file, tmp_path, capsys):
    path, *_ = make_file(mean=False)
    drawings = [str(tmp_path / "sheet.png"), str(tmp_path / "crops.png")]
    assert show.main([str(path), "--mean", "--store", "--sheet", drawings[0], "--crops", drawings[1], "--size", "5"]) == 0
    assert all(os.path.getsize(drawing) for drawing in drawings)
    assert "stored as" in capsys.readouterr().out
