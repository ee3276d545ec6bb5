"""Servers that are slow, fail now and then, change their files, or are gone."""

import numpy as np
import obstore  # noqa: F401 - without it these tests are skipped
import pytest

from fastprep import CenterCrop
from fastprep.errors import ChangedError, DataError
from fastprep.loader import Loader


@pytest.fixture
def content(make_file):
    path, _, _ = make_file(n=600, height=40, width=40)
    return path.read_bytes()


def labels_of(loader):
    return np.concatenate([np.asarray(y) for _, y in loader])


@pytest.mark.parametrize("fault", ["fault_share", "short_share"])
def test_requests_that_fail_are_sent_again(server, content, monkeypatch, fault):
    monkeypatch.setattr("fastprep.remote.remote_file.REQUEST_BYTES", 1 << 18)  # a request a block
    monkeypatch.setattr("fastprep.remote.fetching._FIRST_WAIT_S", 0.01)
    address = server.put("a.h5", content)
    with Loader(address, 64, CenterCrop(20)) as loader:
        wanted = labels_of(loader), [np.asarray(x) for x, _ in loader]
    setattr(server, fault, 0.3)
    with Loader(address, 64, CenterCrop(20), cache_bytes=1 << 30) as loader:  # which shares nothing with the other one
        np.testing.assert_array_equal(labels_of(loader), wanted[0])
        for (x, _), other in zip(loader, wanted[1], strict=True):
            np.testing.assert_array_equal(np.asarray(x), other)
    assert server.n_faults > 0


def test_a_dead_server_is_one_line_that_names_address_and_range(server, content, soon):
    address = server.put("a.h5", content)
    with Loader(address, 64, CenterCrop(20), storage_options=soon) as loader:
        server.is_dead = True
        with pytest.raises(OSError, match=r"a\.h5, bytes \d+-\d+: \d+ tries in \d+ s failed") as error:
            list(loader)
    assert "\n" not in str(error.value)
    with pytest.raises(OSError, match="tries in"):
        Loader(address, 64, CenterCrop(20), storage_options=soon)


def test_a_file_that_changes_is_an_error_and_then_another_file(server, content, monkeypatch):
    monkeypatch.setattr("fastprep.h5.reader.RUN_BYTES", 1 << 18)  # so that the first batch does not bring all of them
    address = server.put("a.h5", content)
    with Loader(address, 64, None, mean=None) as loader:
        loader.batch(0, 0)
        changed = bytearray(content)
        changed[-1] ^= 1
        server.put("a.h5", bytes(changed))
        with pytest.raises(ChangedError, match="another version"):
            list(loader)
        with Loader(address, 64, None, mean=None) as again:  # while the old one is open
            assert len(labels_of(again)) == 600


def test_without_etags_the_time_of_the_last_change_tells_versions(server, content):
    server.has_tags = False
    with Loader(server.put("a.h5", content), 64, CenterCrop(20)) as loader:
        assert len(labels_of(loader)) == 600


def test_a_missing_file_a_damaged_one_and_a_pattern_over_http(server):
    with pytest.raises(FileNotFoundError, match=r"b\.h5: there is no such file"):
        Loader(f"{server.url}/b.h5", 4, None)
    with pytest.raises(DataError, match="not an HDF5 file"):
        Loader(server.put("c.h5", b"nothing" * 1000), 4, None)
    with pytest.raises(ValueError, match="HTTP, which has no list of files"):
        Loader(f"{server.url}/*.h5", 4, None)
    with pytest.raises(ValueError, match="no query"):
        Loader(f"{server.url}/a.h5?key=1", 4, None)


def test_a_truncated_file_is_an_error(server, content):
    address = server.put("a.h5", content[: len(content) // 2])
    with pytest.raises(DataError):
        list(Loader(address, 64, CenterCrop(20)))
