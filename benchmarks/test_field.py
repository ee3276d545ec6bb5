"""The field on few images: do its contenders run, and are wrong pixels found out? What they measure here says nothing."""

import json
import os

import check
import field
import h5py
import numpy as np
import pytest
import report
from check import MEANS, SIZE, WrongPixels
from patches import Patches

HERE = ["memset", "numpy_h5py", "fastprep_loader", "tutorial", "tf_data", "keras_layers"]
"""Those that `pip install -e '.[bench]'` is enough for."""

N_IMAGES = 12


@pytest.mark.parametrize("crops", ["random", "ten"])
def test_field(tmp_path, capsys, crops):
    saved, image = tmp_path / "field.json", tmp_path / "field.png"
    threads = min(2, len(os.sched_getaffinity(0)))
    command = (
        f"--threads {threads} --mirror half --crops {crops} --rounds 1 --images {N_IMAGES} --ten-images {N_IMAGES} --batch 8"
    )
    assert field.main([*command.split(), "--only", *HERE, "--json", str(saved), "--plot", str(image)]) == 0
    (table,) = json.loads(saved.read_text())["tables"]
    wanted = [key for key in field.CONTENDERS if key.partition(":")[0] in HERE]
    without_ten = ["tutorial", "keras_layers"] if crops == "ten" else []
    assert [entry["key"] for entry in table["left_out"]] == without_ten
    assert [entry["key"] for entry in table["contenders"]] == [key for key in wanted if key not in without_ten]
    assert all([r["images"] for r in entry["rounds"]] == [N_IMAGES] for entry in table["contenders"])
    assert image.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert field.main(["--from", str(saved)]) == 0
    assert capsys.readouterr().out == printed


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


def test_report_without_the_references():
    entry = {"key": "a", "name": "A", "version": "", "note": "", "prepare_seconds": 0.0}
    entry["rounds"] = [{"images": 10, "seconds": 0.5, "cpu_seconds": 0.25}]
    table = {"threads": 1, "mirror": "none", "crops": "random", "batch": 8, "images": 10, "contenders": [entry], "left_out": []}
    document = {"machine": field.machine(), "command": "x", "rounds": 1, "tables": [table]}
    assert any(line.split() == ["A", "20", "-", "-", "-", "0.50"] for line in report.text(document).splitlines())


def crops(images, ten):
    patches = Patches(*images.shape[1:3], mirror=False, ten=ten)
    x = patches.empty(len(images))
    patches.fill(x, images)
    return x, range(len(images))
