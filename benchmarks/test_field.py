"""The field on few images: do its contenders run, and are wrong pixels found out? What they measure here says nothing."""

import json
import os

import boxes
import check
import field
import h5py
import numpy as np
import pytest
import report
from check import MEANS, SIZE, WrongPixels
from patches import Patches
from resized import ResizedCrops, by_cv2

HERE = ["memset", "numpy_h5py", "fastprep_loader", "tutorial", "tf_data", "keras_layers"]
"""Those that `pip install -e '.[bench]'` is enough for."""

JPEGS_HERE = ["jpeg_bare", "jpeg_fastprep", "jpeg_by_hand", "jpeg_tf_data"]
N_IMAGES = 12


@pytest.mark.parametrize("crops", ["random", "ten", "resized"])
def test_field(tmp_path, capsys, crops):
    saved, image = tmp_path / "field.json", tmp_path / "field.png"
    threads = min(2, len(os.sched_getaffinity(0)))
    command = (
        f"--threads {threads} --mirror half --crops {crops} --rounds 1 --images {N_IMAGES} --ten-images {N_IMAGES} --batch 8"
    )
    assert field.main([*command.split(), "--only", *HERE, "--json", str(saved), "--plot", str(image)]) == 0
    (table,) = json.loads(saved.read_text())["tables"]
    wanted = [key for key in field.CONTENDERS if key.partition(":")[0] in HERE]
    without = [] if crops == "random" else ["tutorial", "keras_layers"]
    assert [entry["key"] for entry in table["left_out"]] == without
    assert [entry["key"] for entry in table["contenders"]] == [key for key in wanted if key not in without]
    assert all([r["images"] for r in entry["rounds"]] == [N_IMAGES] for entry in table["contenders"])
    assert image.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert field.main(["--from", str(saved)]) == 0
    assert capsys.readouterr().out == printed


def test_field_of_jpegs(tmp_path):
    for package in ("cv2", "simplejpeg", "skimage", "tensorflow"):
        pytest.importorskip(package)
    saved = tmp_path / "field.json"
    command = f"--mirror half --crops jpeg --rounds 1 --jpegs {N_IMAGES} --batch 8"
    assert field.main([*command.split(), "--only", *JPEGS_HERE, "--json", str(saved)]) == 0
    (table,) = json.loads(saved.read_text())["tables"]
    assert [entry["key"] for entry in table["contenders"]] == JPEGS_HERE
    assert all([r["images"] for r in entry["rounds"]] == [N_IMAGES] for entry in table["contenders"])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x, n: (x - 300, n), "pixels without the mean lie in"),
        (lambda x, n: (x * 0, n), "do not vary"),
        (lambda x, n: (x, [0] * len(n)), "not every image once"),
        (lambda x, n: (x.astype(np.float64), n), "dtype must be float32"),
    ],
)
def test_what_can_be_no_crops_of_jpegs_is_found_out(tmp_path, spoil, message):
    pytest.importorskip("skimage")
    field.jpegs.write(tmp_path / "jpegs.h5", 4)
    x = np.random.default_rng(0).integers(0, 256, (4, 224, 224, 3)).astype(np.float32) - MEANS
    check.check_loosely([(x, range(4))], tmp_path / "jpegs.h5")
    with pytest.raises(WrongPixels, match=message):
        check.check_loosely([spoil(x, range(4))], tmp_path / "jpegs.h5")


def test_a_contender_that_fails_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "broken.py").write_text("raise ValueError('out of order')")
    monkeypatch.setattr(field, "PEERS", tmp_path)
    monkeypatch.setattr(field, "CONTENDERS", ("broken", "gone"))
    assert field.main(["--rounds", "1", "--images", "1"]) == 1
    out = capsys.readouterr().out
    assert "ValueError: out of order" in out
    assert "No such file" in out


@pytest.fixture
def few(tmp_path):
    path = tmp_path / "few.h5"
    field.write_images(path, 4)
    with h5py.File(path) as file:
        return path, file["images"][()]


@pytest.mark.parametrize("ten", [False, True])
def test_right_pixels_pass(few, ten):
    path, images = few
    assert check.check([crops(images, ten)], path, mirror=True, ten=ten) == 0
    x, numbers = crops(images, ten)
    assert check.check([(np.moveaxis(x, -1, -3), numbers)], path, mirror=True, ten=ten) == 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x, n: (x[::-1], n), "none of image"),
        (lambda x, n: (x[:, :, ::-1], n), "none of image"),
        (lambda x, n: (x + MEANS, n), "none of image"),
        (lambda x, n: (x + np.float32(0.01), n), "off by"),
        (lambda x, n: (x[:3], n[:3]), "not every image once"),
        (lambda x, n: (x.astype(np.float16), n), "dtype"),
        (lambda x, n: (x[:, 1:], n), "shape"),
    ],
)
def test_wrong_pixels_are_found_out(few, spoil, message):
    path, images = few
    with pytest.raises(WrongPixels, match=message):
        check.check([spoil(*crops(images, ten=False))], path, mirror=False, ten=False)


def test_wrong_ten_crops_are_found_out(few):
    path, images = few
    x, numbers = crops(images, ten=True)
    with pytest.raises(WrongPixels, match="neither"):
        check.check([(x[:, ::-1], numbers)], path, mirror=False, ten=True)


def test_one_place_for_a_whole_batch_is_found_out(few):
    path, images = few
    with h5py.File(path, "a") as file:
        many = np.resize(images, (16, *images.shape[1:]))
        del file["images"]
        file["images"] = many
    x = many[:, 3 : 3 + SIZE, 5 : 5 + SIZE].astype(np.float32) - MEANS
    with pytest.raises(WrongPixels, match="1 places only"):
        check.check([(x, range(16))], path, mirror=False, ten=False)


@pytest.fixture(scope="module")
def resized(tmp_path_factory):
    path = tmp_path_factory.mktemp("resized") / "gradients.h5"
    field.write_images(path, 64, resized=True)
    with h5py.File(path) as file:
        images = file["images"][()]
    crops = ResizedCrops(by_cv2(), mirror=True)
    x = crops.empty(len(images))
    crops.fill(x, images)
    return path, x, np.arange(len(images)), images


def test_right_resized_crops_pass(resized):
    path, x, numbers, _ = resized
    assert check.check([(x, numbers)], path, mirror=True, ten=False, resized=True) < boxes.MOST_OFF_WAVE


def _cut(images, side_y, side_x, *, places=lambda k: (k % 20, k % 23), how=None):
    """Return the same box of all images, at places of its own each."""
    import cv2

    results = []
    for k, image in enumerate(images):
        y, x = places(k)
        part = image[y : y + side_y, x : x + side_x]
        results.append(cv2.resize(part, (224, 224), interpolation=cv2.INTER_LINEAR if how is None else how))
    return np.stack(results).astype(np.float32) - MEANS


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x, n, i: (x, np.roll(n, 1)), "not of image"),
        (lambda x, n, i: (x[:, ::-1], n), "upside down"),
        (lambda x, n, i: (np.swapaxes(x, 1, 2), n), "no upright box"),
        (lambda x, n, i: (x[..., ::-1], n), "no upright box"),
        (lambda x, n, i: (x + MEANS, n), "out of image|not of image|no upright"),
        (lambda x, n, i: (_cut(i, 130, 130, how=0), n), "not interpolated"),
        (lambda x, n, i: (_cut(i, 50, 50), n), "area"),
        (lambda x, n, i: (_cut(i, 100, 170), n), "ratio"),
        (lambda x, n, i: (_cut(i, 180, 180), n), "areas are not drawn"),
        (lambda x, n, i: (_cut(i, 180, 180, places=lambda k: (3, 5)), n), "places only"),
        (lambda x, n, i: (x[:-1], n[:-1]), "not every image once"),
        (lambda x, n, i: (x[:, 1:], n), "shape"),
    ],
)
def test_wrong_resized_crops_are_found_out(resized, spoil, message):
    path, x, numbers, images = resized
    with pytest.raises(WrongPixels, match=message):
        check.check([spoil(x, numbers, images)], path, mirror=True, ten=False, resized=True)


def test_mirroring_that_nobody_asked_for_is_found_out(resized):
    path, x, numbers, _ = resized
    with pytest.raises(WrongPixels, match="nobody asked"):
        check.check([(x, numbers)], path, mirror=False, ten=False, resized=True)


def test_report_without_the_references():
    entry = {"key": "a", "name": "A", "version": "", "note": "", "prepare_seconds": 0.0}
    entry["rounds"] = [{"images": 10, "seconds": 0.5, "cpu_seconds": 0.25}]
    table = {"threads": 1, "mirror": "none", "crops": "random", "batch": 8, "images": 10, "contenders": [entry], "left_out": []}
    document = {"machine": field.machine(), "command": "x", "rounds": 1, "tables": [table]}
    assert any(line.split() == ["A", "20", "-", "-", "-", "0.50"] for line in report.text(document).splitlines())
    assert "A: " not in report.text(document).partition("\n\n")[0]
    entry["remark"] = "takes half of it"
    assert report.text(document).partition("\n\n")[0].endswith("\nA: takes half of it")


def crops(images, ten):
    patches = Patches(*images.shape[1:3], mirror=False, ten=ten)
    x = patches.empty(len(images))
    patches.fill(x, images)
    return x, range(len(images))
