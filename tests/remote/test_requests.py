"""What is asked of a server: how many requests, how many bytes, and nothing twice."""

import time

import obstore  # noqa: F401 - without it these tests are skipped
import pytest

from fastprep import CenterCrop
from fastprep.loader import Loader


@pytest.fixture
def address(make_file, server):
    """Address of 2 MB of images, eight blocks."""
    path, _, _ = make_file(n=1000, height=26, width=26)
    return server.put("a.h5", path.read_bytes())


def read_all(loader):
    return sum(len(y) for _, y in loader)


def test_an_epoch_moves_each_byte_once_and_a_second_one_none(address, server):
    with Loader(address, 64, CenterCrop(20), shuffle=True) as loader:
        assert read_all(loader) == 1000
        assert server.n_bytes <= 1.1 * len(server.files["a.h5"])
        server.forget()
        assert read_all(loader) == 1000
        assert server.n_requests == 0


def test_a_file_in_the_cache_is_opened_and_read_by_one_request(address, server, tmp_path):
    options = {"shuffle": True, "cache": tmp_path / "cache"}
    with Loader(address, 64, CenterCrop(20), **options) as loader:
        read_all(loader)
    server.forget()
    with Loader(address, 64, CenterCrop(20), **options) as loader:
        assert read_all(loader) == 1000
    assert (server.n_requests, server.n_heads) == (1, 1)


def test_a_small_cache_moves_little_more_than_a_large_one(server, make_file, monkeypatch):
    """Samples are shuffled in windows of runs, so that a run is in the cache as long as its samples are read."""
    monkeypatch.setattr("fastprep.h5.reader.RUN_BYTES", 4 << 20)
    path, _, _ = make_file(n=3000, height=80, width=80)  # 58 MB
    address = server.put("a.h5", path.read_bytes())
    with Loader(address, 64, CenterCrop(20), shuffle=True, shuffle_window=300, cache_bytes=32 << 20, workers=1) as loader:
        n_bytes = server.n_bytes
        assert read_all(loader) == 3000
        assert server.n_bytes - n_bytes <= 1.1 * len(server.files["a.h5"])


def test_settings_without_a_remote_file_are_refused(make_file, tmp_path):
    path, _, _ = make_file()
    with pytest.raises(ValueError, match="are for files with an address"):
        Loader(path, 4, None, cache=tmp_path / "cache")
    for options, rule in (
        ({"cache": 3}, "cache must be a folder"),
        ({"cache_bytes": 0}, "at least 1"),
        ({"storage_options": 3}, "dict"),
    ):
        with pytest.raises(ValueError, match=rule):
            Loader(path, 4, None, **options)


def test_requests_retries_and_hits_are_counted(address, server, monkeypatch):
    monkeypatch.setattr("fastprep.remote.remote_file.REQUEST_BYTES", 1 << 18)  # a request a block
    monkeypatch.setattr("fastprep.remote.fetching._FIRST_WAIT_S", 0.01)
    server.fault_share = 0.5
    with Loader(address, 64, CenterCrop(20)) as loader:
        read_all(loader)
        first = loader.stats()["remote"]
        server.fault_share = 0
        read_all(loader)
        second = loader.stats()["remote"]
        assert f"{first['retries']} of them again" in repr(loader.stats())
    assert 0 < first["retries"] <= server.n_faults  # of which obstore may have tried some again by itself
    assert first["blocks_read"] >= first["blocks_fetched"] == 8
    assert first["bytes"] == len(server.files["a.h5"])
    assert {**second, "blocks_read": 0} == {**first, "blocks_read": 0}
    assert second["blocks_read"] > first["blocks_read"]


def test_a_loader_of_local_files_counts_no_requests(make_file):
    with Loader(make_file()[0], 4, CenterCrop(8)) as loader:
        assert loader.stats()["remote"] is None
        assert "no file is remote" in repr(loader.stats())


def test_batches_in_file_order_are_asked_for_ahead(server, make_file):
    path, _, _ = make_file(n=3000, height=60, width=60)  # 32 MB
    address = server.put("a.h5", path.read_bytes())
    with Loader(address, 32, CenterCrop(20), workers=1, prefetch=1) as loader:
        server.forget()
        next(iter(loader))  # of the batches that are made by now, two or three, there are not 2 MB
        deadline = time.monotonic() + 10
        while server.n_bytes < 25e6 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.n_bytes >= 25e6
        assert server.n_requests < 60


def test_opening_takes_three_times_the_delay_of_the_store(server, make_file):
    """The beginning and the end of the file, and the images that are verified, are asked for together."""
    path, _, _ = make_file(n=3000, height=60, width=60)
    address = server.put("a.h5", path.read_bytes())
    with Loader(address, 32, CenterCrop(20)):
        assert server.n_heads == 1
        assert len(server.requests) <= 4
