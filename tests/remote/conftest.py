"""A server of files on loopback for each test, and options that let tests of faults end soon."""

import gc
import threading
import time

import pytest
from range_server import RangeServer


@pytest.fixture
def server():
    """A server that counts its requests; see range_server.py."""
    server = RangeServer()
    yield server
    server.close()


@pytest.fixture
def soon():
    """Storage options by which a request that does not succeed is an error after two seconds."""
    return {"retry_config": {"retry_timeout": 2}}


@pytest.fixture(autouse=True)
def no_cache_in_the_environment(monkeypatch):
    """Have a cache where a test names one."""
    for name in ("FASTPREP_CACHE", "FASTPREP_CACHE_BYTES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def no_fetching_thread_left():
    """Fail a test after which threads still fetch for loaders that were closed, or are gone."""
    yield
    from fastprep.remote import current

    gc.collect()
    current().fetcher.rest()  # of what commands and functions have read
    until = time.monotonic() + 10
    while left := [thread.name for thread in threading.enumerate() if thread.name.startswith("fastprep-fetch")]:
        assert time.monotonic() < until, left
        time.sleep(0.01)
