"""Attributes that other programs wrote in their own way: used where the meaning is plain, ignored with a note where not."""

import contextlib
import logging
import struct

import h5py
import numpy as np
import pytest

from fastprep.errors import DataError
from fastprep.h5 import read_metadata
from fastprep.h5.attributes import MOST_BYTES, MOST_VALUES
from fastprep.h5.object_header import text_lengths
from fastprep.loader import Loader

NAMES = ("cat", "dog")


def file_with(path, **attributes):
    with h5py.File(path, "w") as file:
        file["images"], file["labels"] = np.zeros((4, 8, 9, 3), np.uint8), np.arange(4) % 2
        for name, value in attributes.items():
            file["images"].attrs[name] = value
    return path


@pytest.mark.parametrize(
    "value",
    [
        ["cat", "dog"],
        np.array(["cat", "dog"], "S5"),
        [["cat", "dog"]],
        [["cat"], ["dog"]],
        "cat,dog",
        "cat, dog",
        b"cat;dog",
        "cat\ndog",
        '["cat", "dog"]',
        ["cat,dog"],
    ],
    ids=repr,
)
def test_names_of_classes_in_any_plain_form_are_used(tmp_path, value, caplog):
    path = file_with(tmp_path / "x.h5", class_names=value)
    with Loader(path, 4, None, mean=None) as loader:
        assert loader.class_names == NAMES
    notes = read_metadata(path, "images").notes
    one_string = np.size(value) == 1
    assert len(notes) == len(caplog.records) == one_string
    assert not one_string or "is one string, '" in notes[0]


@pytest.mark.parametrize("value", ["RGB", b"RGB", ["RGB"], np.array(["RGB"], "S3"), ["R", "G", "B"], np.array(b"RGB")], ids=repr)
def test_the_order_of_channels_in_any_plain_form_is_used(tmp_path, value, caplog):
    with Loader(file_with(tmp_path / "x.h5", channel_order=value), 4, None, mean=None) as loader:
        assert loader.channel_order == "RGB"
    assert not caplog.records


FOREIGN = [
    3,
    "cat",
    [1.5, 2.5],
    [["a", "b"], ["c", "d"]],
    h5py.Empty("f4"),
    np.array([(1, 2.0)], [("a", "i4"), ("b", "f4")]),
    True,
    np.zeros(3, "V4"),
    "",
]


@pytest.mark.parametrize("value", FOREIGN, ids=repr)
def test_anything_else_is_ignored_with_a_note(tmp_path, value, caplog):
    order = ["RG", "BA"] if isinstance(value, str) else value
    paths = [file_with(tmp_path / f"{k}.h5", class_names=value, channel_order=order) for k in range(3)]
    with Loader(paths, 4, None, mean=None) as loader:
        assert (loader.class_names, loader.channel_order) == ((), None)
    texts = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(texts) == 2  # once for all files
    for name in ("class_names", "channel_order"):
        (text,) = [text for text in texts if f"attribute '{name}' is ignored: it" in text]
        assert f"{paths[0]} and 2 more, dataset 'images'" in text
        assert "\n" not in text


def test_types_that_numpy_lacks_are_ignored_with_a_note(tmp_path):
    path = file_with(tmp_path / "x.h5")
    with h5py.File(path, "r+") as file:
        for name in ("mean", "std", "class_names", "channel_order"):
            space = h5py.h5s.create_simple((3,))
            h5py.h5a.create(file["images"].id, name.encode(), h5py.h5t.UNIX_D32LE, space)
    metadata = read_metadata(path, "images")
    assert metadata.mean_problem == "attribute 'mean' must hold 3 finite numbers, but its type is none that is read here"
    assert [note.partition(":")[0] for note in metadata.notes] == [
        "attribute 'channel_order' is ignored",
        "attribute 'class_names' is ignored",
    ]
    with pytest.raises(DataError, match="attribute 'mean' must hold 3 finite numbers"):
        Loader(path, 4, None)


def test_control_characters_stay_escaped_and_notes_short(tmp_path):
    notes = read_metadata(file_with(tmp_path / "x.h5", channel_order=["\x1b[2J\n" * 90, "x"]), "images").notes
    assert len(notes) == 1
    assert "\x1b" not in notes[0]
    assert len(notes[0]) < 200


def test_more_names_than_classes_can_be_are_ignored_before_they_are_read(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file["images"] = np.zeros((4, 8, 9, 3), np.uint8)
        file["images"].attrs.create("class_names", np.zeros(MOST_VALUES + 1, "S1"))
        file["images"].attrs.create("mean", np.zeros(MOST_VALUES + 1))
    metadata = read_metadata(path, "images")
    assert metadata.class_names == ()
    assert f"it claims {MOST_VALUES + 1} values" in metadata.notes[0]
    assert f"it claims {MOST_VALUES + 1} values" in metadata.mean_problem


@pytest.mark.parametrize("length", [None, 6], ids=["variable", "fixed"])
def test_texts_that_are_not_utf8_can_be_printed(tmp_path, length):
    path = file_with(tmp_path / "x.h5")
    with h5py.File(path, "r+") as file:
        names = np.array([b"caf\xe9", b"dog"], object if length is None else "S6")
        file["images"].attrs.create("class_names", names, dtype=h5py.string_dtype("utf-8", length))
    names = read_metadata(path, "images").class_names
    assert names == ("caf\ufffd", "dog")
    "".join(names).encode("utf-8", "strict")


@pytest.mark.parametrize("others", [0, 5])
@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_the_lengths_of_texts_are_known_before_they_are_read(tmp_path, libver, others):
    names = ["cat", "a longer name", "", "\u00e9"] * 20
    with h5py.File(tmp_path / "x.h5", "w", libver=libver) as file:
        images = file.create_dataset("images", data=np.zeros((4, 8, 9, 3), np.uint8))
        for number in range(others):
            images.attrs[f"other {number}"] = ["x" * number] * 7
        images.attrs["class_names"] = names
    with h5py.File(tmp_path / "x.h5") as file:
        lengths = text_lengths(file["images"], "class_names", len(names))
        assert lengths.tolist() == [len(name.encode()) for name in names]
        assert text_lengths(file["images"], "nothing", 1) is None
    assert read_metadata(tmp_path / "x.h5", "images").class_names == tuple(names)


@pytest.mark.parametrize("lie", [False, True], ids=["shared bytes", "a length that is a lie"])
def test_names_of_classes_that_claim_too_much_are_ignored(tmp_path, lie):
    path, n = tmp_path / "x.h5", 3000
    with h5py.File(path, "w") as file:
        images = file.create_dataset("images", data=np.zeros((4, 8, 9, 3), np.uint8))
        images.attrs["class_names"] = ["x" * 50_000, *[""] * (n - 1)]
    content = path.read_bytes()
    first = struct.pack("<I", 50_000)
    at = content.index(first + content[content.index(first) + 4 : content.index(first) + 16])
    same = struct.pack("<I", 2**31 - 1) + content[at + 4 : at + 16] if lie else content[at : at + 16] * n
    path.write_bytes(content[:at] + same + content[at + len(same) :])
    metadata = read_metadata(path, "images")
    assert metadata.class_names == ()
    n_bytes = 2**31 - 1 if lie else 50_000 * n
    assert metadata.notes[0] == (
        f"attribute 'class_names' is ignored: it claims texts of {n_bytes} bytes, and no more than {MOST_BYTES} are read"
    )


def test_damaged_headers_give_no_lengths_and_no_error(tmp_path):
    path = file_with(tmp_path / "x.h5", class_names=["cat", "dog"])
    content = path.read_bytes()
    for at in range(0, len(content), 7):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        with contextlib.suppress(OSError, KeyError, RuntimeError, ValueError), h5py.File(path) as file:
            text_lengths(file["images"], "class_names", 2)
