"""A mean stored in a file of any layout: nothing else changes, and the file is whole whatever fails, and whenever."""

import errno
import fcntl
import json
import os
import resource
import signal

import h5py
import numpy as np
import pytest
from training_files import IMAGES, LAYOUTS, check_rest, make

from fastprep import show
from fastprep.errors import DataError
from fastprep.h5 import open_images, store_mean
from fastprep.h5.store import Overlay
from fastprep.system import patch

MEAN = np.array([1.5, 2.25, 3.125])


@pytest.fixture(params=LAYOUTS)
def path(request, tmp_path):
    return make(tmp_path / "train.h5", request.param)


def check_stored(path):
    check_rest(path)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["images"].attrs["mean"], MEAN)
    assert sorted(os.listdir(path.parent)) == ["train.h5"]


def test_only_the_mean_changes(path):
    size = path.stat().st_size
    end = path.read_bytes()[-5000:]
    store_mean(path, "images", MEAN, overwrite=True)
    check_stored(path)
    assert path.stat().st_size <= size + 8192 + 4096 * 8  # pages of the file's own size
    if end.endswith(b"not HDF5's"):
        assert path.read_bytes()[size - 4000 : size] == end[-4000:]


def test_it_can_be_replaced_again_and_again(path):
    for factor in (2, 3, 1):
        store_mean(path, "images", factor * MEAN, overwrite=True)
    check_stored(path)


class Failing:
    """A function of os that does half of its k-th call, and then what a fault does."""

    def __init__(self, monkeypatch, fault, k, names=("pwrite", "posix_fallocate", "fsync", "open")):
        self.fault, self.left = fault, k
        for name in names:
            monkeypatch.setattr(patch.os, name, self.wrapped(name, getattr(os, name)))

    def wrapped(self, name, function):
        def call(*arguments, **options):
            if name == "open" and not str(arguments[0]).endswith("fastprep-undo"):
                return function(*arguments, **options)
            self.left -= 1
            if self.left == 0:
                if name == "pwrite":
                    descriptor, values, offset = arguments
                    function(descriptor, values[: len(values) // 2], offset)
                self.fault()
            return function(*arguments, **options)

        return call


def error_of_storing(path):
    try:
        store_mean(path, "images", MEAN, overwrite=True)
    except OSError as error:
        return error
    return None


def no_room():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_whichever_step_fails_the_old_bytes_are_there(path, monkeypatch):
    before, k, failures = path.read_bytes(), 0, 0
    while True:
        k += 1
        with monkeypatch.context() as patches:
            failing = Failing(patches, no_room, k)
            if failing.left and k > 100:
                pytest.fail("it never ends")
            error = error_of_storing(path)
        if error is None:
            break
        assert (error.errno, error.filename) == (errno.ENOSPC, str(path))
        failures += 1
        assert path.read_bytes() == before
        assert os.listdir(path.parent) == ["train.h5"]
    assert failures >= 5
    check_stored(path)


def test_whenever_it_is_killed_the_next_attempt_finds_the_old_bytes(path):
    """In a process of its own for each step, which ends by SIGKILL in the middle of a write."""
    before, survived, k, half_made = path.read_bytes(), False, 0, 0
    while not survived:
        k += 1
        assert k < 100
        child = os.fork()
        if child == 0:
            with pytest.MonkeyPatch.context() as patches:
                Failing(patches, lambda: os.kill(os.getpid(), signal.SIGKILL), k)
                try:
                    store_mean(path, "images", MEAN, overwrite=True)
                finally:
                    os._exit(0)
        survived = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        if not survived:
            half_made += patch.undo_half_made(path)
            assert path.read_bytes()[: len(before)] == before
            assert os.listdir(path.parent) == ["train.h5"]
            check_rest(path)
    assert half_made >= 1
    check_stored(path)


def test_a_file_that_is_half_changed_says_how_to_put_it_back(tmp_path, capsys):
    path = make(tmp_path / "train.h5", "latest")
    child = os.fork()
    if child == 0:
        with pytest.MonkeyPatch.context() as patches:
            changes = iter([lambda: None])

            def kill_late(descriptor, values, offset, write=os.pwrite):
                if offset >= path.stat().st_size or next(changes, None):
                    return write(descriptor, values, offset)
                return os.kill(os.getpid(), signal.SIGKILL)

            patches.setattr(patch.os, "pwrite", kill_late)
            try:
                store_mean(path, "images", MEAN)
            finally:
                os._exit(0)
    os.waitpid(child, 0)
    with open(path, "r+b") as file:  # as if the rest of the first block had come
        file.write(b"\0" * 8)
    with pytest.raises(DataError, match=r"was killed: `python -m fastprep\.show .*train\.h5 --mean --store` puts it back"):
        open_images(path)
    with open(path, "r+b") as file:
        file.write(b"\x89HDF\r\n\x1a\n")
    assert show.main([str(path), "--mean", "--store"]) == 0
    check_rest(path)
    with h5py.File(path) as file:
        np.testing.assert_allclose(file["images"].attrs["mean"], IMAGES.mean(axis=(0, 1, 2)))


def test_a_limit_on_the_size_of_files_is_met_before_anything_changes(path):
    before = path.read_bytes()
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before), old[1]))
    try:
        error = error_of_storing(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    if error is None:  # it had room inside
        check_stored(path)
    else:
        assert (error.errno, error.filename) == (errno.EFBIG, str(path))
        assert path.read_bytes() == before


# --- what is refused


@pytest.mark.parametrize("mean", [[1, np.nan, 3], [np.inf, 1, 2], [1, 2], [[1, 2, 3]]])
def test_a_mean_that_is_not_one_finite_number_a_channel_is_not_stored(tmp_path, mean):
    path = make(tmp_path / "train.h5", "contiguous")
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"a mean is 3 finite numbers, found \["):
        store_mean(path, "images", np.array(mean))
    assert path.read_bytes() == before


def test_other_files_are_not_written_to(tmp_path, capsys):
    path = make(tmp_path / "train.h5", "contiguous")
    with h5py.File(tmp_path / "linking.h5", "w") as file:
        file["images"] = h5py.ExternalLink("train.h5", "/images")
    before = path.read_bytes()
    assert show.main([str(tmp_path / "linking.h5"), "--mean", "--store"]) == 2
    assert f"the images lie in another file, '{path}', as '/images': store the mean there" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_a_file_in_the_way_is_not_followed_or_believed(tmp_path, capsys):
    path, precious = make(tmp_path / "train.h5", "contiguous"), tmp_path / "precious"
    before = path.read_bytes()
    precious.write_text("precious")
    kept = patch.undo_path(path)
    os.symlink(precious, kept)
    assert show.main([str(path), "--mean", "--store"]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert f"it is in the way of a change of '{path}': '{kept}'" in line
    assert precious.read_text() == "precious"
    os.unlink(kept)
    text = json.dumps({"what": "fastprep undo", "changes": [[0, "AAAA", "BBBB"]]})
    (tmp_path / os.path.basename(kept)).write_text(text)
    assert show.main([str(path), "--mean", "--store"]) == 2
    assert "which has changed since; remove it if that file is good" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_the_old_bytes_of_a_change_that_goes_on_are_left_alone(tmp_path):
    path = make(tmp_path / "train.h5", "contiguous")
    with open(path, "rb") as file, open(patch.undo_path(path), "w"):
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="a program has it open"):
            store_mean(path, "images", MEAN)
    assert os.path.exists(patch.undo_path(path))


def test_without_a_folder_to_write_to_it_is_stored_all_the_same(tmp_path, monkeypatch):
    path, system_open = make(tmp_path / "train.h5", "contiguous"), os.open

    def open_elsewhere(name, *arguments, **options):
        if str(name).endswith("fastprep-undo"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
        return system_open(name, *arguments, **options)

    monkeypatch.setattr(patch.os, "open", open_elsewhere)
    store_mean(path, "images", MEAN)
    check_stored(path)


def test_an_overlay_is_a_file_whose_changes_stay_in_memory(tmp_path, rng):
    path, other = tmp_path / "file", tmp_path / "other"
    values = rng.integers(0, 256, 10_000, "uint8").tobytes()
    path.write_bytes(values)
    other.write_bytes(values)
    with open(path, "rb") as file, open(other, "r+b") as wanted:
        overlay = Overlay(file.fileno())
        for _ in range(200):
            offset, n = int(rng.integers(0, 15_000)), int(rng.integers(0, 6_000))
            new = rng.integers(0, 256, n, "uint8").tobytes() if rng.random() < 0.3 else values[offset : offset + n]
            for file_like in (overlay, wanted):
                file_like.seek(offset)
                file_like.write(new)
            offset, n = int(rng.integers(0, 20_000)), int(rng.integers(0, 9_000))
            overlay.seek(offset)
            wanted.seek(offset)
            assert overlay.read(n) == wanted.read(n)
        changes = overlay.changes()
    assert path.read_bytes() == values
    assert all(change.old == values[change.offset :][: len(change.old)] for change in changes)
    with open(path, "r+b") as file:
        patch.change_file(path, file.fileno(), changes)
    assert path.read_bytes() == other.read_bytes()
