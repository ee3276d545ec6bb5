"""External storage whose file is not there, or too short, where HDF5 reads zeros."""

import h5py
import numpy as np
import pytest

from fastprep.errors import DataError
from fastprep.loader import Loader

SHAPE = (12, 5, 7, 3)


def write(path, raw, shape, kind):
    n_bytes = int(np.prod(shape)) * np.dtype(kind).itemsize
    with h5py.File(path, "a") as file:
        name = "labels" if len(shape) == 1 else "images"
        file.create_dataset(name, shape, kind, external=[(str(raw), 10, n_bytes)])


@pytest.mark.parametrize("n_there", [SHAPE[0], 7.5, 0])
def test_rows_behind_the_end_of_the_file_are_counted(tmp_path, caplog, n_there):
    (tmp_path / "raw").write_bytes(bytes(10) + b"\1" * int(n_there * np.prod(SHAPE[1:])))
    write(tmp_path / "a.h5", tmp_path / "raw", SHAPE, "u1")
    with Loader(tmp_path / "a.h5", 12, None, labels=None, mean=None) as loader:
        expected = int((loader.batch(0, 0) == 0).any(axis=(1, 2, 3)).sum())
    assert expected == SHAPE[0] - int(n_there)
    assert (f"{expected} of 12 images were never written" in caplog.text) == (expected > 0)


def test_labels_behind_the_end_of_the_file_are_counted(tmp_path, caplog):
    (tmp_path / "raw").write_bytes(bytes(10) + np.arange(5, dtype="<i8").tobytes())
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = np.ones(SHAPE, np.uint8)
    write(tmp_path / "a.h5", tmp_path / "raw", SHAPE[:1], "<i8")
    Loader(tmp_path / "a.h5", 12, None, mean=None).close()
    assert "dataset 'labels': 7 of 12 labels were never written" in caplog.text


@pytest.mark.parametrize("shape", [SHAPE, SHAPE[:1]])
def test_a_file_that_is_not_there_is_named_and_is_no_fault_of_the_machine(tmp_path, caplog, shape):
    write(tmp_path / "a.h5", "away.raw", shape, "u1")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        if "images" not in file:
            file["images"] = np.ones(SHAPE, np.uint8)
        file.require_dataset("labels", SHAPE[:1], "u1")
    problem = r"its values are in the file 'away\.raw', which is not there; HDF5 looks in the current folder"
    with pytest.raises(DataError, match=problem):
        Loader(tmp_path / "a.h5", 12, None, mean=None)
    assert "reading again" not in caplog.text
