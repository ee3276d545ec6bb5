"""What `show` says of files that have no images, hold them in odd ways, or are very large: one plain line, or a whole report."""

import os
import shlex

import h5py
import numpy as np
import pytest
import tables

from fastprep import show
from fastprep.h5 import find_candidates, listing


def images(n, *shape):
    return np.random.default_rng(0).integers(0, 256, (n, *shape), dtype="u1")


def nothing(file):
    pass


def vectors(file):
    file["a"], file["b/c"] = np.arange(5), np.arange(9.0)


def complex_numbers(file):
    file["kspace"] = np.zeros((5, 20, 20), "c8")


def references(file):
    file["image"] = images(3, 5, 5)[..., 0]
    file.create_dataset("x", (3, 20, 20, 3), h5py.ref_dtype)


def encoded(file):
    file.create_dataset("jpegs", (4,), h5py.vlen_dtype("u1"))[0] = np.frombuffer(b"\xff\xd8\xff", "u1")


def lost_links(file):
    file["x"], file["s"] = h5py.ExternalLink("gone.h5", "/x"), h5py.SoftLink("/nowhere")


def texts(file):
    file["text"], file["empty"] = np.array([b"a", b"b"]), h5py.Empty("f4")


def features(file):
    file["X"], file["y"] = np.zeros((100, 2000), "f4"), np.arange(100) % 3


def patients(file):
    for k, size in enumerate([(50, 60), (55, 70), (64, 48)]):
        file[f"patient_{k}/image"] = np.zeros(size, "u1")


def old_network(file):
    file.attrs["layer_names"] = [b"conv"]
    file["conv/conv/kernel:0"] = np.zeros((3, 3, 16, 64), "f4")


def new_network(file):
    file["layers/conv2d/vars/0"] = np.zeros((16, 16, 3, 64), "f4")


def boxes(file):
    file["boxes"], file["landmarks"], file["weights"] = np.zeros((9, 20, 20)), np.zeros((9, 5, 2)), np.zeros((64, 64, 3))


NO_IMAGES = "there is no dataset 'images' and nothing that seems to be images; it has "
REFUSED = {
    "nothing": (nothing, "there is no dataset 'images'; it has no dataset at all"),
    "vectors": (vectors, f"{NO_IMAGES}'a' (5,) int64, 'b/c' (9,) float64"),
    "complex numbers": (complex_numbers, f"{NO_IMAGES}'kspace' (5, 20, 20) complex64"),
    "references": (references, "'x' (3, 20, 20, 3) references to other objects"),
    "encoded": (encoded, "these may be encoded images such as JPEG: write them to files for python -m fastprep.build"),
    "lost links": (lost_links, "'s' that can't be opened, 'x' that can't be opened"),
    "texts": (texts, f"{NO_IMAGES}'empty' None float32, 'text' (2,) strings"),
    "features": (features, "unless 'X', 100 rows of 2000 numbers, float32, are flat ones; then say --images X --shape HxWxC"),
    "patients": (patients, "if it is one image, and 'patient_2/image' another: those of different sizes have to be encoded"),
    "old network": (old_network, "holds the weights of a Keras network, not images"),
    "new network": (new_network, "holds the weights of a Keras network, not images"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_without_images_is_one_line_that_says_what_it_has(tmp_path, capsys, case):
    write, words = REFUSED[case]
    with h5py.File(tmp_path / "x.h5", "w") as file:
        write(file)
    assert show.main([str(tmp_path / "x.h5")]) == 2
    printed, errors = capsys.readouterr()
    assert (printed, errors.count("\n")) == ("", 1)
    assert words in errors


def test_a_table_of_pytables_has_no_images(tmp_path, capsys):
    with tables.open_file(tmp_path / "x.h5", "w") as file:
        file.create_table("/", "meta", obj=np.array([(b"cat", 1)], [("species", "S3"), ("age", "i4")]))
    assert show.main([str(tmp_path / "x.h5")]) == 2
    assert f"{NO_IMAGES}'meta' (1,) records of several fields" in capsys.readouterr().err


def test_a_table_of_pandas_may_be_flat_images_but_its_index_is_not_their_labels(tmp_path, capsys):
    with h5py.File(tmp_path / "x.h5", "w") as file:  # as HDFStore writes a frame
        file["df/axis0"], file["df/axis1"] = np.arange(784), np.arange(50)
        file["df/block0_items"], file["df/block0_values"] = np.arange(784), images(50, 784)
    assert show.main([str(tmp_path / "x.h5")]) == 0
    assert "1. 'df/block0_values': 50 of 28x28x1, uint8; no labels found" in capsys.readouterr().out


def test_ten_thousand_datasets_are_counted_and_not_opened_for_the_search(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "x.h5", "w", libver="latest") as file:
        for k in range(3000):
            file[f"pics/{k}"], file[f"y/{k}"], file[f"rows/{k}/x"] = images(1, 8, 9, 3)[0], k % 3, k
    opened, get = [], listing.get_quietly
    monkeypatch.setattr("fastprep.h5.walk.get_quietly", lambda group, name: opened.append(name) or get(group, name))
    (found,) = find_candidates(tmp_path / "x.h5")
    assert (found.images, found.labels, found.n) == ("pics/", "y/", 3000)
    assert len(opened) < 500


def test_a_group_of_many_different_datasets_is_bounded(tmp_path, capsys):
    with h5py.File(tmp_path / "x.h5", "w", libver="latest") as file:
        for k in range(3000):
            file[f"d/{k:04}"] = np.zeros(k % 7 + 1)
    assert show.main([str(tmp_path / "x.h5")]) == 2
    errors = capsys.readouterr().err
    assert errors.count("float64") == 8
    assert errors.count("\n") == 1


def test_a_deep_file_is_searched(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        deep = "/".join(f"g{k}" for k in range(60))
        file[f"{deep}/img"], file[f"{deep}/label"] = images(20, 24, 20, 3), np.arange(20)
        file[f"{deep}/back"] = h5py.SoftLink("/")
    (found,) = find_candidates(tmp_path / "x.h5")
    assert (found.images, found.labels) == (f"{deep}/img", f"{deep}/label")


def test_boxes_and_weights_come_last(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        boxes(file)
        file["photos"] = images(9, 20, 20, 3)
    names = [candidate.images for candidate in find_candidates(tmp_path / "x.h5")]
    assert names[0] == "photos"
    assert "landmarks" not in names


def test_one_volume_is_a_stack_of_slices(tmp_path, capsys):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["ct"] = np.zeros((40, 64, 50), "f4")
    assert show.main([str(tmp_path / "x.h5")]) == 0
    assert "1. 'ct': 40 of 64x50x1, float32; no labels found" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("labels", "n", "words"),
    [
        (np.arange(40.0) + 0.5, 40, "numbers to predict"),
        (np.arange(40) % 3 - 1, 40, "the command takes classes from 0, and the labels are -1 to 1"),
        (np.arange(40) % 4 * 100, 40, "the labels are 4 different numbers up to 300"),
        (np.zeros(40, int), 40, "this file alone does not suffice: all labels are 0"),
        (np.arange(6) % 2, 6, "this file alone does not suffice: it has 6 images"),
        (np.arange(40) % 3 + 1, 40, "--classes 4 --val-split 0.2"),
    ],
)
def test_labels_on_which_the_command_does_not_train_say_why(tmp_path, capsys, labels, n, words):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"], file["labels"] = images(n, 24, 20, 3), labels
    assert show.main([str(tmp_path / "x.h5")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert words in lines[lines.index("to train:") + 1]


def test_a_file_beside_counts_only_if_it_has_a_label_for_each_image(tmp_path):
    with h5py.File(tmp_path / "train_images.h5", "w") as file:
        file["data"] = images(20, 24, 20, 3)
    for n, expected in ((19, None), (20, f"{tmp_path}/train_labels.h5:digits")):
        with h5py.File(tmp_path / "train_labels.h5", "w") as file:
            file["digits"] = np.arange(n)
        (found,) = find_candidates(tmp_path / "train_images.h5")
        assert found.labels == expected
    (tmp_path / "train_labels.h5").write_text("no HDF5")
    assert find_candidates(tmp_path / "train_images.h5")[0].labels is None


def test_names_with_blanks_are_quoted(tmp_path, capsys):
    with h5py.File(tmp_path / "it's.h5", "w") as file:
        file["my images"], file["my labels"] = images(20, 24, 20, 3), np.arange(20) % 2
    assert show.main([str(tmp_path / "it's.h5")]) == 0
    lines = capsys.readouterr().out.splitlines()
    words = shlex.split(lines[lines.index("as a command:") + 1])
    assert words[3:] == [os.fspath(tmp_path / "it's.h5"), "--images", "my images", "--labels", "my labels"]
