"""Blocks: all images once, in order, of bounded size, cut along the edges of chunks."""

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastprep.h5 import open_images
from fastprep.h5.convert import blocks


@settings(max_examples=300, deadline=None)
@given(n=st.integers(1, 3000), per_chunk=st.integers(1, 3000), image_bytes=st.integers(1, 300 << 20))
def test_ranges_are_whole_chunks_or_few_parts_of_one(n, per_chunk, image_bytes):
    ranges = list(blocks.block_ranges(n, per_chunk, image_bytes))
    assert [a for a, _ in ranges] + [n] == [0] + [b for _, b in ranges]
    chunk_bytes = per_chunk * image_bytes
    for first, last in ranges:
        assert first < last
        assert (last - first) * image_bytes <= max(32 << 20, min(chunk_bytes, (256 << 20) + image_bytes))
        if chunk_bytes <= 256 << 20:
            assert first % per_chunk == 0
            assert last % per_chunk == 0 or last == n
        else:
            assert first // per_chunk == (last - 1) // per_chunk


@settings(max_examples=300, deadline=None)
@given(size=st.tuples(*[st.integers(1, 300)] * 2), chunk=st.tuples(*[st.integers(1, 300)] * 2), most=st.integers(0, 100_000))
def test_parts_are_whole_chunks(size, chunk, most):
    part = blocks._part_size(*size, chunk, most)
    for length, whole, piece in zip(size, part, chunk, strict=True):
        assert 1 <= whole <= length
        assert whole == length or whole % piece == 0
    assert part[0] * part[1] <= max(most, min(chunk[0], size[0]) * min(chunk[1], size[1]))


@pytest.mark.parametrize("channels", [0, 1, 3])
@pytest.mark.parametrize("chunks", [(4, 5, 6), (30, 12, 3), (1, 1, 14), (7, 12, 14), (23, 2, 14)])
def test_every_image_once_by_many_small_parts(make_file, monkeypatch, chunks, channels):
    monkeypatch.setattr(blocks, "_BLOCK_BYTES", 1500)
    monkeypatch.setattr(blocks, "_MOST_BYTES", 4000)
    chunks = (*chunks, *[max(1, channels - 1)] * (channels > 0))
    path, images, _ = make_file(n=31, channels=channels, dtype="float32", chunks=chunks, compression="lzf")
    found, times = np.zeros((31, 12, 14, max(1, channels)), "float32"), np.zeros((31, 12, 14), int)
    with h5py.File(path) as file:
        reader = open_images(path)
        for first, last, parts in blocks.read_blocks(reader, file["images"]):
            for part in parts:
                found[first:last, part.rows, part.columns] = part.pixels
                times[first:last, part.rows, part.columns] += 1
        reader.close()
    assert times.min() == times.max() == 1
    np.testing.assert_array_equal(found, images.reshape(found.shape))
