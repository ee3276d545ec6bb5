"""Chunks that are stored as they were, because no filter would have made them shorter: only what a crop needs of one is read."""

import os

import h5py
import numpy as np
import pytest
import reference

from fastprep.errors import DataError
from fastprep.h5 import Scratch, open_images
from fastprep.h5.filters import SLACK_BYTES
from fastprep.h5.reader import Reader
from fastprep.kernels import CropSpec

SHAPE = (6, 30, 20, 3)
TABLE = np.array([[0, 5, 2, 0], [1, 9, 8, 1], [2, 0, 0, 2], [3, 17, 8, 3], [4, 1, 1, 0]], np.int32)
MARK = 0xA5


@pytest.fixture
def images(rng):
    return rng.integers(0, MARK, SHAPE).astype(np.uint16)


@pytest.fixture(params=["<u2", ">u2"])
def path(request, tmp_path, images):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        dataset = file.create_dataset("images", SHAPE, request.param, compression="lzf", shuffle=True, chunks=(1, *SHAPE[1:]))
        for k, image in enumerate(images):
            if k == 3:
                dataset[k] = image  # is shorter
            else:
                dataset.id.write_direct_chunk((k, 0, 0, 0), image.astype(request.param).tobytes(), filter_mask=0b11)
    return tmp_path / "x.h5"


def crops_of(reader, samples):
    spec = CropSpec(SHAPE[1:], "uint16", (13, 12))
    table = TABLE[TABLE[:, 0] < len(samples)]
    out = np.empty(spec.out_shape(len(table)), np.float32)
    reader.read(samples, np.arange(len(samples)), spec.cpu_sink(table, len(samples), out))
    return out, table


@pytest.mark.parametrize("io", ["pread", "mmap"])
@pytest.mark.parametrize("samples", [[0, 1, 2, 3, 4], [5, 3, 5, 0, 0], [3, 2]], ids=str)
def test_crops_are_those_of_the_images(path, images, samples, io):
    """Also where an image is asked for twice, which then is read as a whole once."""
    reader = open_images(path, io=io)
    got, table = crops_of(reader, np.array(samples))
    np.testing.assert_array_equal(got, reference.crop(images[samples], table, (13, 12)))
    reader.close()


def test_no_other_rows_are_read(path):
    scratch = Scratch()
    reader = Reader(open_images(path).index, scratch=scratch)
    reader.complete()
    row = SHAPE[2] * SHAPE[3] * 2
    memory = scratch.memory("out", reader.index.chunk_bytes + SLACK_BYTES)
    memory[:] = MARK
    crops_of(reader, np.array([4]))  # rows 5 to 17
    rows = memory[: reader.index.chunk_bytes].reshape(-1, row)
    assert (rows[:5] == MARK).all()
    assert (rows[18:] == MARK).all()
    assert not (rows[5:18] == MARK).all(axis=1).any()
    reader.close()


def test_a_file_that_ends_in_a_chunk_is_an_error(path):
    reader = open_images(path)
    crops_of(reader, np.array([0]))  # which opens the file
    os.truncate(path, int(reader.index.chunks.offsets[5]) + 700)
    with pytest.raises(DataError, match="chunk 5, sample 5: the file ends before the data do"):
        crops_of(reader, np.array([5]))
    reader.close()


def test_chunks_that_are_not_in_memory_are_announced_and_read(path, images):
    reader = open_images(path)
    reader.complete()
    with open(path, "rb") as file:  # on a file system that keeps files in memory this drops nothing
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    got, table = crops_of(reader, np.array([5, 3, 1, 0, 2]))
    np.testing.assert_array_equal(got, reference.crop(images[[5, 3, 1, 0, 2]], table, (13, 12)))
    reader.close()
