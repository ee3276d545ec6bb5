"""Files of buckets: servers on loopback stand in for three clouds; see cloud_servers.py. No cloud itself is asked by any test."""

import cloud_servers
import numpy as np
import obstore  # noqa: F401 - without it these tests are skipped
import pytest

from fastprep import CenterCrop, RandomCrop, show
from fastprep.errors import ChangedError
from fastprep.loader import Loader


@pytest.fixture(scope="module", params=["s3", "gs", "az"])
def bucket(request):
    with getattr(cloud_servers, request.param)() as bucket:
        yield bucket


def check_equal(local, remote):
    wanted = local.batch(0, 0)
    seen = []
    for step in range(len(remote)):
        samples = remote.samples(0, step)
        for got, all_of_them in zip(remote.batch(0, step), wanted, strict=True):
            np.testing.assert_array_equal(np.asarray(got), np.asarray(all_of_them)[samples])
        seen += samples.tolist()
    assert sorted(seen) == list(range(local.n_samples))


def test_a_pattern_names_files_in_alphabetical_order_and_their_batches_are_those_of_local_ones(bucket, make_file, tmp_path):
    layout = {"chunks": (4, 12, 14, 3), "compression": "gzip"}
    paths = [make_file(name=f"train-{k}.h5", **layout)[0] for k in range(3)]
    for path in reversed(paths):
        bucket.put(path, f"some/{path.name}")
    bucket.put(paths[0], "some/deeper/train-9.h5")
    options = {"shuffle": True, "seed": 5, "storage_options": bucket.options, "cache": tmp_path / "cache"}
    crop = RandomCrop(8, mirror=True)
    with Loader(paths, 69, crop, seed=5) as local:
        with Loader(f"{bucket.address}/some/train-*.h5", 7, crop, **options) as remote:
            assert remote.files == tuple(f"{bucket.address}/some/train-{k}.h5" for k in range(3))
            check_equal(local, remote)
            n_requests = remote.stats()["remote"]["requests"]
            check_equal(local, remote)
            assert remote.stats()["remote"]["requests"] == n_requests
        del remote
        with Loader(f"{bucket.address}/**/train-[0-2].h5", 7, crop, **options) as again:  # which the folder of the cache has
            check_equal(local, again)
            assert again.stats()["remote"]["bytes"] == 0


def test_labels_of_another_file_and_a_cache_without_a_folder(bucket, make_file):
    x, _, _ = make_file(name="x.h5")
    y, _, _ = make_file(name="y.h5")
    addresses = [bucket.put(path, path.name) for path in (x, y)]
    options = {"labels": f"{addresses[1]}:labels", "storage_options": bucket.options}
    with Loader(x, 23, CenterCrop(8), labels=f"{y}:labels") as local, Loader(addresses[0], 5, CenterCrop(8), **options) as remote:
        check_equal(local, remote)


def test_an_object_that_changes_is_an_error(bucket, make_file, monkeypatch):
    monkeypatch.setattr("fastprep.h5.reader.RUN_BYTES", 1 << 18)  # so that the first batch does not bring all of them
    path, _, _ = make_file(n=600, height=40, width=40)
    address = bucket.put(path, "changing.h5")
    with Loader(address, 64, None, mean=None, storage_options=bucket.options) as loader:
        loader.batch(0, 0)
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        bucket.put(path, "changing.h5")
        with pytest.raises(ChangedError, match="another version"):
            list(loader)


def test_what_is_not_there_is_one_line_at_once(bucket):
    options = {"storage_options": bucket.options}
    with pytest.raises(FileNotFoundError, match=r"/none\.h5: there is no such file") as error:
        Loader(f"{bucket.address}/none.h5", 4, None, **options)
    assert "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError, match=r"no file matches '.*/none-\*\.h5'"):
        Loader(f"{bucket.address}/none-*.h5", 4, None, **options)


def test_settings_of_nobody_name_the_store(bucket):
    with pytest.raises(ValueError, match=f"what obstore takes for {bucket.address}: .*no_such_setting"):
        Loader(f"{bucket.address}/none.h5", 4, None, storage_options={"no_such_setting": 1})


@pytest.mark.parametrize("address", ["x.h5", "x-*.h5"])
def test_wrong_credentials_are_one_line_at_once(bucket, address):
    if bucket.wrong is None:
        pytest.skip("this server looks at no credentials; test_refusals.py has the answers of one that does")
    with pytest.raises(PermissionError, match="access is denied; pass credentials by storage_options=") as error:
        Loader(f"{bucket.address}/{address}", 4, None, storage_options=bucket.wrong)
    assert f"{bucket.address}/{address}" in str(error.value)
    assert "\n" not in str(error.value)


def test_google_takes_the_file_of_a_service_account(make_file, tmp_path):
    path, _, _ = make_file()
    with cloud_servers.gs() as bucket, Loader(path, 23, None) as local:
        address = bucket.put(path, "x.h5")
        account = cloud_servers.service_account(bucket.options["base_url"], tmp_path / "account.json")
        options = {"service_account": account, "client_options": {"allow_http": True}}
        with Loader(address, 5, None, storage_options=options) as remote:
            check_equal(local, remote)


def test_a_file_of_credentials_that_is_not_there_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    assert show.main(["gs://bucket/x.h5"]) == 2
    message = capsys.readouterr().err
    assert "gs://bucket" in message
    assert "none.json" in message
    assert message.count("\n") == 1
