"""Where HDF5 looks for files that another one names: every check looks at the same places."""

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from fastprep.errors import DataError
from fastprep.h5 import files_beside, source_files
from fastprep.loader import Loader

SHAPE = (6, 5, 7, 3)


@pytest.fixture
def far(tmp_path):
    """A folder that only a variable names, with a colon in the name of the one above it."""
    folder = tmp_path / "with:colon" / "far"
    folder.mkdir(parents=True)
    return folder


def virtual_file(tmp_path, folder, images):
    with h5py.File(folder / "source.h5", "w") as file:
        file["images"] = images
    layout = h5py.VirtualLayout(SHAPE, images.dtype)
    layout[:] = h5py.VirtualSource("source.h5", "images", SHAPE)
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("images", layout)
    return str(tmp_path / "virtual.h5")


def read_all(path):
    with Loader(path, 6, None, mean=None, labels=None) as loader:
        return loader.batch(0, 0)


@pytest.mark.parametrize("order", ["{0}", "/nowhere:{0}", "{0}:/nowhere", "${{ORIGIN}}/near:{0}"])
def test_sources_of_virtual_datasets_are_found_in_any_folder_of_the_variable(tmp_path, rng, monkeypatch, order):
    folder = tmp_path / "far"
    folder.mkdir()
    images = rng.integers(0, 256, SHAPE, dtype=np.uint8)
    path = virtual_file(tmp_path, folder, images)
    with pytest.raises(DataError, match=r"its file 'source\.h5' is not there"):
        read_all(path)
    monkeypatch.setenv("HDF5_VDS_PREFIX", order.format(folder))
    np.testing.assert_array_equal(read_all(path), images)
    assert files_beside(path, "images") == (str(folder / "source.h5"),)
    assert str(folder / "source.h5") in set(source_files(path))


def test_external_storage_is_found_in_the_one_folder_of_its_variable(tmp_path, far, rng, monkeypatch):
    images = rng.integers(0, 256, SHAPE, dtype=np.uint8)
    images.tofile(far / "raw")
    path = str(tmp_path / "external.h5")
    with h5py.File(path, "w") as file:
        file.create_dataset("images", SHAPE, "u1", external=[("raw", 0, images.nbytes)])
    (tmp_path / "raw").write_bytes(bytes(images.nbytes))  # beside the file, where HDF5 does not look
    assert files_beside(path, "images") == (os.path.abspath("raw"),)
    monkeypatch.setenv("HDF5_EXTFILE_PREFIX", str(far))  # which HDF5 reads when it starts
    script = "import sys, h5py; sys.stdout.buffer.write(h5py.File(sys.argv[1])['images'][:].tobytes())"
    assert subprocess.run([sys.executable, "-c", script, path], capture_output=True, check=True).stdout == images.tobytes()
    assert files_beside(path, "images") == (str(far / "raw"),)
    assert str(far / "raw") in set(source_files(path))
