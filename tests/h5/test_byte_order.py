"""Numbers in the other byte order: swapped while they are read, so that every sink gets the numbers that h5py reads."""

import h5py
import hdf5plugin
import numpy as np
import pytest

from fastprep import RandomCrop, RandomResizedCrop
from fastprep.h5 import _decode, _read, chunks, open_images
from fastprep.loader import Loader

SHAPE = (9, 21, 19, 3)
AN_IMAGE_EACH = {"chunks": (1, *SHAPE[1:])}
LAYOUTS = {
    "contiguous": {},
    "an image each": AN_IMAGE_EACH,
    "four each": {"chunks": (4, *SHAPE[1:])},
    "tiles": {"chunks": (2, 7, 10, 2)},
    "gzip": {**AN_IMAGE_EACH, "compression": "gzip"},
    "shuffle+lzf+fletcher32": {**AN_IMAGE_EACH, "shuffle": True, "compression": "lzf", "fletcher32": True},
    "four each, bitshuffle": {"chunks": (4, *SHAPE[1:]), **hdf5plugin.Bitshuffle(cname="lz4")},
    "tiles, zstd": {"chunks": (2, 7, 10, 2), **hdf5plugin.Zstd()},
    "blosc2": {**AN_IMAGE_EACH, **hdf5plugin.Blosc2()},
}
DTYPES = ("u2", "i2", "i4", "f2", "f4", "f8")


def swapped(dtype):
    """Return the type in the byte order that this machine does not have."""
    return np.dtype(dtype).newbyteorder("S")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Every type in every layout. The first chunk of `raw` has skipped its filter, as one does that would not get shorter."""
    path = tmp_path_factory.mktemp("orders") / "images.h5"
    content = np.random.default_rng(0).integers(0, 2**15, SHAPE)
    with h5py.File(path, "w") as file:
        for layout, options in LAYOUTS.items():
            for dtype in DTYPES:
                file.create_dataset(f"{layout}, {dtype}", data=content.astype(swapped(dtype)), **options)
        raw = file.create_dataset("raw", SHAPE, swapped("f4"), compression="gzip", **AN_IMAGE_EACH)
        for k in range(len(content)):
            raw.id.write_direct_chunk((k, 0, 0, 0), content[k].astype(swapped("f4")).tobytes(), filter_mask=1)
        file["labels"] = np.arange(len(content))
    return path


def no_conversion(values, dtype):
    """Stand in for `widened`, which has something to do only where the kernels lack the type."""
    assert values.dtype == dtype or values.dtype.newbyteorder("=").name in ("float16", "int32")
    return values.astype(dtype, copy=False)


@pytest.mark.parametrize("io", ["pread", "mmap"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_type_and_layout_is_swapped_without_numpy(path, monkeypatch, layout, io):
    before = path.read_bytes()
    samples = np.array([8, 0, 3, 3, 5, 1, 8])
    with h5py.File(path) as file:
        for dtype in DTYPES:
            name = f"{layout}, {dtype}"
            reader = open_images(path, name, io=io)
            reader.complete()  # which compares some images with what HDF5 reads
            assert reader.index.reason == ""
            with monkeypatch.context() as patch:
                patch.setattr(chunks, "widened", no_conversion)
                got = reader.array(samples)
            assert got.dtype.isnative
            np.testing.assert_array_equal(got, file[name][()][samples])
            reader.close()
    assert path.read_bytes() == before  # nothing is swapped in the mapped file


@pytest.mark.parametrize("io", ["pread", "mmap"])
def test_chunks_that_skipped_their_filters_are_swapped(path, io):
    reader = open_images(path, "raw", io=io)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(reader.array(np.array([2, 2, 0])), file["raw"][()][[2, 2, 0]])
    reader.close()


@pytest.mark.parametrize("dtype", ["u2", "i2", "f4", "f8"])
@pytest.mark.parametrize("layout", ["contiguous", "gzip", "tiles, zstd"])
@pytest.mark.parametrize("crop", [RandomCrop((9, 12), mirror=True), RandomResizedCrop((8, 10))], ids=["crops", "resized"])
def test_batches_are_those_of_the_same_numbers_in_this_machine_s_order(path, tmp_path, crop, layout, dtype):
    """The kernels ask for a part of each image, and only that is read and swapped."""
    with h5py.File(path) as file, h5py.File(tmp_path / "native.h5", "w") as native:
        native.create_dataset("images", data=file[f"{layout}, {dtype}"][()].astype(dtype), **LAYOUTS[layout])
        native["labels"] = file["labels"][()]
    arguments = {"batch_size": 4, "crop": crop, "mean": None, "shuffle": True, "seed": 3}
    with (
        Loader(path, images=f"{layout}, {dtype}", **arguments) as ours,
        Loader(tmp_path / "native.h5", **arguments) as theirs,
    ):
        for (x, y), (wanted, labels) in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(np.asarray(x), np.asarray(wanted))
            np.testing.assert_array_equal(np.asarray(y), np.asarray(labels))


def test_only_numbers_of_2_4_or_8_bytes_are_swapped():
    none, nothing = np.zeros(1, np.int64), np.zeros(1, np.uint8)
    sink = _read.CopySink(nothing, 1)
    with pytest.raises(ValueError, match="numbers of 1 bytes can't be swapped"):
        _decode.ChunkPlan([], (1, 1, 1, 1), (1, 1, 1, 1), 1, True, 0, none, none, none.astype(np.uint32))
    with pytest.raises(ValueError, match="numbers of 3 bytes can't be swapped"):
        _read.read_images(0, none, none, nothing, sink, 3)
