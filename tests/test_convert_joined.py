"""The convert command on images that have a dataset each, or lie in many files: one file comes out, with labels and all rows."""

import itertools
import os
import re
import sys

import h5py
import numpy as np
import pytest
from conversions import run

from fastprep.h5.convert import rewrite
from fastprep.loader import Loader

SHAPE = (7, 5, 3)
TEXTS = ["cat", "dog", "ibis", "cat", "élan", "dog"]


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "all.h5"


def check_refused(capsys, out, message, *arguments):
    capsys.readouterr()
    before = sorted(os.listdir(out.parent))
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert sorted(os.listdir(out.parent)) == before
    return error


def loaded(path, **arguments):
    with Loader(path, 4, None, mean=None, **arguments) as loader:
        batches = list(loader)
        return np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches]), loader.class_names


def write(path, images, name="images", **datasets):
    with h5py.File(path, "w") as file:
        file[name] = images
        for other, values in datasets.items():
            file[other] = values
    return path


def many_files(folder, images, sizes, **columns):
    """Write images to several files, of `sizes` images, with rows of columns."""
    starts, paths = np.cumsum([0, *sizes]), []
    for k, (first, last) in enumerate(itertools.pairwise(starts)):
        rows = {name: values[first:last] for name, values in columns.items()}
        paths.append(write(folder / f"part{k}.h5", images[first:last], **rows))
    return paths


# --- images that have a dataset each


@pytest.mark.parametrize("dtype", ["uint8", ">i8", "float64"])
@pytest.mark.parametrize("layout", [{}, {"chunks": (4, 3, 3), "compression": "gzip"}])
def test_a_group_of_images_becomes_one_dataset_and_all_else_is_kept(tmp_path, out, rng, dtype, layout):
    images, masks = rng.integers(0, 256, (12, *SHAPE)), rng.integers(0, 2, (12, 7, 5))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for k in rng.permutation(12):
            file.create_dataset(f"X/{k}", data=images[k].astype(dtype), **layout)
        file["X"].attrs["class_names"] = ["a", "b", "c"]
        file["labels"], file["masks"], file["more/notes"] = np.arange(12) % 3, masks, "kept"
        file.attrs["licence"] = "CC0"
    assert run(tmp_path / "x.h5", out, "--images", "X/") == 0
    x, y, names = loaded(out)
    np.testing.assert_array_equal(x, images)
    np.testing.assert_array_equal(y, np.arange(12) % 3)
    assert names == ("a", "b", "c")
    with h5py.File(out) as file:
        assert sorted(file) == ["file_names", "images", "labels", "masks", "more"]
        assert (file["images"].dtype, file["images"].chunks, file.attrs["licence"]) == (np.uint8, None, "CC0")
        np.testing.assert_array_equal(file["masks"][()], masks)
        assert list(file["file_names"].asstr()) == [f"X/{k}" for k in range(12)]
        np.testing.assert_allclose(file["images"].attrs["mean"], images.mean((0, 1, 2)))


def test_one_group_an_image_with_labels_and_names_of_their_own(tmp_path, out, rng, capsys):
    images = rng.integers(0, 256, (6, 3, *SHAPE[:2]), dtype=np.uint8)
    with h5py.File(tmp_path / "scans.h5", "w") as file:
        for k, text in enumerate(TEXTS):
            file[f"scan{k}/image"], file[f"scan{k}/label"] = images[k], text
            file[f"scan{k}/image"].attrs.update({"exposure": k, "channel_order": "RGB"})
        file["scan3/remark"] = "blurred"
    assert run(tmp_path / "scans.h5", out, "--images", "*/image", "--labels", "*/label", "--axes", "CHW") == 0
    assert "attributes that each image has by itself are left out: exposure" in capsys.readouterr().err
    x, y, names = loaded(out)
    np.testing.assert_array_equal(x, images.transpose(0, 2, 3, 1))
    assert names == tuple(sorted(set(TEXTS)))
    assert [names[k] for k in y] == TEXTS
    with h5py.File(out) as file:
        assert sorted(file) == ["file_names", "images", "labels", "scan3"], "groups that had nothing else are gone"
        assert file["scan3/remark"].asstr()[()] == "blurred"
        assert file["images"].attrs["channel_order"] == "RGB"


def test_names_that_are_taken_are_not_written_over(tmp_path, out, rng):
    images = rng.integers(0, 256, (3, *SHAPE), dtype=np.uint8)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for k in range(3):
            file[f"images/{k}.png"] = images[k]
        file["images/readme"], file["labels"] = "a text", np.arange(5)
        file["file_names"] = ["one", "two", "three"]
    write(tmp_path / "y.h5", np.array([2, 1, 0]), "y")
    assert run(tmp_path / "x.h5", out, "--images", "images/*.png", "--labels", f"{tmp_path}/y.h5:y") == 0
    with h5py.File(out) as file:
        assert file["images/readme"].asstr()[()] == "a text"
        np.testing.assert_array_equal(file["images_2"][()], images)
        assert (list(file["labels"]), list(file["labels_2"])) == ([0, 1, 2, 3, 4], [2, 1, 0])
        assert list(file["file_names"].asstr()) == ["one", "two", "three"]


def test_references_to_what_became_a_row_are_empty_and_noted(tmp_path, out, rng, capsys):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for k in range(3):
            file[f"X/{k}"] = rng.integers(0, 256, SHAPE, dtype=np.uint8)
        file["best"] = file["X/1"].ref
        file["again"] = file["X/2"]
    assert run(tmp_path / "x.h5", out, "--images", "X/") == 0
    assert "dataset '/best': 1 reference is empty now" in capsys.readouterr().err
    with h5py.File(out) as file:
        assert not file["best"][()]
        assert "again" not in file, "another name of an image is not another image"


# --- labels in other places


@pytest.mark.parametrize("values", [np.array([3, 0, 1, 2, 1, 0], ">i2"), np.eye(6, dtype="f4"), np.array(TEXTS, object)])
def test_labels_of_another_file_are_carried_along(tmp_path, out, rng, values):
    images = rng.integers(0, 256, (6, *SHAPE), dtype=np.uint8)
    write(tmp_path / "x.h5", images, "x")
    write(tmp_path / "y.h5", values, "y")
    assert run(tmp_path / "x.h5", out, "--images", "x", "--labels", f"{tmp_path}/y.h5:y") == 0
    x, y, names = loaded(out, images="x")
    np.testing.assert_array_equal(x, images)
    np.testing.assert_array_equal([names[k] for k in y] if values.dtype == object else y, values)


@pytest.mark.parametrize("second", [2**53 + 3, 2**63])
def test_integers_of_several_files_are_joined_as_integers_or_refused(tmp_path, out, rng, capsys, second):
    images = rng.integers(0, 256, (2, *SHAPE), np.uint8)
    write(tmp_path / "a.h5", images, labels=np.array([2**53 + 1, -1]))
    write(tmp_path / "b.h5", images, labels=np.array([second, 0], "u8"))
    arguments = tmp_path / "a.h5", tmp_path / "b.h5", out
    if second > 2**63 - 1:
        check_refused(capsys, out, f"a.h5' they are int64, and {second} is no int64; store them in one type", *arguments)
        return
    assert run(*arguments) == 0
    with h5py.File(out) as file:
        assert file["labels"][:].tolist() == [2**53 + 1, -1, second, 0]


def test_labels_in_a_field_stay_there(tmp_path, out, rng, capsys):
    records = np.array([(k, k % 2) for k in range(6)], [("age", "f4"), ("species", "i4")])
    images = rng.integers(0, 256, (6, *SHAPE), dtype=np.uint8)
    write(tmp_path / "x.h5", images, meta=records, short=np.arange(4))
    assert run(tmp_path / "x.h5", out, "--labels", "meta:species") == 0
    np.testing.assert_array_equal(loaded(out, labels="meta:species")[1], records["species"])
    out.unlink()
    check_refused(capsys, out, "there is no field 'size'", tmp_path / "x.h5", out, "--labels", "meta:size")
    check_refused(capsys, out, "one label for each of the 6 images", tmp_path / "x.h5", out, "--labels", "short")
    check_refused(capsys, out, "there is no file", tmp_path / "x.h5", out, "--labels", "gone.h5:y")


# --- many files


@pytest.mark.parametrize("how", ["a pattern", "names"])
def test_one_image_a_file_with_everything_beside_it(tmp_path, out, rng, how):
    images, masks = rng.integers(0, 256, (11, 6, 5, 4)), rng.integers(0, 2, (11, 6, 5, 3))
    (tmp_path / "slices").mkdir()
    for k in range(11):
        beside = {"mask": masks[k], "label": k % 2, "patient": f"p{k}", "affine": np.eye(4) * k}
        path = write(tmp_path / f"slices/slice_{k:02}.h5", images[k].astype("f8"), "image", **beside)
        with h5py.File(path, "r+") as file:
            file.attrs.update({"study": "A", "taken": k})
    names = [tmp_path / "slices/*.h5"] if how == "a pattern" else sorted((tmp_path / "slices").iterdir())
    assert run(*names, out, "--images", "image", "--axes", "HWC", "--labels", "label") == 0
    x, y, _ = loaded(out, images="image", labels="label")
    np.testing.assert_array_equal(x, images)
    np.testing.assert_array_equal(y, np.arange(11) % 2)
    with h5py.File(out) as file:
        assert sorted(file) == ["affine", "file_names", "image", "label", "mask", "patient"]
        np.testing.assert_array_equal(file["mask"][()], masks)
        np.testing.assert_array_equal(file["affine"][()], np.arange(11)[:, None, None] * np.eye(4))
        assert list(file["patient"].asstr()) == [f"p{k}" for k in range(11)]
        assert list(file["file_names"].asstr()) == [f"slice_{k:02}.h5" for k in range(11)]
        assert dict(file.attrs) == {"study": "A"}


@pytest.mark.parametrize("gzip", [[], ["--compression", "gzip"]])
def test_files_of_other_types_and_layouts_are_joined_as_one(tmp_path, out, rng, gzip, capsys):
    images, n = rng.integers(0, 256, (12, *SHAPE)), np.arange(12)
    kinds = {
        "u1": {},
        "i8": {"chunks": (2, 4, 5, 1), "compression": "gzip"},
        ">f4": {"chunks": (1, *SHAPE), "compression": "lzf"},
    }
    for k, (dtype, layout) in enumerate(kinds.items()):
        rows = slice(4 * k, 4 * k + 4)
        with h5py.File(tmp_path / f"part{k}.h5", "w") as file:
            file.create_dataset("images", data=images[rows].astype(dtype), **layout)
            text, encoding = ("éx", "utf-8") if k % 2 else ("x" * (k + 1), "ascii")
            file["labels"] = n[rows].astype(["i4", "i8", "u2"][k])
            file["name"] = np.array([text.encode()] * 4, h5py.string_dtype(encoding, k + 3))
            file["images"].attrs.update({"mean": [k, k, k], "channel_order": "BGR", "class_names": ["a", "b"]})
            file.attrs["part"] = k
            file["group"], file["unlike"], file[f"only{k}"] = k, np.zeros((4, k + 1)), n
    assert run(*(tmp_path / f"part{k}.h5" for k in range(3)), out, *gzip) == 0
    notes = capsys.readouterr().err
    assert "for each image: 'group', 'only0', 'only1', 'only2', 'unlike'" in notes
    assert "attributes that differ between the files are left out: part\n" in notes
    x, y, names = loaded(out)
    np.testing.assert_array_equal(x, images)
    np.testing.assert_array_equal(y, n)
    assert names == ("a", "b")
    with h5py.File(out) as file:
        assert sorted(file) == ["images", "labels", "name"]
        assert (file["images"].chunks is None) == (not gzip)
        assert list(file["name"].asstr()) == ["x"] * 4 + ["éx"] * 4 + ["xxx"] * 4
        np.testing.assert_allclose(file["images"].attrs["mean"], images.mean((0, 1, 2)))
        assert file["images"].attrs["channel_order"] == "BGR"


def test_groups_of_images_in_many_files(tmp_path, out, rng):
    images = rng.integers(0, 256, (6, *SHAPE), dtype=np.uint8)
    for k in range(2):
        with h5py.File(tmp_path / f"part{k}.h5", "w") as file:
            for row in range(3):
                file[f"X/{row}"], file[f"y/{row}"] = images[3 * k + row], TEXTS[3 * k + row]
    assert run(tmp_path / "part*.h5", out, "--images", "X/", "--labels", "y/") == 0
    x, y, names = loaded(out)
    np.testing.assert_array_equal(x, images)
    assert [names[k] for k in y] == TEXTS
    with h5py.File(out) as file:
        assert sorted(file) == ["file_names", "images", "labels"]
        assert list(file["file_names"].asstr())[2:4] == ["part0.h5:X/2", "part1.h5:X/0"]


def test_labels_of_another_file_for_many_files(tmp_path, out, rng):
    images = rng.integers(0, 256, (9, *SHAPE), dtype=np.uint8)
    paths = many_files(tmp_path, images, (2, 4, 3))
    write(tmp_path / "y.h5", np.arange(9)[::-1], "y")
    assert run(*paths, out, "--labels", f"{tmp_path}/y.h5:y") == 0
    np.testing.assert_array_equal(loaded(out)[1], np.arange(9)[::-1])


def test_flat_rows_of_many_files(tmp_path, out, rng):
    images = rng.integers(0, 256, (9, *SHAPE))
    paths = many_files(tmp_path, images.reshape(9, -1).astype("i8"), (4, 5), labels=np.arange(9))
    assert run(*paths, out, "--shape", "7x5x3") == 0
    np.testing.assert_array_equal(loaded(out)[0], images)


def test_files_that_do_not_fit_together_are_refused(tmp_path, out, rng, capsys):
    images = rng.integers(0, 256, (6, *SHAPE), dtype=np.uint8)
    good, other = many_files(tmp_path, images, (3, 3), labels=np.arange(6))

    def refused(message, **datasets):
        write(other, datasets.pop("images", images[3:]), **datasets)
        with h5py.File(other, "r+") as file:
            file["images"].attrs.update(datasets.get("attributes", {}))
        assert repr(str(other)) in check_refused(capsys, out, message, good, other, out)

    refused("a file has images of one size", images=images[3:, :5], labels=np.arange(3))
    refused("labels", images=images[3:])
    refused("labels are texts in some files and numbers in others", labels=["a", "b", "c"])
    refused("one label for each of the 3 images", labels=np.arange(2))
    refused("value 256.0 at row 0, column 0, channel 0", images=images[3:] * np.int64(0) + 256, labels=np.arange(3))
    for name, value in {"class_names": ["a", "b"], "channel_order": "BGR"}.items():
        write(other, images[3:], labels=np.arange(3))
        with h5py.File(other, "r+") as file:
            file["images"].attrs[name] = value
        check_refused(capsys, out, f"{name} is ", good, other, out)


def test_no_source_is_ever_the_target(tmp_path, out, rng, capsys):
    images = rng.integers(0, 256, (6, *SHAPE), dtype=np.uint8)
    paths = many_files(tmp_path, images, (2, 2, 2))
    assert run(*paths, out) == 0
    before = [path.read_bytes() for path in (*paths, out)]
    os.link(paths[1], out.parent / "linked.h5")
    check_refused(capsys, out, "exists already", *paths)
    for last in (paths[2], paths[1], out.parent / "linked.h5"):
        check_refused(capsys, out, "is a file that the images are read from", *paths[:3], last, "--overwrite")
    check_refused(capsys, out, "is a file that the images are read from", out.parent / "all*.h5", paths[0], out, "--overwrite")
    check_refused(capsys, out, "no file matches", tmp_path / "none*.h5", out.parent / "new.h5")
    assert [path.read_bytes() for path in (*paths, out)] == before


def test_images_and_rows_of_other_files_are_not_taken_unasked(tmp_path, out, rng, capsys):
    images = rng.integers(0, 256, (4, *SHAPE), dtype=np.uint8)
    paths = many_files(tmp_path, images, (2, 2), secret=np.arange(4))
    write(tmp_path / "theirs.h5", images[:2], "x")
    layout = h5py.VirtualLayout((2,), "i8")
    layout[:] = h5py.VirtualSource("part0.h5", "secret", (2,))
    with h5py.File(paths[1], "r+") as file:
        del file["images"], file["secret"]
        file["images"] = h5py.ExternalLink("theirs.h5", "x")
        file.create_virtual_dataset("secret", layout)
    message = f"the images lie in other files: '{tmp_path}/theirs.h5'; --from-other-files"
    check_refused(capsys, out, message, *paths, out)
    assert run(*paths, out, "--from-other-files") == 0
    with h5py.File(out) as file:
        np.testing.assert_array_equal(file["images"][2:], images[:2])
        assert "secret" not in file


def test_a_link_of_a_group_to_another_file_is_not_taken_unasked(tmp_path, out, rng, capsys):
    write(tmp_path / "theirs.h5", rng.integers(0, 256, SHAPE, dtype=np.uint8), "x")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["X/0"] = rng.integers(0, 256, SHAPE, dtype=np.uint8)
        file["X/1"] = h5py.ExternalLink("theirs.h5", "x")
    check_refused(capsys, out, "the images lie in other files", tmp_path / "x.h5", out, "--images", "X/")
    assert run(tmp_path / "x.h5", out, "--images", "X/", "--from-other-files") == 0
    with h5py.File(out) as file, h5py.File(tmp_path / "theirs.h5") as theirs:
        np.testing.assert_array_equal(file["images"][1], theirs["x"][()])
        assert "X" not in file


@pytest.mark.parametrize("stage", ["writing", "checking"])
@pytest.mark.parametrize("is_group", [True, False])
def test_an_interrupt_leaves_nothing(tmp_path, out, rng, stage, is_group):
    images = rng.integers(0, 256, (6, *SHAPE), dtype=np.uint8)
    paths = many_files(tmp_path, images, (2, 2, 2))
    if is_group:
        paths = tmp_path / "x.h5"
        with h5py.File(paths, "w") as file:
            for k in range(6):
                file[f"X/{k}"] = images[k]

    def interrupt(at, done, total):
        assert total == 6
        if at == stage and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rewrite(paths, out, "X/" if is_group else "images", progress=interrupt)
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("is_group", [True, False])
def test_every_image_is_read_back(tmp_path, out, rng, capsys, monkeypatch, is_group):
    images = rng.integers(0, 256, (6, *SHAPE), dtype=np.uint8)
    sources, module = many_files(tmp_path, images, (2, 2, 2)), sys.modules["fastprep.h5.convert.combine"]
    if is_group:
        sources, module = [tmp_path / "x.h5"], sys.modules["fastprep.h5.convert.rewrite"]
        with h5py.File(sources[0], "w") as file:
            for k in range(6):
                file[f"X/{k}"] = images[k]

    def damage(temporary, **_):
        with h5py.File(temporary, "r+") as file:
            file["images"][4, 3, 2, 1] ^= 1

    monkeypatch.setattr(module, "flush_to_disk", damage)
    options = ["--images", "X/"] if is_group else []
    check_refused(capsys, out, "sample 4: reading back what was written: it differs", *sources, out, *options)


def test_only_blocks_are_in_memory(tmp_path, out, rng, monkeypatch):
    images, masks = rng.integers(0, 256, (40, *SHAPE), dtype=np.uint8), rng.integers(0, 9, (40, 50))
    paths = many_files(tmp_path, images, (20, 20), masks=masks)
    largest = {"images": 0, "rows": 0}
    blocks, rows = sys.modules["fastprep.h5.convert.blocks"], sys.modules["fastprep.h5.convert.rows"]
    writing = sys.modules["fastprep.h5.write"].ImageWriter
    write_block, read_rows = writing.write, h5py.Dataset.__getitem__

    def note_block(writer, first, block):
        largest["images"] = max(largest["images"], block.nbytes)
        write_block(writer, first, block)

    def note_rows(dataset, selection, *more, **options):
        values = read_rows(dataset, selection, *more, **options)
        if dataset.name == "/masks":
            largest["rows"] = max(largest["rows"], values.nbytes)
        return values

    monkeypatch.setattr(blocks, "_BLOCK_BYTES", 600)
    monkeypatch.setattr(rows, "_BLOCK_BYTES", 900)
    monkeypatch.setattr(writing, "write", note_block)
    monkeypatch.setattr(h5py.Dataset, "__getitem__", note_rows)
    assert run(*paths, out) == 0
    monkeypatch.undo()
    assert largest == {"images": 5 * images[0].nbytes, "rows": 2 * masks[0].nbytes}
    with h5py.File(out) as file:
        np.testing.assert_array_equal(file["images"][()], images)
        np.testing.assert_array_equal(file["masks"][()], masks)


def test_names_may_stand_before_and_after_options(tmp_path, out, rng):
    images = rng.integers(0, 256, (4, *SHAPE), dtype=np.uint8)
    paths = many_files(tmp_path, images, (2, 2))
    for k, words in enumerate(([*paths, out], ["--round", *paths, out], [*paths, out, "--round"], [paths[0], "--round", out])):
        assert run(*words) == 0
        with h5py.File(out) as file:
            np.testing.assert_array_equal(file["images"][()], images if k < 3 else images[:2])
        out.unlink()


# --- names that are taken, and what all files say alike


def last_line_of(text):
    return text.strip().splitlines()[-1]


@pytest.mark.parametrize("labels", ["another file", "a group"])
@pytest.mark.parametrize("n_files", [1, 2])
def test_labels_that_get_another_name_are_loaded_as_the_report_says(tmp_path, out, rng, capsys, n_files, labels):
    images, wanted = rng.integers(0, 256, (6, *SHAPE), dtype=np.uint8), np.array([5, 3, 1, 4, 0, 2])
    paths = many_files(tmp_path, images, (6 // n_files,) * n_files, labels=np.arange(6))
    source = f"{write(tmp_path / 'truth.hdf', wanted, 'y')}:y"
    if labels == "a group":
        source = "y/"
        for k, path in enumerate(paths):
            with h5py.File(path, "r+") as file:
                for row in range(len(file["labels"])):
                    file[f"y/{row}"] = wanted[len(file["labels"]) * k + row]
                file["X"] = 0
                del file["X"]
                for row, image in enumerate(file["images"][()]):
                    file[f"X/{row}"] = image
    options = ["--images", "X/"] if labels == "a group" else []
    assert run(*paths, out, "--labels", source, *options) == 0
    printed = capsys.readouterr()
    assert "something else has the name 'labels': the new dataset is 'labels_2'" in printed.err
    report = last_line_of(printed.out)
    given = re.search(r"; load it with Loader\(.*?, \.\.\., (.*)\), in a command (.*)$", report)
    arguments = eval(f"dict({given[1]})")
    assert arguments["labels"] == "labels_2"
    assert given[2] == " ".join(f"--{name} {value}" for name, value in arguments.items())
    x, y, _ = loaded(out, **arguments)
    np.testing.assert_array_equal(x, images)
    np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize("n_files", [1, 2])
def test_images_that_get_another_name_are_loaded_as_the_report_says(tmp_path, out, rng, capsys, n_files):
    images = rng.integers(0, 256, (6, *SHAPE), dtype=np.uint8)
    for k, part in enumerate(np.split(images, n_files)):
        with h5py.File(tmp_path / f"x{k}.h5", "w") as file:
            file["images"], file["labels"] = rng.permutation(len(part)), np.arange(len(part))
            for row, image in enumerate(part):
                file[f"X/{row}"] = image
    assert run(tmp_path / "x*.h5", out, "--images", "X/") == 0
    report = last_line_of(capsys.readouterr().out)
    assert report.endswith(f"; load it with Loader({str(out)!r}, ..., images='images_2'), in a command --images images_2")
    np.testing.assert_array_equal(loaded(out, images="images_2")[0], images)


def test_usual_names_need_no_words(tmp_path, out, rng, capsys):
    path = write(tmp_path / "x.h5", rng.integers(0, 256, (6, *SHAPE), dtype=np.uint8), labels=np.arange(6))
    assert run(path, out, "--labels", "labels") == 0
    assert "load it with" not in capsys.readouterr().out


def test_the_new_file_is_not_counted_as_one_that_was_read(tmp_path, rng, capsys):
    images = rng.integers(0, 256, (6, *SHAPE), dtype=np.uint8)
    many_files(tmp_path, images, (2, 2, 2))
    assert run(tmp_path / "*.h5", tmp_path / "zz.h5") == 0
    assert " in 3 files " in capsys.readouterr().out


def test_attributes_of_the_same_nan_are_kept_and_a_std_that_differs_is_noted(tmp_path, out, rng, capsys):
    images = rng.integers(0, 256, (6, *SHAPE), dtype=np.uint8)
    for k, path in enumerate(many_files(tmp_path, images, (3, 3), heights=rng.random(6))):
        with h5py.File(path, "r+") as file:
            file["heights"].attrs.update({"_FillValue": np.nan, "range": [np.nan, 1.0], "unit": "m"})
            file["heights"].attrs["part"] = [np.nan, k]
            file["images"].attrs.update({"std": [1.0 + k] * 3, "mean": [k] * 3})
    assert run(tmp_path / "part*.h5", out) == 0
    notes = capsys.readouterr().err
    assert "attribute 'part' of 'heights'" in notes
    assert "attributes that differ between the files are left out: std\n" in notes
    with h5py.File(out) as file:
        assert sorted(file["heights"].attrs) == ["_FillValue", "range", "unit"]
        assert np.isnan(file["heights"].attrs["_FillValue"])
        np.testing.assert_allclose(file["images"].attrs["mean"], images.mean((0, 1, 2)))


def test_a_target_that_may_not_be_written_is_refused_before_files_are_read(tmp_path, out, rng, capsys, monkeypatch):
    paths = many_files(tmp_path, rng.integers(0, 256, (6, *SHAPE), dtype=np.uint8), (2, 2, 2))
    assert run(*paths, out) == 0

    def fail(*arguments):
        raise AssertionError("files are looked at")

    monkeypatch.setattr(sys.modules["fastprep.h5.convert.combine"], "survey", fail)
    check_refused(capsys, out, "exists already", *paths, out)
    check_refused(capsys, out, "is a file that the images are read from", *paths, paths[1], "--overwrite")


def test_what_all_files_say_alike_is_kept_once_and_rows_are_joined(tmp_path, out, rng, capsys, monkeypatch):
    names, table = ["a", "b", "c"], np.array([[np.nan, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]])
    for k in range(3):
        with h5py.File(tmp_path / f"part{k}.h5", "w") as file:
            file["images"] = rng.integers(0, 256, (3, *SHAPE), dtype=np.uint8)
            file["labels"], file["label_names"], file["table"] = np.arange(3), names, table
            file["table"].attrs["unit"] = "mm"
            file["records"] = np.array([(np.nan, 1), (3, 2), (4, 3)], [("low", "f4"), ("n", "i4")])
            file["weights"], file["order"] = np.ones(3), np.arange(3)
            file["late"] = np.array([1, 2, 3 + (k == 2)])
            file["order"][0] = k
    monkeypatch.setattr(sys.modules["fastprep.h5.convert.rows"], "_BLOCK_BYTES", 32)
    assert run(tmp_path / "part*.h5", out) == 0
    notes = capsys.readouterr().err
    assert "joined, the rows of all files: 'late', 'order', 'weights'\n" in notes
    assert "kept once, because all files have the same values: 'label_names', 'records', 'table'\n" in notes
    with h5py.File(out) as file:
        assert list(file["label_names"].asstr()) == names
        np.testing.assert_array_equal(file["table"], table)
        assert file["table"].attrs["unit"] == "mm"
        assert list(file["labels"]) == [0, 1, 2] * 3, "labels are rows in any case"
        assert list(file["weights"]) == [1] * 9, "rows that are all the same may be those of images"
        assert list(file["order"]) == [0, 1, 2, 1, 1, 2, 2, 1, 2]
        assert list(file["late"]) == [1, 2, 3, 1, 2, 3, 1, 2, 4]


@pytest.mark.parametrize("shape", [(), (3,), (1, 40, 5), (7, 11), (2, 3, 50), (0, 4)])
def test_a_row_that_is_a_whole_file_is_copied_in_blocks(tmp_path, out, rng, monkeypatch, shape):
    masks = rng.integers(0, 9, (3, *shape))
    for k in range(3):
        write(tmp_path / f"s{k}.h5", rng.integers(0, 256, (6, 5, 4), dtype=np.uint8), "image", mask=masks[k])
    largest, read = 0, h5py.Dataset.__getitem__

    def note(dataset, selection, *more, **options):
        nonlocal largest
        values = read(dataset, selection, *more, **options)
        if dataset.name == "/mask":
            largest = max(largest, values.nbytes)
        return values

    monkeypatch.setattr(sys.modules["fastprep.h5.convert.rows"], "_BLOCK_BYTES", 320)
    monkeypatch.setattr(h5py.Dataset, "__getitem__", note)
    assert run(tmp_path / "s*.h5", out, "--images", "image", "--axes", "HWC") == 0
    monkeypatch.undo()
    assert largest <= 320
    with h5py.File(out) as file:
        np.testing.assert_array_equal(file["mask"][()], masks)


def test_a_file_that_is_named_twice_is_refused_and_not_left_out(tmp_path, out, rng, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.h5", rng.integers(0, 256, (3, *SHAPE), dtype=np.uint8))
    (tmp_path / "b.h5").symlink_to("a.h5")
    for again in ("a.h5", "./a.h5", "b.h5", "*.h5"):
        assert run("a.h5", again, out) == 2
        assert "IN must name each file once" in capsys.readouterr().err
    assert not out.exists()


def test_a_mean_that_no_loader_takes_is_said(tmp_path, out, rng, capsys):
    write(tmp_path / "a.h5", rng.integers(0, 256, (3, *SHAPE), dtype=np.uint8))
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["images"].attrs["mean"] = [1.0, 2.0, 3.0, 4.0]
    assert run(tmp_path / "a.h5", out) == 0
    assert "the attribute 'mean' is kept, though no loader takes it" in capsys.readouterr().err
