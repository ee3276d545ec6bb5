"""Files of an S3 bucket: moto's server stands in for one. A server of Amazon's, or of others, is not asked by any test."""

import urllib.request

import numpy as np
import obstore
import pytest
from obstore.store import S3Store

from fastprep.loader import Loader

moto_server = pytest.importorskip("moto.server", reason="moto's server is not installed: pip install 'fastprep[test-tools]'")


@pytest.fixture
def options():
    server = moto_server.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield {
        "endpoint": f"http://{host}:{port}",
        "region": "us-east-1",
        "access_key_id": "a",
        "secret_access_key": "b",
        "client_options": {"allow_http": True},
        "retry_config": {"retry_timeout": 5},
    }
    server.stop()


def test_a_pattern_names_the_files_of_a_bucket_in_alphabetical_order(options, make_file, tmp_path):
    with urllib.request.urlopen(urllib.request.Request(f"{options['endpoint']}/bucket", method="PUT")) as answer:
        assert answer.status == 200
    settings = {name: value for name, value in options.items() if name not in ("client_options", "retry_config")}
    bucket = S3Store("bucket", config=settings, client_options=options["client_options"])
    paths = [make_file(name=f"train-{k}.h5")[0] for k in range(3)]
    for path in paths:
        obstore.put(bucket, f"some/{path.name}", path)
    obstore.put(bucket, "some/deeper/train-9.h5", paths[0])
    with (
        Loader("s3://bucket/some/train-*.h5", 69, None, storage_options=options, cache=tmp_path / "cache") as remote,
        Loader(paths, 69, None) as local,
    ):
        assert remote.files == tuple(f"s3://bucket/some/train-{k}.h5" for k in range(3))
        for got, wanted in zip(remote.batch(0, 0), local.batch(0, 0), strict=True):
            np.testing.assert_array_equal(np.asarray(got), np.asarray(wanted))
    with pytest.raises(FileNotFoundError, match="no file matches"):
        Loader("s3://bucket/none-*.h5", 4, None, storage_options=options)
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        Loader("s3://bucket/none.h5", 4, None, storage_options=options)
    with pytest.raises(ValueError, match="what obstore takes"):
        Loader("s3://bucket/none.h5", 4, None, storage_options={"no_such_setting": 1})
