"""Types of values that numpy or the kernels lack: as images, labels and weights, and beside them."""

import pickle

import h5py
import numpy as np
import pytest
import tables
from h5py import h5d, h5s, h5t
from odd_types import wide_float

from fastprep.errors import DataError, MissingDatasetError, one_line
from fastprep.h5 import open_images, read_labels, read_metadata, store_mean
from fastprep.loader import Loader

MASKS = np.random.default_rng(0).random((20, 8, 9)) > 0.5


def integers_of_24_bits():
    kind = h5t.STD_I32LE.copy()
    kind.set_precision(24)
    kind.set_size(3)
    return kind


ODD = {
    "24-bit integers": (integers_of_24_bits, "24-bit integers, a type that numpy lacks"),
    "times": (h5t.UNIX_D32LE.copy, "times, a type that numpy lacks"),
    "128-bit floats": (wide_float, "128-bit floats, a type that numpy lacks"),
    "opaque": (lambda: h5t.py_create(np.dtype("V5")), "opaque bytes"),
    "records": (lambda: h5t.py_create(np.dtype([("a", "i4"), ("b", "f4")])), "records of several fields"),
    "references": (lambda: h5t.py_create(h5py.ref_dtype, logical=True), "references to other objects"),
    "texts": (lambda: h5t.py_create(np.dtype("S7")), "strings"),
    "complex": (lambda: h5t.py_create(np.dtype("c8")), "complex64"),
}


def create(file, name, kind, shape=(20, 8, 9)):
    h5d.create(file.id, name.encode(), kind, h5s.create_simple(shape))


@pytest.mark.parametrize("options", [{}, {"chunks": (1, 8, 9), "compression": "gzip"}, {"chunks": (7, 5, 9)}], ids=str)
def test_bools_of_h5py_are_images_of_0_and_1(tmp_path, options):
    path = tmp_path / "masks.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("masks", data=MASKS, **options)
    reader = open_images(path, "masks")
    assert (reader.index.dtype, reader.index.reason) == (np.uint8, "")
    np.testing.assert_array_equal(reader.array(np.arange(20))[..., 0], MASKS)


def test_bools_that_hdf5_reads_are_0_and_1(tmp_path):
    with h5py.File(tmp_path / "source.h5", "w") as file:
        file["masks"] = MASKS
        layout = h5py.VirtualLayout(MASKS.shape, bool)
        layout[:] = h5py.VirtualSource(file["masks"])
        file.create_virtual_dataset("virtual", layout)
    reader = open_images(tmp_path / "source.h5", "virtual")
    assert reader.index.reason == "virtual dataset"
    np.testing.assert_array_equal(reader.array(np.arange(20))[..., 0], MASKS)


def test_bit_fields_of_pytables_are_images_and_labels_of_0_and_1(tmp_path):
    path = tmp_path / "masks.h5"
    with tables.open_file(path, "w") as file:
        file.create_array("/", "masks", MASKS)
        file.create_array("/", "labels", MASKS[:, 0, 0])
    with Loader(path, 20, None, images="masks", mean=None) as loader:
        assert loader.stats()["files"][0]["read"] == "contiguous"
        x, y = loader.batch(0, 0)
    np.testing.assert_array_equal(np.asarray(x)[..., 0], MASKS)
    assert (y.dtype, y.tolist()) == (np.uint8, MASKS[:, 0, 0].tolist())


def test_enumerations_are_their_integers(tmp_path):
    path, values = tmp_path / "classes.h5", np.arange(20 * 72).reshape(20, 8, 9) % 3 * 300
    with h5py.File(path, "w") as file:
        kind = h5py.enum_dtype({"SKY": 0, "ROAD": 300, "CAR": 600}, "i2")
        file.create_dataset("images", data=values, dtype=kind)
        file.create_dataset("labels", data=values[:, 0, 0], dtype=kind)
    reader = open_images(path)
    assert (reader.index.reason, reader.index.dtype) == ("", np.int16)
    np.testing.assert_array_equal(reader.array(np.arange(20))[..., 0], values)
    labels = read_labels(path, "labels", 20)
    assert (labels.dtype, labels.dtype.metadata, labels.tolist()) == (np.int16, None, values[:, 0, 0].tolist())


def test_bools_are_class_labels(tmp_path):
    path = tmp_path / "bools.h5"
    with h5py.File(path, "w") as file:
        file["images"], file["labels"] = np.zeros((4, 8, 9, 3), np.uint8), np.array([True, False, False, True])
    with Loader(path, 4, None, mean=None, num_classes=2) as loader:
        assert loader.batch(0, 0)[1].argmax(axis=1).tolist() == [1, 0, 0, 1]


@pytest.mark.parametrize("name", ODD)
def test_other_types_are_refused_in_one_line(tmp_path, name):
    kind, words = ODD[name]
    path = tmp_path / "odd.h5"
    with h5py.File(path, "w") as file:
        create(file, "images", kind())
        create(file, "labels", kind(), (20,))
        file["good"] = np.zeros((20, 8, 9, 3), np.uint8)
    for options, problem in (
        ({"images": "images"}, f"images have one of the types .*, found {words}; store them anew"),
        (
            {"images": "good", "labels": "labels"},
            "empty text" if name == "texts" else f"labels must be numbers or texts, found {words};",
        ),
        ({"images": "good", "labels": None, "sample_weight": "labels"}, f"weights must be one number .* found {words}"),
    ):
        with pytest.raises(DataError, match=problem) as caught:
            Loader(path, 4, None, mean=None, **options)
        assert "damaged" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_neighbour_of_any_type_does_not_make_a_file_damaged(tmp_path):
    path = tmp_path / "odd.h5"
    with h5py.File(path, "w") as file:
        for name, (kind, _) in ODD.items():
            create(file, name, kind(), (3,))
        file["zeros"] = np.zeros((20, 8, 9, 3), np.uint8)
    assert open_images(path, "zeros").index.shape[0] == 20
    with pytest.raises(MissingDatasetError) as caught:
        open_images(path)
    text = str(caught.value)
    assert "it has 'zeros' (20, 8, 9, 3) uint8, " in text  # what may be images comes first
    assert "'24-bit integers' (3,) 24-bit integers, a type that numpy lacks" in text
    assert "damaged" not in text


def test_encoded_images_of_which_none_was_written_are_an_error(tmp_path):
    with h5py.File(tmp_path / "jpeg.h5", "w") as file:
        file.create_dataset("images", (12,), h5py.vlen_dtype(np.uint8))
    with pytest.raises(
        DataError, match="sample 0: there are no bytes: an encoded image is empty or was never written; 11 others"
    ):
        open_images(tmp_path / "jpeg.h5")


def test_rows_of_variable_length_that_are_not_bytes_are_no_images(tmp_path):
    with h5py.File(tmp_path / "lists.h5", "w") as file:
        file.create_dataset("images", (12,), h5py.vlen_dtype(np.float32))
    with pytest.raises(DataError, match=r"found .*rows of variable length, of float32"):
        open_images(tmp_path / "lists.h5")


# --- the list of what there is


def test_the_list_follows_links_and_hints_in_the_language_of_the_caller(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["far"] = np.zeros((2, 8, 9), np.uint8)
    path = tmp_path / "links.h5"
    with h5py.File(path, "w") as file:
        file["a/numbers"] = np.arange(2)
        file["a/loop"] = h5py.SoftLink("/")
        file["external"] = h5py.ExternalLink("other.h5", "far")
        file["nowhere"] = h5py.ExternalLink("gone.h5", "far")
        file["soft"] = h5py.SoftLink("/a/numbers")
    for argument, labels in (("images", None), ("labels", "x"), ("sample_weight", None)):
        names = {"images": "x"} if argument == "images" else {"images": "external", "labels": labels}
        names |= {"sample_weight": "x"} if argument == "sample_weight" else {}
        with pytest.raises(MissingDatasetError) as caught:
            Loader(path, 2, None, mean=None, **names)
        text = str(caught.value)
        images, others = (
            ["'external' (2, 8, 9) uint8"],
            ["'soft' (2,) int64", "'a/numbers' (2,) int64", "'nowhere' that can't be opened"],
        )
        listed = images + others if argument == "images" else others + images  # what is meant is likely to come first
        assert f"it has {', '.join(listed)}" in text
        assert text.endswith(f" ({argument}= takes another name)")
        assert one_line(caught.value).endswith(f" (--{argument.replace('_', '-')} takes another name)")


def test_a_group_of_images_says_that_they_must_be_joined(tmp_path):
    with h5py.File(tmp_path / "group.h5", "w") as file:
        for number in range(20):
            file[f"train/{number}.png"] = np.zeros((40, 50, 3), np.uint8)
    with pytest.raises(MissingDatasetError, match=r"'train' is a group, .* one dataset each .*'train/'"):
        open_images(tmp_path / "group.h5", "train")


def test_a_name_that_is_not_utf8_is_found(tmp_path):
    with h5py.File(tmp_path / "latin.h5", "w") as file:
        file[b"caf\xe9"] = np.ones((2, 8, 9, 3), np.uint8)
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert open_images(tmp_path / "latin.h5", name).array(np.arange(2)).all()
    store_mean(tmp_path / "latin.h5", name, np.ones(3))
    assert read_metadata(tmp_path / "latin.h5", name).mean.tolist() == [1, 1, 1]
    with pytest.raises(MissingDatasetError, match=r"it has 'caf\\udce9' \(2, 8, 9, 3\) uint8") as caught:
        open_images(tmp_path / "latin.h5")
    str(caught.value).encode("utf-8", "strict")
    with pytest.raises(MissingDatasetError, match=r"there is no dataset 'th\\udce9'; it has 'caf\\udce9'"):
        open_images(tmp_path / "latin.h5", b"th\xe9".decode("utf-8", "surrogateescape"))


def test_the_error_survives_a_process_boundary(tmp_path):
    error = pickle.loads(pickle.dumps(MissingDatasetError("there is none", "x.h5", argument="labels")))
    assert str(error) == "file 'x.h5': there is none (labels= takes another name)"
