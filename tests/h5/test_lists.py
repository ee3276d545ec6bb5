"""Rows of one length or of several: what is read, and what is refused."""

import h5py
import numpy as np
import pytest

from fastprep.errors import DataError
from fastprep.h5 import lists, read_rows


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "rows.h5"
    with h5py.File(path, "w") as file:
        file["fixed"] = np.arange(24, dtype=">f4").reshape(3, 2, 4)
        file["texts"] = ["a", "b", "c"]
        file["number"] = 3
        rows = file.create_dataset("rows", (3,), h5py.vlen_dtype(np.dtype("i2")))
        for k in range(3):
            rows[k] = np.arange(4 * k)
        file.create_dataset("foreign", (3,), h5py.vlen_dtype(np.dtype("f4").newbyteorder("S")))[0] = [1.5]
        strings = file.create_dataset("words", (3,), h5py.vlen_dtype(h5py.string_dtype()))
        strings[0] = ["x"]
    return path


def test_rows_of_one_length_are_an_array_in_native_byte_order(path):
    values = read_rows(path, "fixed", "labels", 3)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, np.arange(24).reshape(3, 2, 4))


def test_rows_of_several_lengths_are_a_list_of_vectors(path, monkeypatch):
    monkeypatch.setattr(lists, "_BLOCK_ROWS", 2)
    rows = read_rows(path, "rows", "labels", 3)
    assert [row.dtype for row in rows] == [np.int16] * 3
    for k, row in enumerate(rows):
        np.testing.assert_array_equal(row, np.arange(4 * k))


@pytest.mark.parametrize(
    ("name", "n", "problem"),
    [
        ("fixed", 4, r"labels must have a row for each of the 4 images, found \(3, 2, 4\)"),
        ("number", 3, "labels must have a row for each of the 3 images"),
        ("texts", 3, "labels must be numbers, found"),
        ("words", 3, "labels must be rows of numbers, found"),
        ("foreign", 3, "in the byte order of this machine only, found .f4; store them anew"),
        ("nothing", 3, "nothing"),
    ],
)
def test_anything_else_is_an_error(path, name, n, problem):
    with pytest.raises(DataError, match=problem):
        read_rows(path, name, "labels", n)


def test_more_rows_than_a_file_can_have_are_not_read(path, monkeypatch):
    monkeypatch.setattr(lists, "_PLAUSIBLE_BYTES", 8)
    monkeypatch.setattr(lists, "_MOST_USES", 0)
    with pytest.raises(DataError, match="its rows take more than 8 bytes, which the file can't have"):
        read_rows(path, "rows", "labels", 3)


def test_rows_that_are_damaged_are_an_error(path):
    content = path.read_bytes()
    place = content.index(b"GCOL")  # the heap that has the rows
    path.write_bytes(content[:place] + b"XXXX" + content[place + 4 :])
    with pytest.raises(DataError, match="dataset 'rows': HDF5 can't read it"):
        read_rows(path, "rows", "labels", 3)
