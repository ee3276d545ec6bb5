"""What only Linux has is hidden, and what is left does the same, or says that it can't. No other system has been seen."""

import fcntl
import os
import threading

import h5py
import numpy as np
import pytest

import fastprep
from fastprep.cli import keras_startup
from fastprep.h5 import store_mean, write_images
from fastprep.loader import Loader
from fastprep.system import flush_to_disk, nameless_file, usable_processors


@pytest.fixture
def other_system(monkeypatch):
    """Hide the functions of `os` that Python has on Linux and not on every POSIX system."""
    for name in ("memfd_create", "posix_fadvise", "posix_fallocate", "sched_getaffinity"):
        monkeypatch.delattr(os, name, raising=False)  # a build for older systems may lack one


@pytest.fixture
def images(tmp_path, rng):
    images = rng.integers(0, 256, (9, 10, 12, 3), dtype=np.uint8)
    write_images(tmp_path / "x.h5", images, np.arange(9))
    return tmp_path / "x.h5", images


def test_processors_are_those_of_the_machine_where_the_system_does_not_tell_which_are_ours(other_system, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert usable_processors() == 3
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_processors() == 1


def test_processors_are_those_that_the_process_may_use_where_the_system_tells():
    assert usable_processors() == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_file_without_a_name_is_in_the_temporary_folder_where_there_are_none_in_memory(
    other_system, tmp_path, monkeypatch, in_memory
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    descriptor = nameless_file(in_memory)
    try:
        assert os.fstat(descriptor).st_dev == tmp_path.stat().st_dev
        assert os.fstat(descriptor).st_nlink == 0
        assert list(tmp_path.iterdir()) == []
        os.write(descriptor, b"abc")
        assert os.pread(descriptor, 9, 0) == b"abc"
    finally:
        os.close(descriptor)


def test_files_are_read_and_crops_are_cut(other_system, images):
    path, pixels = images
    with Loader(path, 4, fastprep.CenterCrop(8), mean=None, device="cpu") as loader:
        assert loader.workers == min(8, os.cpu_count())
        np.testing.assert_array_equal(np.concatenate([x.copy() for x, _ in loader]), pixels[:, 1:9, 2:10].astype(np.float32))


def test_a_mean_is_stored_where_no_room_can_be_reserved(other_system, images):
    path, pixels = images
    mean = pixels.mean(axis=(0, 1, 2)) + 1
    store_mean(path, "images", mean, overwrite=True)
    with h5py.File(path) as file:
        np.testing.assert_allclose(file["images"].attrs["mean"], mean, rtol=1e-6)  # which is float32 in the file


def test_files_reach_the_disk_where_the_system_can_not_be_told_to_forget_them(other_system, images):
    flush_to_disk(images[0], forget=True)


def test_messages_of_keras_start_are_kept_and_handed_on(other_system, monkeypatch, capfd):
    lines = []
    monkeypatch.setattr(keras_startup, "_import", lambda _: os.write(2, b"a message that matters\n"))
    monkeypatch.setattr(keras_startup, "write_message", lines.append)
    keras_startup._import_quietly(False)
    assert lines == ["a message that matters"]
    assert capfd.readouterr().err == ""


def test_remote_files_are_refused_in_words_where_locks_belong_to_processes(monkeypatch):
    pytest.importorskip("obstore")
    monkeypatch.delattr(fcntl, "F_OFD_SETLK")
    n_threads = threading.active_count()
    with pytest.raises(OSError, match="can be read on Linux only: copy them to this machine"):
        Loader("http://127.0.0.1:9/x.h5", 4, None)
    assert threading.active_count() == n_threads
