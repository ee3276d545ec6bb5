"""The build command: every file accounted for, the split it claims, the same bytes however often it was interrupted."""

import csv
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, namedtuple

import h5py
import numpy as np
import pytest
from PIL import Image
from terminal import Terminal

import fastprep
from fastprep import build
from fastprep.building import staging
from fastprep.building.decode import read_image
from fastprep.building.decode_cache import Record
from fastprep.building.labels import by_pattern, compile_pattern
from fastprep.building.report import mark_twins, notes
from fastprep.building.scan import USED, SourceFile, find
from fastprep.building.split import shuffled, stratify
from fastprep.errors import InputError
from fastprep.loader import Loader

SIZE = 16
SPLITS = ("train", "val", "test")


def draw(path, seed, size=(20, 18)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def image_folder(tmp_path):
    """20 cats and 10 dogs."""
    for k in range(20):
        draw(tmp_path / "images" / "cat" / f"{k}.png", k)
    for k in range(10):
        draw(tmp_path / "images" / "dog" / f"{k}.png", 100 + k)
    return tmp_path / "images"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def run(images, out, *options, size=SIZE):
    return build.main([str(images), str(out), "--size", str(size), *map(str, options)])


def report(out):
    with open(out / "report.csv", newline="", encoding="utf-8") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def contents(out):
    return {path.name: path.read_bytes() for path in out.iterdir()}


def names_of(path):
    with h5py.File(path) as file:
        return [name.decode() for name in file["file_names"][()]]


def check_refused(capsys, message, *arguments):
    assert run(*arguments) == 2
    printed, errors = capsys.readouterr()
    assert printed == ""
    assert errors.startswith("fastprep.build: ")
    assert errors.count("\n") == 1
    assert message in errors


# --- files that are made


@pytest.mark.parametrize("channels", ["rgb", "grey"])
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_files_hold_the_images_and_what_is_known_of_them(image_folder, out, channels, compression):
    assert run(image_folder, out, "--channels", channels, "--compression", compression, "--seed", 3) == 0
    assert sorted(contents(out)) == ["mean.json", "report.csv", "sizes.png", "test.h5", "train.h5", "val.h5"]
    order = "RGB" if channels == "rgb" else "L"
    with h5py.File(out / "train.h5") as file:
        training = file["images"][()].astype(np.float64)
    seen = []
    for split, n in zip(SPLITS, (24, 3, 3), strict=True):
        names = names_of(out / f"{split}.h5")
        seen += names
        with h5py.File(out / f"{split}.h5") as file:
            images = file["images"]
            assert (images.shape, images.dtype) == ((n, SIZE, SIZE, len(order)), np.uint8)
            assert images.chunks == (None if compression == "none" else (1, SIZE, SIZE, len(order)))
            for name, image, label in zip(names, images, file["labels"], strict=True):
                np.testing.assert_array_equal(image, read_image(image_folder / name, SIZE, order).pixels)
                assert ("cat", "dog")[label] == name.split("/")[0]
            np.testing.assert_allclose(images.attrs["mean"], training.mean(axis=(0, 1, 2)), rtol=1e-14)
            np.testing.assert_allclose(images.attrs["std"], training.std(axis=(0, 1, 2)), rtol=1e-12)
            wanted = np.atleast_2d(np.cov(training.reshape(-1, len(order)).T, bias=True))
            np.testing.assert_allclose(images.attrs["covariance"], wanted, rtol=1e-10)
            assert images.attrs["channel_order"].decode() == order
            assert [name.decode() for name in images.attrs["class_names"]] == ["cat", "dog"]
            assert file.attrs["split"].decode() == split
            assert file.attrs["source"].decode() == str(image_folder)
            settings = json.loads(file.attrs["settings"])
            assert settings == {"size": SIZE, "channels": channels, "classes": "folder", "split": [0.8, 0.1, 0.1], "seed": 3}
            assert "Pillow" in file.attrs["software"].decode()
            mean = dict(zip(order, images.attrs["mean"], strict=True))
        assert {name: row["split"] for name, row in report(out).items() if row["split"] == split}.keys() == set(names)
    assert sorted(seen) == sorted(report(out))
    assert json.loads((out / "mean.json").read_text()) == mean
    with Image.open(out / "sizes.png") as drawing:
        assert drawing.format == "PNG"


def test_a_loader_trains_on_them(image_folder, out):
    assert run(image_folder, out) == 0
    with Loader(out / "train.h5", 5, fastprep.RandomCrop(12, mirror=True), shuffle=True) as train:
        x = np.concatenate([x for x, _ in train])
        assert x.shape == (24, 12, 12, 3)
        assert "contiguous" in train.stats()["files"][0]["read"]
        np.testing.assert_allclose(train.mean, fastprep.image_mean(out / "train.h5"), rtol=1e-6)
        assert train.class_names == ("cat", "dog")
        with Loader(out / "val.h5", 5, None, mean=out / "mean.json") as val:
            np.testing.assert_array_equal(val.mean, train.mean)


def test_keras_trains_on_them(image_folder, out):
    import keras

    assert run(image_folder, out) == 0
    crop = fastprep.CenterCrop(12)
    with fastprep.Loader(out / "train.h5", 8, crop, shuffle=True) as train, fastprep.Loader(out / "val.h5", 8, crop) as val:
        model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")])
        model.compile(keras.optimizers.Adam(1e-4), keras.losses.SparseCategoricalCrossentropy())
        history = model.fit(train, validation_data=val, epochs=2, verbose=0).history
    assert np.isfinite(history["val_loss"]).all()


def test_the_same_bytes_every_time_and_with_any_number_of_threads(image_folder, out, tmp_path):
    assert run(image_folder, out, "--workers", 1) == 0
    assert run(image_folder, tmp_path / "again", "--workers", 7) == 0
    assert contents(out) == contents(tmp_path / "again")
    assert run(image_folder, tmp_path / "other", "--seed", 1) == 0
    assert names_of(out / "train.h5") != names_of(tmp_path / "other" / "train.h5")


# --- the split


@pytest.mark.parametrize("shares", [(0.8, 0.1, 0.1), (0.5, 0.25, 0.25), (0.7, 0.3, 0.0), (1, 0, 0), (0.34, 0.33, 0.33)])
@pytest.mark.parametrize("sizes", [(100, 40, 20), (1, 1000, 3), (4,) * 100, (7, 13, 29, 2, 1), (10,) * 10])
def test_counts_are_exact_in_each_class_and_over_all(shares, sizes):
    found = [SourceFile(f"{label}/{k}", "", label=str(label)) for label, n in enumerate(sizes) for k in range(n)]
    stratify(shuffled(found, 0), shares)
    counts = Counter((one.label, one.split) for one in found)
    for label, n in enumerate(sizes):
        assert counts[str(label), "train"] >= 1
        for split, share in zip(SPLITS, shares, strict=True):
            got = counts[str(label), split]
            assert abs(got - share * n) < 2
            assert share > 0 or got == 0
            if n * share == round(n * share) and len(set(sizes)) == 1 and n >= 10:
                assert got == n * share
    many = [n for n in sizes if n > 1]
    for split, share in zip(SPLITS, shares, strict=True):
        ones = sum(n == 1 for n in sizes) * (split == "train")
        assert abs(sum(counts[str(label), split] for label in range(len(sizes))) - ones - share * sum(many)) < 2


def test_the_split_depends_on_names_and_seed_only():
    found = [SourceFile(f"a/{k}", "", label="a") for k in range(50)]
    order = [one.name for one in shuffled(found, 0)]
    assert [one.name for one in shuffled(found[::-1], 0)] == order
    assert [one.name for one in shuffled(found[:30], 0)] == [name for name in order if int(name[2:]) < 30]
    assert [one.name for one in shuffled(found, 1)] != order


def test_a_share_of_nothing_makes_no_file_and_removes_an_old_one(image_folder, out, capsys):
    assert run(image_folder, out) == 0
    assert run(image_folder, out, "--split", 0.9, 0.1, 0, "--overwrite") == 0
    assert sorted(contents(out)) == ["mean.json", "report.csv", "sizes.png", "train.h5", "val.h5"]
    capsys.readouterr()
    shutil.rmtree(image_folder / "cat")
    for k in range(2):
        draw(image_folder / "bird" / f"{k}.png", k)
    shutil.rmtree(image_folder / "dog")
    draw(image_folder / "dog" / "1.png", 5)
    assert run(image_folder, out, "--overwrite") == 0
    assert "too few images for val and test; no such file is written" in capsys.readouterr().err
    assert "val.h5" not in contents(out)


def test_folders_that_are_a_split_already(tmp_path, out, capsys):
    root = tmp_path / "images"
    for k, (split, name) in enumerate([("train", "cat"), ("train", "dog"), ("Validation", "cat"), ("test", "dog")] * 3):
        draw(root / split / name / f"{k}.png", k)
    draw(root / "train" / "loose.png", 1)
    check_refused(capsys, "which look like a split, not like classes; say --split-folders", root, out)
    assert run(root, out, "--split-folders") == 0
    for split, n in zip(SPLITS, (6, 3, 3), strict=True):
        names = names_of(out / f"{split}.h5")
        assert len(names) == n
        assert {name.split("/")[0].lower()[:3] for name in names} == {split[:3]}
    assert report(out)["train/loose.png"]["why"] == "in no folder of a class"


# --- classes


def test_classes_by_pattern(tmp_path, out):
    for k, name in enumerate(["dog.1.jpg", "dog.2.JPG", "cat.1.jpg", "cat.x.y.jpg", "cat-1.jpg", "deep/cat.3.jpg"]):
        draw(tmp_path / "all" / name, k)
    assert run(tmp_path / "all", out, "--pattern", "{class}.{}.jpg") == 0
    rows = report(out)
    assert {name: row["class"] for name, row in rows.items() if row["status"] == "used"} == {
        "dog.1.jpg": "dog",
        "dog.2.JPG": "dog",
        "cat.1.jpg": "cat",
        "cat.x.y.jpg": "cat",
        "deep/cat.3.jpg": "cat",
    }
    assert rows["cat-1.jpg"]["why"] == "does not match the pattern {class}.{}.jpg"


@pytest.mark.parametrize(
    ("pattern", "name", "label"),
    [
        ("{class}_{}.png", "a_b_c.png", "a"),
        ("{}_{class}.png", "7_b_c.png", "b_c"),
        ("{class}/{}", "cat/1.png", "cat"),
        ("{}/{class}/{}", "x/cat/1.png", "cat"),
        ("{class}/{}", "x/cat/1.png", None),
        ("img.{class}(1)+.png", "IMG.dog(1)+.PNG", "dog"),
        ("{class}.png", ".png", None),
    ],
)
def test_patterns(pattern, name, label):
    one = SourceFile(name, "")
    by_pattern([one], pattern)
    assert (one.label or None) == label


@pytest.mark.parametrize("pattern", ["", "{}.jpg", "{class}{class}", "{name}.{class}", "{class", "{class}}", "{{class}}"])
def test_bad_patterns(pattern):
    with pytest.raises(InputError, match=r"must name \{class\} once"):
        compile_pattern(pattern)


def write_list(tmp_path, text, encoding="utf-8"):
    (tmp_path / "labels.csv").write_bytes(text.encode(encoding))
    return tmp_path / "labels.csv"


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("file,label\na.png,x\nb.png,y\nsub/c.png,x\n", ()),
        ("label,other,file\nx,1,a.png\ny,2,b.png\nx,3,sub/c.png\n", ()),
        ("id,breed\na,x\nb,y\nsub/c,x\n", ()),
        ("\ufeffid;breed\r\na;x\r\nb;y\r\nsub/c;x\r\n", ()),
        ("a.png,x\n\nb.png,y\n./sub/c.png,x\n", ()),
        ("x\t1\ta.png\ny\t2\tb.png\nx\t3\tsub\\c.png\n", ("--file-column", 3, "--label-column", 1)),
        (
            "no,Kind,Path\n1,x,a.png\n2,y,b.png\n3,x,sub/c.png\n3,x,sub/c.png\n",
            ("--file-column", "path", "--label-column", "kind"),
        ),
    ],
)
def test_classes_by_a_list(tmp_path, out, capsys, text, options):
    for k, name in enumerate(["a.png", "b.png", "sub/c.png", "d.png"]):
        draw(tmp_path / "all" / name, k)
    assert run(tmp_path / "all", out, "--csv", write_list(tmp_path, text), *options) == 0
    rows = report(out)
    assert [rows[name]["class"] for name in ("a.png", "b.png", "sub/c.png", "d.png")] == ["x", "y", "x", ""]
    assert rows["d.png"]["why"] == "not named in the CSV"
    assert ("row 1 is the header" in capsys.readouterr().err) == (not text.startswith(("a.png", "x\t")))


def test_what_a_list_names_is_accounted_for(tmp_path, out, capsys):
    for k, name in enumerate(["a.png", "b.png", "c.png"]):
        draw(tmp_path / "all" / name, k)
    (tmp_path / "all" / "notes.txt").write_text("x")
    path = write_list(tmp_path, "file,label\na.png,x\nb.png,y\nc.png,\ngone.png,x\nnotes.txt,x\n")
    assert run(tmp_path / "all", out, "--csv", path) == 0
    rows = report(out)
    assert rows["gone.png"]["status"] == "missing"
    assert rows["gone.png"]["why"] == "named in row 5 of the CSV, but not there"
    assert rows["c.png"]["why"] == "no label in the CSV"
    assert rows["notes.txt"]["status"] == "skipped"
    assert "1 missing" in capsys.readouterr().out


def test_bad_lists(tmp_path, out, capsys):
    for k, name in enumerate(["a.png", "b.png", "b.jpg"]):
        draw(tmp_path / "all" / name, k)
    for text, message, options in (
        ("a.png,x\na.png,y\n", "row 2: 'a.png' is 'y', but 'x' in row 1", ()),
        ("a,x\nb,y\n", "row 2: 'b' may be any of b.jpg, b.png; write the ending", ()),
        ("a.png,x\nb.png\n", "row 2: 1 columns, of which 2 are needed", ()),
        ("", "is empty", ()),
        ("a.png\n", "there is no column 2", ()),
        ("a.png,x\n", "there is no column 7", ("--label-column", 7)),
        ("a.png,x\n", "has no column 'kind' in its first row: a.png, x", ("--label-column", "kind")),
        ("a.png,x\n", "can't both be in column 1", ("--label-column", 1)),
        ('a.png,"x\n', "is not CSV in UTF-8", ()),
        ("a.png,ä\n", "is not CSV in UTF-8", ()),
    ):
        path = write_list(tmp_path, text, "latin-1")
        check_refused(capsys, message, tmp_path / "all", out, "--csv", path, *options)
    check_refused(capsys, "No such file", tmp_path / "all", out, "--csv", tmp_path / "nowhere.csv")
    assert not out.exists()


def test_classes_that_are_numbers_are_in_their_order(tmp_path, out):
    for k in range(12):
        draw(tmp_path / "all" / str(k) / "x.png", k)
    assert run(tmp_path / "all", out) == 0
    with h5py.File(out / "train.h5") as file:
        assert [int(name) for name in file["images"].attrs["class_names"]] == list(range(12))


# --- every file is accounted for


def test_a_messy_folder(tmp_path, out, capsys):
    root = tmp_path / "images"
    for k in range(6):
        draw(root / "a" / f"{k}.PNG", k)
        draw(root / "Zürich" / "deep" / f"{k}.png", 10 + k)
    draw(root / "Zu\u0308rich" / "decomposed.png", 30)  # the same name for people
    draw(root / "one" / "0.png", 40)  # and the same name as another's
    draw(root / "a" / '日本 \n,".png', 41)
    raw = os.fsencode(root / "a") + b"/\xff.png"
    shutil.copy(draw(tmp_path / "latin.png", 42), raw)
    (root / "empty").mkdir()
    (root / "broken").mkdir()
    (root / "broken" / "zero.jpg").touch()
    draw(root / "broken" / "cut.png", 43, (300, 300))
    os.truncate(root / "broken" / "cut.png", 1000)
    (root / "a" / "text.jpg").write_text("no image")
    (root / "a" / "notes.txt").write_text("x")
    draw(root / "a" / ".hidden.png", 44)
    draw(root / ".git" / "x.png", 45)
    draw(root / "loose.png", 46)
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "again.png").symlink_to("0.PNG")
    os.link(root / "a" / "1.PNG", root / "a" / "hard.png")
    (root / "a" / "nowhere.png").symlink_to("gone.png")
    (root / "a" / "self.png").symlink_to("self.png")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    draw(tmp_path / "elsewhere" / "z.png", 47)
    os.mkfifo(root / "a" / "pipe.png")
    shutil.copy(root / "a" / "2.PNG", root / "one" / "copy of 2.png")
    assert run(root, out) == 0
    rows = report(out)
    there = {os.fsencode(os.path.relpath(os.path.join(folder, name), root)).decode("utf-8", "backslashreplace")
             for folder, _, names in os.walk(root) for name in names}  # fmt: skip
    folders = {"empty/", ".git/", "a/up/"}
    assert set(rows) == there - {".git/x.png"} | folders | {"linked/z.png"}
    used = {name for name, row in rows.items() if row["status"] == "used"}
    assert used == {
        *(f"a/{k}.PNG" for k in range(6)),
        *(f"Zürich/deep/{k}.png" for k in range(6)),
        "Zu\u0308rich/decomposed.png",
        "one/0.png",
        "one/copy of 2.png",
        "linked/z.png",
        'a/日本 \n,".png',
        "a/\\xff.png",
    } - ({"a/1.PNG"} if "a/1.PNG" not in used else set())
    assert {rows[name]["class"] for name in used} == {"a", "Zürich", "one", "linked"}
    for name, status, why in (
        ("broken/zero.jpg", "unreadable", "the file is empty"),
        ("broken/cut.png", "unreadable", "truncated"),
        ("a/text.jpg", "unreadable", "not an image of a kind that is read here"),
        ("a/notes.txt", "skipped", "not an image, by the ending of its name"),
        ("a/.hidden.png", "skipped", "hidden"),
        (".git/", "skipped", "hidden folder, not searched"),
        ("empty/", "skipped", "empty folder"),
        ("loose.png", "skipped", "in no folder of a class"),
        ("a/up/", "skipped", "link to a folder that is taken already: ."),
        ("a/again.png", "skipped", "the same file as a/0.PNG"),
        ("a/hard.png", "skipped", "the same file as a/1.PNG"),
        ("a/nowhere.png", "skipped", "link that leads nowhere"),
        ("a/self.png", "skipped", "link in a circle"),
        ("a/pipe.png", "skipped", "not a regular file"),
        ("one/copy of 2.png", "used", "same pixels as a/2.PNG"),
    ):
        assert rows[name]["status"] == status
        assert why in rows[name]["why"]
        assert bool(rows[name]["split"]) == (status == "used")
    assert sorted(name for split in SPLITS for name in names_of(out / f"{split}.h5")) == sorted(used)
    with h5py.File(out / "train.h5") as file:
        assert [name.decode() for name in file["images"].attrs["class_names"]] == ["Zürich", "a", "linked", "one"]
    printed, errors = capsys.readouterr()
    assert f"{len(rows)} files and folders: {len(used)} used, 3 unreadable, {len(rows) - len(used) - 3} skipped" in printed
    assert "not a class, because none of its images is used: broken" in errors
    assert "unreadable: broken/zero.jpg: the file is empty" in errors
    assert "1 image is the same as another, in another class; report.csv names them" in errors


def test_the_output_folder_inside_the_images_is_left_out(image_folder):
    assert run(image_folder, image_folder / "out") == 0
    assert run(image_folder, image_folder / "out", "--overwrite") == 0
    assert report(image_folder / "out")["out/"]["why"] == "the output folder"


def test_folders_and_files_that_may_not_be_read(image_folder, out):
    (image_folder / "cat" / "0.png").chmod(0)
    if os.access(image_folder / "cat" / "0.png", os.R_OK):
        pytest.skip("root may read everything")
    draw(image_folder / "locked" / "x.png", 1).parent.chmod(0)
    try:
        assert run(image_folder, out) == 0
    finally:
        (image_folder / "locked").chmod(0o700)
    rows = report(out)
    assert (rows["cat/0.png"]["status"], rows["cat/0.png"]["why"]) == ("unreadable", "Permission denied")
    assert rows["locked/"]["why"] == "folder that can't be read: Permission denied"


def test_links_between_folders_end(tmp_path):
    for name, other in (("a", "b"), ("b", "a")):
        draw(tmp_path / name / "x.png", 1)
        (tmp_path / name / "link").symlink_to(tmp_path / other)
    found = {one.name: one.why for one in find(tmp_path)}
    assert found == {
        "a/link/": "link to a folder that is taken already: b/",
        "a/x.png": "",
        "b/link/": "link to a folder that is taken already: a/",
        "b/x.png": "",
    }


def test_sixteen_bits_are_told(tmp_path, out, capsys):
    for label in ("a", "b"):
        draw(tmp_path / "all" / label / "x.png", 1 + ord(label))
    Image.fromarray(np.full((20, 20), 4000, np.uint16)).save(tmp_path / "all" / "a" / "wide.png")
    assert run(tmp_path / "all", out) == 0
    assert "1 images have 16 bits and were divided by 256" in capsys.readouterr().err
    assert report(out)["a/wide.png"]["why"] == "16 bits, values up to 4000, divided by 256"


def test_strict(image_folder, out, capsys):
    (image_folder / "cat" / "bad.jpg").write_bytes(b"x")
    check_refused(
        capsys,
        f"{str(image_folder / 'cat' / 'bad.jpg')!r}: not an image of a kind that is read here",
        image_folder,
        out,
        "--strict",
    )
    assert [path.name for path in out.iterdir()] == [build.WORK]
    assert run(image_folder, out) == 0
    assert report(out)["cat/bad.jpg"]["status"] == "unreadable"


# --- what is refused


def test_bad_arguments(image_folder, out, capsys, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "nothing").mkdir()
    draw(tmp_path / "single" / "a" / "x.png", 1)
    for message, arguments in (
        ("does not exist", (tmp_path / "nowhere", out)),
        ("is a file, not a folder", (tmp_path / "file", out)),
        ("is a file; the name of a folder is needed", (image_folder, tmp_path / "file")),
        ("must be three shares that add up to 1", (image_folder, out, "--split", 0.8, 0.1, 0.2)),
        ("must be three shares that add up to 1", (image_folder, out, "--split", 0, 0.5, 0.5)),
        ("must be three shares that add up to 1", (image_folder, out, "--split", 1.5, -0.5, 0)),
        ("must be three shares that add up to 1", (image_folder, out, "--split", "nan", 0, 0)),
        ("--workers must be at least 1, got 0", (image_folder, out, "--workers", 0)),
        ("--file-column and --label-column go with --csv only", (image_folder, out, "--label-column", "x")),
        ("one of --csv, --pattern and --split-folders at a time", (image_folder, out, "--pattern", "{class}", "--split-folders")),
        ("IMAGES has no image with a class. 0 files", (tmp_path / "nothing", out)),
        ("IMAGES has only one class, 'a'", (tmp_path / "single", out)),
        ("--pattern must name {class} once", (image_folder, out, "--pattern", "x")),
    ):
        check_refused(capsys, message, *arguments)
    assert run(image_folder, out, size=0) == 2
    assert "--size must be at least 1, got 0" in capsys.readouterr().err
    assert not out.exists()


def test_nothing_readable_leaves_nothing(tmp_path, out, capsys):
    for label in ("a", "b"):
        (tmp_path / "all" / label).mkdir(parents=True)
        (tmp_path / "all" / label / "x.jpg").write_bytes(b"x")
    check_refused(capsys, "no image with a class. 2 files and folders: 0 used, 2 unreadable", tmp_path / "all", out)
    assert list(out.iterdir()) == []


def test_finished_files_are_replaced_only_when_asked_to(image_folder, out, capsys):
    assert run(image_folder, out) == 0
    before = contents(out)
    capsys.readouterr()
    check_refused(capsys, "holds train.h5, val.h5, test.h5, mean.json, report.csv, sizes.png already", image_folder, out)
    assert run(image_folder, out, "--overwrite", size=8) == 0
    assert contents(out)["train.h5"] != before["train.h5"]
    assert run(image_folder, out, "--overwrite") == 0
    assert contents(out) == before


def test_too_little_space(image_folder, out, capsys, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(1, 1, 2 * 30 * SIZE * SIZE * 3 - 1))
    check_refused(capsys, "MB free", image_folder, out)
    assert list(out.iterdir()) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(1, 1, 2 * 30 * SIZE * SIZE * 3))
    assert run(image_folder, out) == 0


@pytest.mark.parametrize("limit", [10_000, 20_000])
def test_a_disk_that_fills_up(image_folder, out, limit):
    """The limit on the size of files stands in for a full disk: the raw images take 23,040 bytes."""
    script = (
        "import resource, signal, sys; from fastprep import build; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); sys.exit(build.main(sys.argv[1:]))"
    )
    arguments = [sys.executable, "-c", script, str(image_folder), str(out), "--size", str(SIZE)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    assert f"[Errno 27] File too large: '{out / build.WORK / 'pixels'}'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in out.iterdir()] == [build.WORK]
    assert run(image_folder, out) == 0  # on a disk with room again


# --- interrupted builds


def test_a_build_at_a_time(image_folder, out, capsys):
    with staging.locked(out / build.WORK):
        check_refused(capsys, "another build is at work in", image_folder, out)
    assert run(image_folder, out) == 0


@pytest.fixture
def many(tmp_path):
    """Images that take about a second to decode."""
    for label in ("a", "b"):
        (tmp_path / "many" / label).mkdir(parents=True)
        first = draw(tmp_path / "many" / label / "0.png", ord(label), (700, 700))
        for k in range(1, 60):
            (tmp_path / "many" / label / f"{k}.png").write_bytes(first.read_bytes() + bytes([k]))
    return tmp_path / "many"


@pytest.mark.usefixtures("hangups")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_an_interrupted_build_goes_on_and_ends_the_same(many, out, tmp_path, number, monkeypatch):
    assert run(many, tmp_path / "whole") == 0
    process = start(many, out, 10)
    try:
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert [path.name for path in out.iterdir()] == [build.WORK]
    if number == signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 128 + number
        work = str(out / build.WORK)
        assert errors == f"\nfastprep.build: interrupted; what is done lies in {work!r}; run it again to go on\n"
    n_before = n_decoded(out)
    assert n_before >= 10
    read = []
    monkeypatch.setattr("fastprep.building.forms.read_image", lambda path, *more: read.append(path) or read_image(path, *more))
    assert run(many, out) == 0
    assert len(read) == 120 - n_before
    assert contents(out) == contents(tmp_path / "whole")


def start(images, out, n):
    """Return a process that has decoded n images at least."""
    arguments = [sys.executable, "-m", "fastprep.build", str(images), str(out), "--size", str(SIZE), "--workers", "1"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while n_decoded(out) < n and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.poll() is None
    return process


def n_decoded(out):
    try:
        return (out / build.WORK / "journal").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


class StopError(BaseException):
    """Ends a build in the middle of a test, as a signal would."""


def stop_after(monkeypatch, n):
    """End the build after n images."""
    read = []

    def read_some(path, *more):
        if len(read) == n:
            raise StopError
        read.append(path)
        return read_image(path, *more)

    monkeypatch.setattr("fastprep.building.forms.read_image", read_some)


def test_what_the_work_folder_holds_is_not_trusted(image_folder, out, tmp_path, monkeypatch):
    """Neither a line of the journal that was cut, nor pixels that are not there, nor other pixels than were decoded."""
    assert run(image_folder, tmp_path / "whole") == 0

    def cut_journal(work):
        os.truncate(work / "journal", (work / "journal").stat().st_size - 9)

    def cut_pixels(work):
        os.truncate(work / "pixels", 1000)

    def change_pixels(work):
        content = bytearray((work / "pixels").read_bytes())
        content[5000] ^= 1
        (work / "pixels").write_bytes(content)

    def lose_key(work):
        (work / "key").unlink()

    def rubbish(work):
        with open(work / "journal", "ab") as file:
            file.write(b'{"place": 3}\n\xff\n')

    for spoil in (cut_journal, cut_pixels, change_pixels, lose_key, rubbish):
        with monkeypatch.context() as patch:
            stop_after(patch, 17)
            with pytest.raises(StopError):
                run(image_folder, out, "--workers", 1)
        assert n_decoded(out) == 17
        spoil(out / build.WORK)
        assert run(image_folder, out) == 0
        assert contents(out) == contents(tmp_path / "whole"), spoil.__name__
        shutil.rmtree(out)


def test_the_journal_keeps_its_words(image_folder, out, monkeypatch):
    """So that a build which another version interrupted goes on."""
    stop_after(monkeypatch, 1)
    with pytest.raises(StopError):
        run(image_folder, out, "--workers", 1)
    (line,) = (out / build.WORK / "journal").read_text().splitlines()
    assert list(json.loads(line)) == ["place", "width", "height", "note", "sums", "squares", "products", "digest"]


@pytest.mark.parametrize("line", ["3", "[]", "{}", '{"place": "3"}', '{"place": 0, "width": 1}', "no JSON"])
def test_a_line_that_is_not_a_record_is_an_error(line):
    with pytest.raises((ValueError, TypeError)):
        Record.from_json(line.encode())


def test_other_settings_or_images_begin_anew(image_folder, out, tmp_path, monkeypatch, capsys):
    def other_size():
        return 12

    def other_image():
        draw(image_folder / "cat" / "0.png", 999, (50, 50))
        return SIZE

    for change in (other_size, other_image):
        with monkeypatch.context() as patch:
            stop_after(patch, 17)
            with pytest.raises(StopError):
                run(image_folder, out, "--workers", 1)
        size = change()
        capsys.readouterr()
        assert run(image_folder, out, size=size) == 0
        assert "beginning anew" in capsys.readouterr().err
        assert run(image_folder, tmp_path / change.__name__, size=size) == 0
        assert contents(out) == contents(tmp_path / change.__name__)
        shutil.rmtree(out)


def test_another_split_of_what_is_decoded_is_not_decoded_again(image_folder, out, monkeypatch):
    stop_after(monkeypatch, 17)
    with pytest.raises(StopError):
        run(image_folder, out, "--workers", 1)
    read = []
    monkeypatch.setattr("fastprep.building.forms.read_image", lambda path, *more: read.append(path) or read_image(path, *more))
    assert run(image_folder, out, "--split", 0.5, 0.5, 0, "--compression", "gzip") == 0
    assert len(read) == 13
    assert len(names_of(out / "val.h5")) == 15


def test_an_end_between_the_names_of_two_files(image_folder, out, tmp_path, monkeypatch, capsys):
    assert run(image_folder, tmp_path / "whole") == 0
    replace = os.replace

    for n in range(7):
        calls = []

        def replace_some(source, target, n=n, calls=calls):
            if "finished" in str(source):
                if len(calls) == n:
                    raise StopError
                calls.append(target)
            replace(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", replace_some)
            if n < 6:
                with pytest.raises(StopError):
                    run(image_folder, out)
                assert len(contents_without_work(out)) == n
                assert (out / "train.h5").exists() is False
            else:
                assert run(image_folder, out) == 0
        if n < 6:
            capsys.readouterr()
            assert run(image_folder, out) == 0
            assert "now have their names" in capsys.readouterr().out
        assert contents(out) == contents(tmp_path / "whole")
        shutil.rmtree(out)


def contents_without_work(out):
    return [path for path in out.iterdir() if path.name != build.WORK]


def test_an_end_while_files_are_written(image_folder, out, tmp_path, monkeypatch):
    assert run(image_folder, tmp_path / "whole") == 0

    def end(*arguments, **options):
        raise StopError

    with monkeypatch.context() as patch:
        patch.setattr("fastprep.building.write.draw_sizes", end)
        with pytest.raises(StopError):
            run(image_folder, out)
    assert contents_without_work(out) == []
    assert run(image_folder, out) == 0
    assert contents(out) == contents(tmp_path / "whole")


def test_an_interrupt_before_anything_is_done(image_folder, out, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastprep.building.scan.find", interrupt)
    assert run(image_folder, out) == 130
    assert capsys.readouterr().err == "\nfastprep.build: interrupted; nothing was written\n"


def test_no_thread_is_left_and_the_lock_is_free(image_folder, out, monkeypatch, no_thread_left):
    stop_after(monkeypatch, 5)
    with pytest.raises(StopError):
        run(image_folder, out)
    with open(out / build.WORK / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_progress_is_shown_on_a_terminal(image_folder, out):
    arguments = [sys.executable, "-m", "fastprep.build", str(image_folder), str(out), "--size", str(SIZE)]
    with Terminal() as terminal:
        done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=terminal.fd, timeout=120, check=False)
    assert done.returncode == 0
    for text in ("decoding", "30/30", "writing train.h5", "24/24", "left:"):
        assert text in terminal.shown


def test_twins_in_other_splits_and_classes_are_counted():
    places = (("a", "train"), ("a", "val"), ("b", "train"), ("b", "test"))
    files = [SourceFile(str(k), str(k), USED, label=label, split=split) for k, (label, split) in enumerate(places)]
    records = {k: Record(k, 9, 9, "", [], [], [], digest) for k, digest in enumerate("xxxy")}
    twins = mark_twins(files, records)
    assert twins == (2, 1, 1)
    assert notes(files, ["a", "b"], twins) == [
        "2 images are the same as others, 1 of them across splits, 1 of them in another class; report.csv names them"
    ]


def test_a_build_says_what_its_squares_cut_off_and_what_comes_next(tmp_path, out, capsys):
    for name, width in (("a/0.png", 41), ("a/1.png", 40), ("b/0.png", 20), ("b/1.png", 9)):
        draw(tmp_path / "images" / name, seed=width, size=(width, 20))
    half = "2 of 4 images lost more than half, because --resize crop keeps the middle; --resize pad keeps all\n"
    assert run(tmp_path / "images", out, "--split", "1", "0", "0") == 0
    printed = capsys.readouterr().out
    assert half in printed
    assert f"to look: python -m fastprep.show {out}/train.h5 --sheet sheet.png\n" in printed
    assert printed.endswith(f"to train: python -m fastprep.train --train {out}/train.h5 --val-split 0.2\n")
    assert run(tmp_path / "images", out, "--split", "0.5", "0.5", "0", "--resize", "pad", "--overwrite") == 0
    printed = capsys.readouterr().out
    assert "lost" not in printed
    assert printed.endswith(f"to train: python -m fastprep.train --train {out}/train.h5 --val {out}/val.h5\n")


def test_a_folder_without_classes_is_a_file_for_testing(tmp_path, out, capsys):
    for k, name in enumerate(("2.png", "10.png", "sub/3.png")):
        draw(tmp_path / "images" / name, seed=k)
    assert run(tmp_path / "images", out, "--labels", "none") == 0
    assert sorted(path.name for path in out.iterdir()) == ["report.csv", "sizes.png", "test.h5"]
    printed = capsys.readouterr().out
    assert "test.h5: 3 images of" in printed
    assert printed.endswith(f"to predict: python -m fastprep.evaluate RUN --data {out}/test.h5 --labels none\n")
    with h5py.File(out / "test.h5") as file:
        assert set(file) == {"images", "file_names"}
        assert "mean" not in file["images"].attrs
        names = [name.decode() for name in file["file_names"]]
        assert names == ["10.png", "2.png", "sub/3.png"]
        for name, image in zip(names, file["images"], strict=True):
            np.testing.assert_array_equal(image, read_image(tmp_path / "images" / name, SIZE).pixels)
    assert run(tmp_path / "images", out, "--labels", "none", "--overwrite", "--resize", "pad") == 0
    with h5py.File(out / "test.h5") as file:
        first = file["file_names"][0].decode()
        padded = read_image(tmp_path / "images" / first, SIZE, resize="pad").pixels
        np.testing.assert_array_equal(file["images"][0], padded)
        assert json.loads(file.attrs["settings"])["resize"] == "pad"
    capsys.readouterr()
    for options, problem in (
        (["--pattern", "{class}.png"], "--labels none goes without --csv, --pattern and --split-folders"),
        (["--split", "0.5", "0.5", "0"], "--labels none goes without --split"),
    ):
        check_refused(capsys, problem, tmp_path / "images", out, "--labels", "none", *options)
