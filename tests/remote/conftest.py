"""A server of files on loopback for each test, and options that let tests of faults end soon."""

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
