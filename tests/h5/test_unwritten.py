"""Images and labels that nobody has written: all who open a file say so, and how many."""

import h5py
import numpy as np
import pytest

import fastprep
from fastprep import convert, doctor, show
from fastprep.loader import Loader

N, WRITTEN = 100, 33
LAYOUTS = {
    "an image a chunk": ({"chunks": (1, 12, 14, 3), "compression": "gzip"}, 67),
    "several images a chunk": ({"chunks": (8, 12, 14, 3), "compression": "gzip"}, 60),
    "split images": ({"chunks": (8, 5, 14, 2)}, 60),
    "no filters": ({"chunks": (1, 12, 14, 3)}, 67),
    "by HDF5": ({"chunks": (8, 12, 14, 3), "dtype": "i2", "scaleoffset": 0}, 60),
    "contiguous": ({}, 0),
    "allocated beforehand": ({"chunks": (1, 12, 14, 3), "early": True}, 0),
}


def write(path, n_written=WRITTEN, labels_written=N, early=False, dtype="u1", **layout):
    with h5py.File(path, "w") as file:
        if early:
            space = h5py.h5s.create_simple((N, 12, 14, 3))
            properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            properties.set_chunk(layout["chunks"])
            properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            images = h5py.Dataset(h5py.h5d.create(file.id, b"images", h5py.h5t.NATIVE_UINT8, space, properties))
        else:
            images = file.create_dataset("images", (N, 12, 14, 3), dtype, **layout)
        if n_written:
            images[:n_written] = np.ones((n_written, 12, 14, 3), dtype)
        labels = file.create_dataset("labels", (N,), "i8", chunks=(10,))
        labels[:labels_written] = 1
    return str(path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_loader_warns_of_images_that_were_never_written(tmp_path, caplog, layout):
    options, expected = LAYOUTS[layout]
    path = write(tmp_path / "a.h5", **options)
    with Loader(path, 10, None, mean=None) as loader:
        assert loader.stats()["files"][0]["never_written"] == expected
    said = [record.getMessage() for record in caplog.records if "never written" in record.getMessage()]
    assert len(said) == (expected > 0)
    if expected:
        assert f"dataset 'images': {expected} of 100 images were never written, and are read as" in said[0]


def test_a_file_that_has_no_images_at_all(tmp_path, caplog):
    path = write(tmp_path / "a.h5", n_written=0)
    Loader(path, 10, None, mean=None).close()
    assert "100 of 100 images were never written" in caplog.text


def test_labels_that_were_never_written(tmp_path, caplog, capsys):
    path = write(tmp_path / "a.h5", n_written=N, labels_written=25)
    Loader(path, 10, None, mean=None).close()
    assert "dataset 'labels': 70 of 100 labels were never written" in caplog.text
    assert show.main([path]) == 0
    assert "70 of 100 labels were never written" in capsys.readouterr().out


def test_of_many_files_each_is_warned_of_once(tmp_path, caplog):
    gzip = {"chunks": (1, 12, 14, 3), "compression": "gzip"}
    paths = [write(tmp_path / f"{k}.h5", n_written=N if k == 1 else WRITTEN, **gzip) for k in range(3)]
    with Loader(paths, 10, None, mean=None, workers=2) as loader:
        for _ in range(2):
            assert len(list(loader)) == 30
    said = [record.getMessage() for record in caplog.records if "never written" in record.getMessage()]
    assert sorted(said) == [
        f"{path}: dataset 'images': 67 of 100 images were never written, and are read as the file's fill "
        "value (0, if it names none)"
        for path in (paths[0], paths[2])
    ]


def test_the_commands_and_the_mean_say_so(tmp_path, caplog, capsys):
    path = write(tmp_path / "a.h5", chunks=(1, 12, 14, 3))
    words = "67 of 100 images were never written"
    fastprep.image_mean(path)
    assert words in caplog.text
    assert show.main([path]) == 0
    assert words in capsys.readouterr().out
    assert convert.main([path, str(tmp_path / "new.h5")]) == 0
    assert words in capsys.readouterr().err
    assert doctor.main([path, "--rounds", "1"]) == 0
    assert words in capsys.readouterr().out


ELSEWHERE = {
    "weights": ("w", "weights", lambda path: {"sample_weight": "w"}),
    "chances": ("w", "weights", lambda path: {"sampling": "w"}),
    "weights in another file": ("w", "weights", lambda path: {"sample_weight": f"{path}:w"}),
    "labels in another file": ("y", "labels", lambda path: {"labels": f"{path}:y"}),
    "boxes": ("b", "labels", lambda path: {"labels": fastprep.Boxes("b")}),
}


@pytest.mark.parametrize("where", ELSEWHERE)
def test_weights_boxes_and_what_is_in_another_file_are_counted_alike(tmp_path, caplog, where):
    name, what, options = ELSEWHERE[where]
    path, other = write(tmp_path / "a.h5", n_written=N), tmp_path / "other.h5"
    for file_path in (path, other):
        with h5py.File(file_path, "a") as file:
            file.create_dataset("w", (N,), "f4", chunks=(10,))[:25] = 1
            file.create_dataset("y", (N,), "i8", chunks=(10,))[:25] = 1
            file.create_dataset("b", (N, 2, 4), "f4", chunks=(10, 2, 4))[:25] = [0, 0, 5, 5]
    Loader(path, 10, None, mean=None, **options(other)).close()
    assert caplog.text.count(f"dataset '{name}': 70 of 100 {what} were never written") == 1
