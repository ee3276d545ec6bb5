"""The cache: shared by processes, whole whatever is killed, bounded, and never believed unchecked."""

import gc
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import obstore  # noqa: F401 - without it these tests are skipped
import pytest

from fastprep import CenterCrop
from fastprep.loader import Loader
from fastprep.remote.cache import Cache
from fastprep.remote.records import BLOCK


@pytest.fixture
def content(make_file):
    path, _, _ = make_file(n=1200, height=40, width=40)  # 5.8 MB, 23 blocks
    return path.read_bytes()


def pixels(loader):
    return np.concatenate([np.asarray(x) for x, _ in loader])


@pytest.fixture
def wanted(tmp_path, content):
    (tmp_path / "local.h5").write_bytes(content)
    with Loader(tmp_path / "local.h5", 64, CenterCrop(20)) as loader:
        return pixels(loader)


def held_bytes(folder):
    return sum(path.stat().st_blocks * 512 for path in Path(folder).glob("*/*.data"))


READ = """
import sys, numpy as np
from fastprep import CenterCrop
from fastprep.loader import Loader
with Loader(sys.argv[1], 64, CenterCrop(20), cache=sys.argv[2], workers=2) as loader:
    print(sum(float(np.asarray(x).sum(dtype="float64")) for x, _ in loader))
"""


def start(address, folder):
    return subprocess.Popen([sys.executable, "-c", READ, address, str(folder)], stdout=subprocess.PIPE, text=True)


def test_killed_at_any_moment_it_stays_usable(server, content, wanted, tmp_path):
    address, folder = server.put("a.h5", content), tmp_path / "cache"
    server.delay_s = 0.01
    drawn = random.Random(1)
    for _ in range(10):
        pid = os.fork()
        if pid == 0:
            try:
                with Loader(address, 64, CenterCrop(20), cache=folder) as loader:
                    list(loader)
            finally:
                os._exit(0)
        time.sleep(drawn.uniform(0.02, 0.5))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    server.delay_s = 0
    with Loader(address, 64, CenterCrop(20), cache=folder) as loader:
        np.testing.assert_array_equal(pixels(loader), wanted)


def test_two_processes_share_it(server, content, wanted, tmp_path):
    address = server.put("a.h5", content)
    server.delay_s = 0.02
    processes = [start(address, tmp_path / "cache") for _ in range(2)]
    totals = [process.communicate(timeout=100)[0] for process in processes]
    assert [float(total) for total in totals] == [pytest.approx(wanted.sum(dtype="float64"))] * 2
    server.forget()
    with Loader(address, 64, CenterCrop(20), cache=tmp_path / "cache") as loader:
        np.testing.assert_array_equal(pixels(loader), wanted)
    assert server.n_bytes == 0


def test_a_process_that_was_forked_reads_on(server, content, wanted):
    with Loader(server.put("a.h5", content), 64, CenterCrop(20)) as loader:
        loader.batch(0, 0)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                signal.alarm(60)
                status = 0 if (pixels(loader) == wanted).all() else 2
            finally:
                os._exit(status)
        np.testing.assert_array_equal(pixels(loader), wanted)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize("suffix", ["data", "blocks"])
def test_damaged_blocks_and_torn_records_are_fetched_anew(server, content, wanted, tmp_path, suffix):
    address, folder = server.put("a.h5", content), tmp_path / "cache"
    with Loader(address, 64, CenterCrop(20), cache=folder) as loader:
        pixels(loader)
    del loader  # blocks are verified when they are first used after opening
    gc.collect()
    (path,) = folder.glob(f"*/*.{suffix}")
    damaged = bytearray(path.read_bytes())
    places = [3 * BLOCK + 17, 9 * BLOCK] if suffix == "data" else [4096 + 16 * 3 + 1, 4096 + 16 * 9 + 5]
    for place in places:
        damaged[place] ^= 0x40
    path.write_bytes(damaged)
    server.forget()
    with Loader(address, 64, CenterCrop(20), cache=folder) as loader:
        np.testing.assert_array_equal(pixels(loader), wanted)
    assert server.n_bytes == 2 * BLOCK


@pytest.mark.parametrize("is_kept", [True, False])
def test_bound_holds_while_everything_is_read(server, content, wanted, tmp_path, is_kept):
    folder = tmp_path / "cache" if is_kept else None
    options = {"cache": folder, "cache_bytes": 8 * BLOCK, "workers": 2}
    with Loader(server.put("a.h5", content), 16, CenterCrop(20), **options) as loader:
        for _ in range(2):
            np.testing.assert_array_equal(pixels(loader), wanted)
        if is_kept:
            assert held_bytes(folder) <= 16 * BLOCK


def test_a_block_in_use_is_not_let_go_of(tmp_path):
    cache = Cache(str(tmp_path), BLOCK)
    mirror = cache.mirror("s3://bucket", "a.h5", 4 * BLOCK, "tag")
    mirror.write(0, bytes(4 * BLOCK))
    with mirror.pinned(np.array([1, 2])):
        cache.shrink(0)
        np.testing.assert_array_equal(mirror.missing(np.arange(4)), [0, 3])
    cache.shrink(0)
    np.testing.assert_array_equal(mirror.missing(np.arange(4)), np.arange(4))
    mirror.close()


def test_a_full_disk_ends_the_caching_and_not_the_reading(server, content, wanted, tmp_path, monkeypatch, caplog):
    from fastprep.remote import mirror

    real = os.pwrite

    def full(descriptor, data, offset):
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(".data") and offset > 10 * BLOCK:
            raise OSError(28, "No space left on device")
        return real(descriptor, data, offset)

    monkeypatch.setattr(mirror.os, "pwrite", full)
    with Loader(server.put("a.h5", content), 64, CenterCrop(20), cache=tmp_path / "cache") as loader:
        np.testing.assert_array_equal(pixels(loader), wanted)
    assert [record.message for record in caplog.records if "takes no more" in record.message] == [caplog.records[-1].message]


def test_a_cache_without_a_folder_leaves_nothing(server, content, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "tmp").mkdir()
    with Loader(server.put("a.h5", content), 64, CenterCrop(20)) as loader:
        pixels(loader)
        assert list((tmp_path / "tmp").iterdir()) == []


def test_the_environment_names_the_cache_of_commands_and_of_loaders_that_name_none(server, content, tmp_path, monkeypatch):
    address = server.put("a.h5", content)
    monkeypatch.setenv("FASTPREP_CACHE", str(tmp_path / "said"))
    monkeypatch.setenv("FASTPREP_CACHE_BYTES", "3000000")
    with Loader(address, 8, None) as loader:
        assert next(iter(loader)) is not None
        assert loader._session._cache.n_bytes == 3_000_000
    assert list((tmp_path / "said").glob("*/*.data"))
    with Loader(address, 8, None, cache=tmp_path / "given") as loader:
        assert next(iter(loader)) is not None
    assert list((tmp_path / "given").glob("*/*.data"))


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [("FASTPREP_CACHE", "s3://bucket/x", "must be a folder"), ("FASTPREP_CACHE_BYTES", "4 GB", "must be a number of bytes")],
)
def test_an_environment_that_names_no_cache_is_an_error_for_remote_files_alone(
    server, content, make_file, monkeypatch, name, value, rule
):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"{name} {rule}"):
        Loader(server.put("a.h5", content), 8, None)
    with Loader(make_file()[0], 8, None):
        pass
