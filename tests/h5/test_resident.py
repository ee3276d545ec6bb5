"""Small images kept in memory: those of the file, read once, and no cover for a file that is damaged or has changed."""

import errno
import os
import threading

import h5py
import numpy as np
import pytest

from fastprep.errors import ChangedError, DataError
from fastprep.h5 import open_images, resident

LAYOUTS = {
    "contiguous": {},
    "chunk of one": {"chunks": (1, 12, 14, 3)},
    "chunk of four, partial last": {"chunks": (4, 12, 14, 3)},
}


def memory_of(reader):
    """Return what the reader keeps in memory, or None."""
    return reader._resident[1]


@pytest.mark.parametrize("block_bytes", [100, 4096, 1 << 18])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_are_those_of_the_file(make_file, monkeypatch, layout, block_bytes):
    monkeypatch.setattr(resident, "BLOCK_BYTES", block_bytes)
    path, images, _ = make_file(**LAYOUTS[layout])
    reader = open_images(path)
    for samples in ([5], [22, 0, 5, 5], [*range(23)], [*reversed(range(23))]):
        np.testing.assert_array_equal(reader.array(np.array(samples)), images[samples])
    assert memory_of(reader) is not None


def test_each_block_is_read_once(make_file, monkeypatch):
    monkeypatch.setattr(resident, "BLOCK_BYTES", 504 * 4)
    path, _, _ = make_file()
    reader = open_images(path)
    reader.complete()
    reads = []
    read_bytes = resident._read.read_bytes
    monkeypatch.setattr(resident._read, "read_bytes", lambda *arguments: reads.append(arguments[1]) or read_bytes(*arguments))
    reader.array(np.array([0, 1, 2, 3]))
    assert len(reads) == 1
    for _ in range(3):
        reader.array(np.arange(23))
    assert len(reads) == len(set(reads)) == 6


def test_a_file_that_changes_is_not_read_from_memory(make_file):
    path, _, _ = make_file()
    reader = open_images(path)
    reader.array(np.arange(23))
    with h5py.File(path, "r+") as file:
        file["images"][3] = 0
    with pytest.raises(ChangedError, match="changed or replaced"):
        reader.array(np.array([3]))


def test_a_file_that_is_cut_off_is_an_error_of_the_first_image_that_is_gone(make_file):
    path, _, _ = make_file()
    reader = open_images(path)
    reader.complete()
    end = int(reader.index.chunks.offsets[0]) + 10 * reader.index.image_bytes
    found = resident.ResidentImages(end - 1000, end + 1000)
    os.truncate(path, end)
    with open(path, "rb") as file:
        assert found.has(file.fileno(), np.array([end - 1000]), 1100) is False
    with pytest.raises(DataError, match=r"changed or replaced|truncated|ends before"):
        open_images(path).array(np.array([12]))


def test_a_file_that_was_cut_off_meanwhile_is_not_read_from_memory(make_file):
    path, _, _ = make_file()
    reader = open_images(path)
    reader.array(np.arange(23))
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(ChangedError, match="changed or replaced"):
        reader.array(np.arange(23))


def test_images_that_can_not_be_read_together_are_read_one_by_one(make_file, monkeypatch):
    path, images, _ = make_file()
    reader = open_images(path)
    reader.complete()
    monkeypatch.setattr(resident._read, "read_bytes", lambda *arguments: errno.EIO)
    np.testing.assert_array_equal(reader.array(np.arange(23)), images)


@pytest.mark.parametrize(
    ("name", "value"), [("MOST_IMAGE_BYTES", 503), ("MOST_BYTES", 503 * 23), ("_SHARE_OF_MEMORY", 1 << 50)], ids=str
)
def test_large_images_and_data_sets_are_read_from_the_file(make_file, monkeypatch, name, value):
    monkeypatch.setattr(resident, name, value)
    path, images, _ = make_file()
    reader = open_images(path)
    np.testing.assert_array_equal(reader.array(np.arange(23)), images)
    assert memory_of(reader) is None


def test_images_with_much_between_them_are_read_from_the_file(tmp_path, rng):
    images, path = rng.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8), tmp_path / "spread.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("images", images.shape, np.uint8, chunks=(1, 32, 32, 3))
        for k, image in enumerate(images):
            dataset[k] = image
            file.flush()  # the chunk gets its place
            file[f"between{k}"] = np.zeros(5000, np.uint8)
    reader = open_images(path)
    np.testing.assert_array_equal(reader.array(np.arange(4)), images)
    assert memory_of(reader) is None


def test_memory_is_given_back_with_close(make_file):
    path, images, _ = make_file()
    reader = open_images(path)
    reader.array(np.arange(23))
    reader.close()
    assert memory_of(reader) is None
    np.testing.assert_array_equal(reader.array(np.arange(23)), images)


def test_a_child_reads_what_its_parent_has_in_memory_and_what_it_has_not(make_file, monkeypatch):
    monkeypatch.setattr(resident, "BLOCK_BYTES", 504 * 4)
    path, images, _ = make_file()
    reader = open_images(path)
    reader.array(np.arange(8))
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(reader.array(np.arange(23)), images) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_another_thread_has_read_is_looked_at_under_the_lock(make_file):
    path, images, _ = make_file()
    reader = open_images(path)
    reader.array(np.arange(23))
    found = []
    other = threading.Thread(target=lambda: found.append(reader.array(np.arange(23))))
    with reader._resident[1]._lock:
        other.start()
        other.join(0.05)
        assert not found
    other.join()
    np.testing.assert_array_equal(found[0], images)
