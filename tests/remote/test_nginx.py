"""Files that nginx serves over HTTP, in ways that servers of the web are set up. Skipped where nginx is not installed."""

import base64
import gzip
from collections import Counter

import cloud_servers
import numpy as np
import obstore  # noqa: F401 - without it these tests are skipped
import pytest

from fastprep import RandomCrop
from fastprep.errors import DataError
from fastprep.loader import Loader

PASSWORD = {"Authorization": f"Basic {base64.b64encode(b'me:password').decode()}"}


@pytest.fixture
def web(tmp_path):
    folder = tmp_path / "web"
    folder.mkdir()
    folder.chmod(0o755)
    with cloud_servers.nginx(folder) as url:
        yield url, folder


@pytest.mark.parametrize("way", ["", "gzips/", "moved/", "untagged/", "secret/"])
def test_batches_are_those_of_the_local_file(web, make_file, way):
    url, folder = web
    path, _, _ = make_file(n=300, height=40, width=40)
    (folder / "a.h5").write_bytes(path.read_bytes())
    options = {"client_options": {"default_headers": PASSWORD}} if way == "secret/" else {}
    crop = RandomCrop(24, mirror=True)
    with (
        Loader(path, 300, crop, seed=2) as local,
        Loader(f"{url}/{way}a.h5", 32, crop, seed=2, shuffle=True, storage_options=options) as remote,
    ):
        (images, labels), n_requests = local.batch(0, 0), 0
        for epoch in range(2):
            for step in range(len(remote)):
                samples = remote.samples(0, step)
                got = remote.batch(0, step)
                np.testing.assert_array_equal(np.asarray(got[0]), np.asarray(images)[samples])
                np.testing.assert_array_equal(got[1], np.asarray(labels)[samples])
            asked, n_requests = remote.stats()["remote"]["requests"] - n_requests, remote.stats()["remote"]["requests"]
            assert (asked > 0) == (epoch == 0)


def test_connections_are_kept(web, make_file, monkeypatch):
    monkeypatch.setattr("fastprep.remote.remote_file.REQUEST_BYTES", 1 << 18)  # a request a block
    url, folder = web
    path, _, _ = make_file(n=1500, height=40, width=40)
    (folder / "a.h5").write_bytes(path.read_bytes())
    with Loader(f"{url}/a.h5", 32, RandomCrop(24)) as loader:
        list(loader)
        n_requests = loader.stats()["remote"]["requests"]
    lines = [line.split() for line in (folder / "nginx" / "requests").read_text().splitlines()]
    assert Counter(line[2] for line in lines) == {"200": 1, "206": n_requests - 1}
    assert n_requests > 20
    assert len({line[3] for line in lines}) <= 16  # connections


@pytest.mark.parametrize(
    ("way", "kind", "words"),
    [
        (
            "whole/a.h5",
            OSError,
            "whole/a.h5, bytes .*Range request not supported.*: have the server answer them, or copy the file",
        ),
        ("secret/a.h5", PermissionError, "secret/a.h5: access is denied"),
        ("b.h5", FileNotFoundError, "b.h5: there is no such file"),
        ("packed/a.h5.gz", DataError, "not an HDF5 file"),
    ],
)
def test_what_can_not_be_read_says_why(web, make_file, way, kind, words):
    url, folder = web
    content = make_file()[0].read_bytes()
    (folder / "a.h5").write_bytes(content)
    (folder / "a.h5.gz").write_bytes(gzip.compress(content))
    with pytest.raises(kind, match=words):
        Loader(f"{url}/{way}", 4, None)
