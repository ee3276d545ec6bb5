"""Every type x every filter x every shape of chunks x photographs and noise: equal to what h5py reads, and read directly."""

import itertools
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastprep.h5 import open_images

SHAPE = (7, 11, 13, 3)
DTYPES = [
    "uint8",
    "int8",
    "uint16",
    "int16",
    "int32",
    "uint32",
    "float16",
    "float32",
    "float64",
    ">u2",
    ">i2",
    ">i4",
    ">f2",
    ">f4",
    ">f8",
]
FILTERS = {
    "none": {},
    "gzip": {"compression": "gzip"},
    "lzf": {"compression": "lzf"},
    "lz4": hdf5plugin.LZ4(),
    "lz4 in small blocks": hdf5plugin.LZ4(nbytes=300),
    "zstd": hdf5plugin.Zstd(),
    "blosc lz4": hdf5plugin.Blosc("lz4", 5, hdf5plugin.Blosc.SHUFFLE),
    "blosc zstd": hdf5plugin.Blosc("zstd", 3, hdf5plugin.Blosc.BITSHUFFLE),
    "blosc zlib": hdf5plugin.Blosc("zlib", 3, hdf5plugin.Blosc.NOSHUFFLE),
    "bitshuffle": hdf5plugin.Bitshuffle(cname="none"),
    "bitshuffle lz4": hdf5plugin.Bitshuffle(cname="lz4"),
    "bitshuffle zstd": hdf5plugin.Bitshuffle(cname="zstd"),
    "bitshuffle lz4 in small blocks": hdf5plugin.Bitshuffle(nelems=64, cname="lz4"),
}
CHUNKS = {
    "an image each": (1, 11, 13, 3),
    "three images each": (3, 11, 13, 3),
    "split in all dimensions": (2, 4, 6, 2),
    "split in channels": (7, 11, 13, 1),
}


@pytest.fixture(scope="module")
def contents():
    """Noise, and crops of a photograph, which compresses."""
    image_module = pytest.importorskip("PIL.Image")
    elpv = pytest.importorskip("elpv_dataset")
    photograph = np.asarray(image_module.open(Path(elpv.__file__).parent / "data" / "images" / "cell0001.png"))
    crops = [photograph[30 * k : 30 * k + 11, 20 + c : 33 + c] for k in range(7) for c in range(3)]
    crops = np.stack(crops).reshape(7, 3, 11, 13).transpose(0, 2, 3, 1) // 2  # 0..127, which all types can hold
    return {"photograph": crops, "noise": np.random.default_rng(0).integers(0, 128, SHAPE)}


@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("filters", FILTERS)
def test_equals_h5py(tmp_path, contents, filters, chunks):
    options = {**FILTERS[filters], "chunks": CHUNKS[chunks]}
    with h5py.File(tmp_path / "matrix.h5", "w") as file:
        for k, (dtype, (what, content), shuffle) in enumerate(itertools.product(DTYPES, contents.items(), (False, True))):
            fletcher32 = bool((k + k // 2 + k // 4) % 2)  # four of eight for a type: all pairs with contents, and with shuffle
            data = (content * 1.25 if np.dtype(dtype).kind == "f" else content).astype(dtype)
            name = f"{what} {dtype} {shuffle} {fletcher32}"
            file.create_dataset(name, data=data, shuffle=shuffle, fletcher32=fletcher32, **options)
    samples = np.array([6, 0, 3, 3, 5, 1, 2, 4, 6])
    with h5py.File(tmp_path / "matrix.h5", "r") as file:
        for name, dataset in file.items():
            reader = open_images(tmp_path / "matrix.h5", name)
            got = reader.array(samples)
            assert reader.index.reason == "", name
            assert got.dtype == reader.index.dtype
            np.testing.assert_array_equal(got, dataset[()][samples].astype(got.dtype), err_msg=name)


@settings(max_examples=150, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 20), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4)),
    chunk=st.tuples(st.integers(1, 20), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4)),
    dtype=st.sampled_from(DTYPES),
    filters=st.sampled_from(list(FILTERS)),
    shuffle=st.booleans(),
    fletcher32=st.booleans(),
    picks=st.lists(st.integers(0, 10**6), min_size=1, max_size=30),
    values=st.sampled_from([2, 128]),
)
def test_any_shape_any_chunks_any_filters_any_samples(
    tmp_path_factory, shape, chunk, dtype, filters, shuffle, fletcher32, picks, values
):
    path = tmp_path_factory.mktemp("any") / "x.h5"
    data = np.random.default_rng(0).integers(0, values, shape).astype(dtype)
    chunk = tuple(min(c, s) for c, s in zip(chunk, shape, strict=True))
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=data, chunks=chunk, shuffle=shuffle, fletcher32=fletcher32, **FILTERS[filters])
    samples = np.array(picks) % shape[0]
    reader = open_images(path)
    np.testing.assert_array_equal(reader.array(samples), data[samples].astype(reader.index.dtype))


@pytest.mark.parametrize("filters", [f for f in FILTERS if f != "none"])
def test_damage_is_noticed_under_a_checksum(tmp_path, contents, filters):
    """With fletcher32 after the compression each changed byte of a chunk is an error that names the chunk and the sample."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        options = {**FILTERS[filters], "chunks": (1, *SHAPE[1:]), "fletcher32": True}
        file.create_dataset("images", data=contents["photograph"].astype("uint8"), **options)
    index = open_images(tmp_path / "x.h5").index
    content = (tmp_path / "x.h5").read_bytes()
    for place in np.random.default_rng(1).integers(0, index.chunks.sizes[4], 20):
        damaged = bytearray(content)
        damaged[int(index.chunks.offsets[4]) + int(place)] ^= 0x10
        (tmp_path / "y.h5").write_bytes(damaged)
        reader = open_images(tmp_path / "y.h5")
        with pytest.raises(ValueError, match=r"dataset 'images', chunk 4, sample 4: .* data is damaged"):
            reader.array(np.array([4]))
        np.testing.assert_array_equal(reader.array(np.array([3, 5])), contents["photograph"][[3, 5]])
