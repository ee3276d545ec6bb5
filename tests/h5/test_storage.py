"""Questions to HDF5 that h5py has no function for."""

import threading

import h5py
import pytest

from fastprep.h5.storage import partial_chunks_are_raw


@pytest.fixture
def properties(make_file):
    path, _, _ = make_file(chunks=(4, 12, 14, 3), compression="gzip")
    with h5py.File(path) as file:
        yield file["images"].id.get_create_plist()


def test_hdf5_is_asked_under_its_lock(properties):
    """Two threads in HDF5 at once would end the process sooner or later."""
    found = []
    other = threading.Thread(target=lambda: found.append(partial_chunks_are_raw(properties)))
    with h5py._objects.phil:
        other.start()
        other.join(0.05)
        assert not found
    other.join()
    assert found == [False]
