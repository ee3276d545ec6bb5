"""Files that are not what they should be: missing, of another kind, changed, truncated, damaged."""

import os
from dataclasses import replace

import h5py
import numpy as np
import pytest

from fastprep.errors import DataError
from fastprep.h5 import open_images, resident

IMAGE = (12, 14, 3)


def test_missing_file_folder_and_text(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.h5"):
        open_images(tmp_path / "nowhere.h5")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        open_images(tmp_path)
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(DataError, match=r"text\.h5': not an HDF5 file"):
        open_images(tmp_path / "text.h5")


def test_missing_dataset_tells_what_there_is(make_file):
    path, _, _ = make_file()
    with pytest.raises(
        DataError, match=r"there is no dataset 'photos'; it has 'images' \(23, 12, 14, 3\) uint8, 'labels' \(23,\) int64"
    ):
        open_images(path, "photos")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros(5), r"images have the shape \(N, height, width, channels\).*found \(5,\)"),
        (np.zeros((0, 4, 4, 3)), r"found \(0, 4, 4, 3\)"),
        (np.zeros((2, 4, 4, 3), np.complex64), "images have one of the types .*, found complex64"),
        (np.zeros((2, 4, 4, 3), complex), "found complex128"),
    ],
)
def test_datasets_that_are_no_images(tmp_path, data, message):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = data
    with pytest.raises(DataError, match=message):
        open_images(tmp_path / "x.h5")


def test_file_changed_after_it_was_opened(make_file):
    path, _, _ = make_file()
    reader = open_images(path)
    os.utime(path, ns=(1, 1))
    with pytest.raises(DataError, match="changed or replaced since it was opened first"):
        reader.array(np.array([0]))


@pytest.mark.parametrize("size", [(3, 3), (200, 300)])
def test_file_replaced_before_hdf5_opens_it_again(make_file, size):
    path, _, _ = make_file(dtype="int16", chunks=(1, *IMAGE), scaleoffset=0)
    reader = open_images(path)
    assert reader.index.reason
    os.replace(make_file(height=size[0], width=size[1], dtype="int16", name="other.h5")[0], path)
    with pytest.raises(DataError, match="changed or replaced since it was opened first"):
        reader.array(np.arange(2))


@pytest.mark.parametrize("layout", [{}, {"chunks": (1, *IMAGE)}, {"chunks": (1, *IMAGE), "compression": "gzip"}])
def test_file_truncated_while_it_is_read(make_file, layout, monkeypatch):
    monkeypatch.setattr(resident, "MOST_IMAGE_BYTES", 0)  # images in memory are whole; that the file has changed is told
    path, _, _ = make_file(n=60, **layout)
    reader = open_images(path)
    reader.array(np.arange(60))
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(
        DataError, match=r"images\.h5', dataset 'images', chunk \d+, sample \d+: the file ends before the data do"
    ):
        reader.array(np.arange(60))


def test_truncated_file_does_not_open(make_file):
    path, _, _ = make_file(n=60)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(DataError, match=r"HDF5 can't open it|truncated"):
        open_images(path)


def test_damaged_gzip_names_the_place(make_file):
    path, images, _ = make_file(chunks=(1, *IMAGE), compression="gzip")
    reader = open_images(path)
    place = int(reader.index.chunks.offsets[7]) + 40
    with open(path, "r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 0x55]))
    reader = open_images(path)
    with pytest.raises(DataError, match=r"dataset 'images', chunk 7, sample 7: gzip data is damaged") as caught:
        reader.array(np.array([3, 7]))
    assert (caught.value.chunk, caught.value.sample) == (7, 7)
    np.testing.assert_array_equal(reader.array(np.array([6, 8])), images[[6, 8]])


def test_index_that_leads_beyond_the_file(tmp_path, rng):
    """A chunk whose recorded size is larger than the file."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        data = rng.integers(0, 256, (2, *IMAGE), dtype=np.uint8)
        file.create_dataset("images", data=data, chunks=(1, *IMAGE), compression="gzip")
    with h5py.File(tmp_path / "x.h5", "r") as file:
        size = file["images"].id.get_chunk_info(0).size
    content = (tmp_path / "x.h5").read_bytes()
    entry = size.to_bytes(4, "little") + bytes(4)  # B-tree key: stored size, filter mask
    assert content.count(entry) >= 1
    (tmp_path / "x.h5").write_bytes(content.replace(entry, (0xFFFFFF00).to_bytes(4, "little") + bytes(4)))
    with pytest.raises(DataError, match="lie beyond the end of the file"):
        open_images(tmp_path / "x.h5")


def test_a_wrong_index_is_noticed_at_open(make_file, monkeypatch, caplog):
    path, images, _ = make_file(chunks=(1, *IMAGE))
    import fastprep.h5.index as index_module

    def shifted(*arguments):
        chunks = original(*arguments)
        return replace(chunks, offsets=np.roll(chunks.offsets, 1))

    original = index_module.list_chunks
    monkeypatch.setattr(index_module, "list_chunks", shifted)
    reader = open_images(path)
    assert "differs from HDF5's" in reader.index.layout
    assert "differs from HDF5's" in caplog.text
    np.testing.assert_array_equal(reader.array(np.arange(23)), images)
