"""Many remote files: few requests to open them, several at a time, in order, and an error that names its file."""

import numpy as np
import obstore  # noqa: F401 - without it these tests are skipped
import pytest

from fastprep import CenterCrop
from fastprep.loader import Loader

N_FILES = 40


@pytest.fixture
def content(make_file):
    return make_file(n=4, height=8, width=8)[0].read_bytes()


@pytest.fixture
def options(server):
    """Settings with which the server is a store of S3's, with a bucket "b" that can be listed."""
    return {"endpoint": server.url, "region": "us-east-1", "skip_signature": True, "retry_config": {"retry_timeout": 0.5}}


def put_all(server, content):
    return [server.put(f"b/train-{k:02d}.h5", content) for k in range(N_FILES)]


@pytest.mark.parametrize("quote", ['"', ""])
def test_a_pattern_takes_a_list_and_an_answer_for_one_file(server, content, options, quote):
    put_all(server, content)
    server.put("b/deeper/train-99.h5", content)
    server.list_quote = quote
    with Loader("s3://b/train-*.h5", 4, CenterCrop(8), storage_options=options) as loader:
        assert loader.files == tuple(f"s3://b/train-{k:02d}.h5" for k in range(N_FILES))
        assert (server.n_lists, server.n_heads) == (1, 1)
        assert sum(len(y) for _, y in loader) == 4 * N_FILES
    assert (server.n_lists, server.n_heads) == (1, 1)


def test_a_pattern_of_files_that_are_in_the_cache_takes_nothing_else(server, content, options, tmp_path):
    put_all(server, content)
    for _ in range(2):
        server.forget()
        with Loader("s3://b/*.h5", 4, CenterCrop(8), storage_options=options, cache=tmp_path / "cache") as loader:
            assert sum(len(y) for _, y in loader) == 4 * N_FILES
        del loader
    assert (server.n_lists, server.n_heads, server.n_bytes) == (1, 1, 0)


@pytest.mark.parametrize("has_tags", [True, False])
def test_a_list_that_tells_another_version_than_an_answer_is_not_believed(server, content, options, has_tags):
    put_all(server, content)
    server.list_quote, server.has_tags = "'", has_tags
    with Loader("s3://b/train-*.h5", 4, CenterCrop(8), storage_options=options) as loader:
        assert sum(len(y) for _, y in loader) == 4 * N_FILES
    assert (server.n_lists, server.n_heads) == (1, N_FILES)


def test_a_file_that_changes_after_it_was_listed_is_noticed(server, content, options, monkeypatch):
    put_all(server, content)
    real = server.put

    def facts(self, key):
        found = original(self, key)
        real("b/train-07.h5", content[:-1] + bytes([content[-1] ^ 1]))
        return found

    from fastprep.remote.object_stores import StoreOfProcess

    original = StoreOfProcess.facts
    monkeypatch.setattr(StoreOfProcess, "facts", facts)
    with pytest.raises(ValueError, match=r"train-07\.h5'.*another version"):
        Loader("s3://b/train-*.h5", 4, CenterCrop(8), storage_options=options)


def test_addresses_are_opened_several_at_a_time_and_stay_in_order(server, content):
    addresses = put_all(server, content)
    server.delay_s = 0.02
    mixed = [addresses[k] for k in np.random.default_rng(1).permutation(N_FILES)] + addresses[:1]
    with Loader(mixed, 4, CenterCrop(8)) as loader:
        assert loader.files == tuple(mixed)
        assert sum(len(y) for _, y in loader) == 4 * len(mixed)
    assert server.n_heads == N_FILES
    assert 4 < server.most_at_once <= 16 + 1  # one that is over, for the store, may still be counted by the server


def test_the_error_is_that_of_the_first_file_in_order(server, content):
    addresses = put_all(server, content)
    for k in (31, 12):
        del server.files[f"b/train-{k}.h5"]
    with pytest.raises(FileNotFoundError, match=r"train-12\.h5: there is no such file"):
        Loader(addresses, 4, CenterCrop(8))


def test_a_dead_server_is_given_up_once_for_all_files(server, content, soon):
    addresses = put_all(server, content)
    server.is_dead = True
    with pytest.raises(OSError, match=r"train-00\.h5: \d+ tries in \d+ s failed"):
        Loader(addresses, 4, CenterCrop(8), storage_options=soon)
