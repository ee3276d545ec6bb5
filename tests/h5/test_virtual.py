"""Virtual datasets of which something is missing: HDF5 reads a fill value, which would be taken for images and labels."""

import h5py
import numpy as np
import pytest

import fastprep
from fastprep import convert, doctor, show
from fastprep.errors import DataError
from fastprep.loader import Loader

N, IMAGE = 12, (6, 7, 3)


@pytest.fixture
def source(tmp_path, rng):
    """Path of a file with images `x` and labels `y`, none of which is 0."""
    with h5py.File(tmp_path / "source.h5", "w") as file:
        file["x"] = rng.integers(1, 256, (N, *IMAGE), dtype=np.uint8)
        file["y"] = np.arange(1, N + 1)
    return tmp_path / "source.h5"


def virtual(path, source, name, of, shape, kind, rows=slice(None)):
    """Add a virtual dataset, of which some rows come from the same rows of a dataset elsewhere."""
    layout = h5py.VirtualLayout(shape, kind)
    layout[rows] = h5py.VirtualSource(source, of, shape)[rows]
    with h5py.File(path, "a") as file:
        return file.create_virtual_dataset(name, layout)


def loader(path, labels="labels", **options):
    return Loader(path, N, None, labels=labels, mean=None, **options)


TARGETS = {
    "labels": ((N,), "i8", {}),
    "texts": ((N,), h5py.string_dtype(), {"labels": "labels"}),
    "boxes": ((N, 5, 4), "f4", {"labels": fastprep.Boxes("labels")}),
    "masks": ((N, *IMAGE[:2]), "u1", {"labels": fastprep.Mask("labels")}),
    "weights": ((N,), "f4", {"labels": np.zeros(N, int), "sample_weight": "labels"}),
    "chances": ((N,), "f4", {"labels": None, "sampling": "labels"}),
    "a part": ((N,), "?", {"labels": None, "indices": "labels"}),
}


@pytest.mark.parametrize("target", TARGETS)
def test_no_labels_weights_or_numbers_are_read_where_their_file_is_not_there(tmp_path, source, target):
    shape, kind, options = TARGETS[target]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = np.ones((N, *IMAGE), np.uint8)
    virtual(tmp_path / "a.h5", "away.h5", "labels", "y", shape, kind)
    with pytest.raises(DataError, match=r"dataset 'labels': it is virtual, and its file 'away\.h5' is not there"):
        loader(tmp_path / "a.h5", **options)


def test_labels_in_another_file_are_looked_at_alike(tmp_path, source):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = np.ones((N, *IMAGE), np.uint8)
    virtual(tmp_path / "y.h5", "away.h5", "y", "y", (N,), "i8")
    with pytest.raises(DataError, match=r"y\.h5', dataset 'y': it is virtual, and its file 'away\.h5' is not there"):
        loader(tmp_path / "a.h5", labels=f"{tmp_path}/y.h5:y")


def test_a_source_without_the_dataset_or_with_a_link_that_leads_nowhere_is_an_error(tmp_path, source):
    with h5py.File(source, "a") as file:
        file["linked"] = h5py.ExternalLink("away.h5", "x")
    for name in ("z", "linked"):
        virtual(tmp_path / f"{name}.h5", source, "images", name, (N, *IMAGE), "u1")
        with pytest.raises(DataError, match=rf"its file '.*source\.h5' has no dataset '{name}', or one that can't be opened"):
            loader(tmp_path / f"{name}.h5", labels=None)


def test_a_source_that_is_virtual_is_followed(tmp_path, source):
    virtual(tmp_path / "inner.h5", "away.h5", "x", "x", (N, *IMAGE), "u1")
    virtual(tmp_path / "outer.h5", tmp_path / "inner.h5", "images", "x", (N, *IMAGE), "u1")
    with pytest.raises(DataError, match=r"outer\.h5', dataset 'images': it is virtual, and its file 'away\.h5' is not there"):
        loader(tmp_path / "outer.h5", labels=None)


SOURCES_IN_A_RING = {"itself": {"labels": "labels"}, "two": {"labels": "other", "other": "labels"}}


@pytest.mark.parametrize("ring", SOURCES_IN_A_RING)
@pytest.mark.parametrize("kind", ["i8", h5py.string_dtype()], ids=["numbers", "texts"])
def test_labels_that_are_their_own_source_are_an_error_where_hdf5_ends_the_process(tmp_path, ring, kind):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = np.ones((N, *IMAGE), np.uint8)
    for name, of in SOURCES_IN_A_RING[ring].items():
        virtual(tmp_path / "a.h5", ".", name, of, (N,), kind)
    with pytest.raises(DataError, match="dataset 'labels': it is virtual, and takes its values from itself"):
        loader(tmp_path / "a.h5")


def test_images_in_two_files_that_are_the_source_of_each_other_are_an_error(tmp_path):
    for path, other in (("a.h5", "b.h5"), ("b.h5", "a.h5")):
        virtual(tmp_path / path, other, "images", "images", (N, *IMAGE), "u1")
    with pytest.raises(DataError, match="dataset 'images': it is virtual, and takes its values from itself"):
        loader(tmp_path / "a.h5", labels=None)


def test_virtual_datasets_of_virtual_datasets_have_a_bound(tmp_path, source):
    virtual(tmp_path / "0.h5", source, "images", "x", (N, *IMAGE), "u1")
    for k in range(1, 40):
        virtual(tmp_path / f"{k}.h5", tmp_path / f"{k - 1}.h5", "images", "images", (N, *IMAGE), "u1")
    loader(tmp_path / "9.h5", labels=None).close()
    with pytest.raises(DataError, match="it is virtual, and leads on over more than 16 virtual datasets"):
        loader(tmp_path / "39.h5", labels=None)


@pytest.mark.parametrize("command", [show, doctor, convert])
@pytest.mark.parametrize("name", ["images", "x/images", "labels", "file_names", "masks"])
def test_commands_end_with_a_line_where_hdf5_would_end_them(tmp_path, capfd, command, name):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        if name != "images":
            file["images"] = np.ones((N, *IMAGE), np.uint8)
        if name != "labels":
            file["labels"] = np.arange(N)
    shape = {"labels": (N,), "file_names": (N,), "masks": (N, *IMAGE[:2])}.get(name, (N, *IMAGE))
    virtual(tmp_path / "a.h5", ".", name, name, shape, h5py.string_dtype() if name == "file_names" else "u1")
    more = {convert: [str(tmp_path / "new.h5")], doctor: ["--rounds", "1"]}.get(command, [])
    status = command.main([str(tmp_path / "a.h5"), *more])
    assert status in (0, 2)
    if status:
        assert f"{name}': it is virtual, and takes its values from itself" in capfd.readouterr().err


@pytest.mark.parametrize("rows", [slice(0, 8), slice(0, N, 2), slice(3, 4), [0, 1, 2, 4, 8, 9]], ids=str)
def test_rows_that_no_source_fills_are_counted(tmp_path, source, caplog, rows):
    virtual(tmp_path / "a.h5", source, "images", "x", (N, *IMAGE), "u1", rows)
    virtual(tmp_path / "a.h5", source, "labels", "y", (N,), "i8", rows)
    with loader(tmp_path / "a.h5") as own:
        x, y = own.batch(0, 0)
    expected = N - len(np.arange(N)[rows])
    assert expected == (x == 0).all(axis=(1, 2, 3)).sum() == (y == 0).sum()
    for what in ("images", "labels"):
        assert f"dataset '{what}': {expected} of 12 {what} were never written" in caplog.text


def test_nothing_is_said_where_sources_fill_all(tmp_path, source, caplog):
    layout = h5py.VirtualLayout((N, *IMAGE), "u1")
    layout[:, :4] = h5py.VirtualSource(source, "x", (N, *IMAGE))[:, 2:]
    layout[:, 4:] = h5py.VirtualSource(source, "x", (N, *IMAGE))[:, :2]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("images", layout)
    virtual(tmp_path / "a.h5", source, "labels", "y", (N,), "i8")
    loader(tmp_path / "a.h5").close()
    assert "never written" not in caplog.text


def test_a_part_of_each_image_that_no_source_fills_counts(tmp_path, source, caplog):
    layout = h5py.VirtualLayout((N, *IMAGE), "u1")
    layout[:, :4] = h5py.VirtualSource(source, "x", (N, *IMAGE))[:, :4]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("images", layout)
    loader(tmp_path / "a.h5", labels=None).close()
    assert "12 of 12 images were never written" in caplog.text


def test_rows_that_were_never_written_in_the_source_count(tmp_path, caplog):
    with h5py.File(tmp_path / "source.h5", "w") as file:
        file.create_dataset("x", (N, *IMAGE), "u1", chunks=(1, *IMAGE))[2:5] = 1
    layout = h5py.VirtualLayout((4, *IMAGE), "u1")
    layout[:3] = h5py.VirtualSource(tmp_path / "source.h5", "x", (N, *IMAGE))[1:4]  # row 1 was not written
    layout[3] = h5py.VirtualSource(tmp_path / "source.h5", "x", (N, *IMAGE))[5]  # nor was 5
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("images", layout)
    loader(tmp_path / "a.h5", labels=None).close()
    assert "2 of 4 images were never written" in caplog.text


def test_rows_behind_the_end_of_a_source_that_became_shorter_count(tmp_path, caplog):
    with h5py.File(tmp_path / "source.h5", "w") as file:
        file.create_dataset("y", data=np.arange(1, N + 1), chunks=(3,), maxshape=(None,)).resize((7,))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = np.ones((N, *IMAGE), np.uint8)
    virtual(tmp_path / "a.h5", tmp_path / "source.h5", "labels", "y", (N,), "i8")
    with loader(tmp_path / "a.h5") as own:
        assert own.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 0, 0]
    assert "5 of 12 labels were never written" in caplog.text


def test_a_source_of_one_image_each_is_counted(tmp_path, caplog):
    layout = h5py.VirtualLayout((3, *IMAGE), "u1")
    for k in range(3):
        with h5py.File(tmp_path / f"{k}.h5", "w") as file:
            file.create_dataset("x", IMAGE, "u1", chunks=IMAGE)[...] = 1
            if k == 1:
                del file["x"]
                file.create_dataset("x", IMAGE, "u1", chunks=IMAGE)
        layout[k] = h5py.VirtualSource(tmp_path / f"{k}.h5", "x", IMAGE)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("images", layout)
    loader(tmp_path / "a.h5", labels=None).close()
    assert "1 of 3 images were never written" in caplog.text
