"""Every layout that a file may have: equal to what h5py reads, and read in the intended way, or a clear refusal."""

import contextlib
import ctypes
import threading

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from like_h5py import assert_reads_like_h5py, low_level

from fastprep.errors import DataError
from fastprep.h5 import open_images

H5 = "read by HDF5"
IMAGE = (12, 14, 3)


DIRECT = {
    "contiguous": ({}, "contiguous"),
    "chunk of one": ({"chunks": (1, *IMAGE)}, "chunked, 1 image each, filters none"),
    "chunk of four, partial last": ({"chunks": (4, *IMAGE)}, "chunked, 4 images each, filters none"),
    "one chunk for all": ({"chunks": (23, *IMAGE)}, "chunked, 23 images each"),
    "gzip": ({"chunks": (1, *IMAGE), "compression": "gzip"}, "filters gzip"),
    "gzip, partial last": ({"chunks": (5, *IMAGE), "compression": "gzip", "compression_opts": 9}, "filters gzip"),
    "shuffle": ({"chunks": (3, *IMAGE), "shuffle": True}, "filters shuffle"),
    "shuffle and gzip": ({"chunks": (3, *IMAGE), "shuffle": True, "compression": "gzip"}, "filters shuffle+gzip"),
    "growable": ({"chunks": (2, *IMAGE), "maxshape": (None, *IMAGE)}, "chunked, 2 images each"),
}


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("case", DIRECT)
def test_read_directly(make_file, case, dtype):
    layout, expected = DIRECT[case]
    path, _, _ = make_file(dtype=dtype, **layout)
    assert_reads_like_h5py(path, expected_layout=expected)


def test_chunks_of_h5pys_own_choice(make_file):
    path, _, _ = make_file(n=300, height=40, width=40, chunks=True)
    assert_reads_like_h5py(path, expected_layout="32 to an image")


def test_scale_offset(make_file):
    path, _, _ = make_file(dtype="int16", chunks=(1, *IMAGE), scaleoffset=0)
    assert_reads_like_h5py(path, expected_layout=H5)


def test_images_of_one_channel(make_file):
    path, images, _ = make_file(channels=0)
    reader = open_images(path)
    assert reader.index.shape == (23, 12, 14, 1)
    np.testing.assert_array_equal(reader.array(np.arange(23))[..., 0], images)


def test_compact(tmp_path, rng):
    images = rng.integers(0, 256, (3, 4, 5, 1), dtype=np.uint8)
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.COMPACT)
    low_level(tmp_path / "c.h5", properties, images)
    assert_reads_like_h5py(tmp_path / "c.h5", expected_layout="compact")


def test_external_storage(tmp_path, rng):
    images = rng.integers(0, 256, (3, 4, 5, 1), dtype=np.uint8)
    (tmp_path / "raw.bin").write_bytes(images.tobytes())
    with h5py.File(tmp_path / "e.h5", "w") as file:
        file.create_dataset("images", images.shape, "uint8", external=[(str(tmp_path / "raw.bin"), 0, images.nbytes)])
    assert_reads_like_h5py(tmp_path / "e.h5", expected_layout="external storage")


def test_virtual_dataset(make_file, tmp_path):
    path, images, _ = make_file()
    layout = h5py.VirtualLayout(images.shape, "uint8")
    layout[5:] = h5py.VirtualSource(path, "images", images.shape)[:-5]
    layout[:5] = h5py.VirtualSource(path, "images", images.shape)[-5:]
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_virtual_dataset("images", layout)
    assert_reads_like_h5py(tmp_path / "v.h5", expected_layout="virtual dataset")


def test_a_source_of_a_virtual_dataset_that_goes_away_is_an_error_and_no_image_of_fill_values(make_file, tmp_path):
    path, _, _ = make_file(n=6)
    layout = h5py.VirtualLayout((7, 12, 14, 3), np.uint8)
    layout[:6] = h5py.VirtualSource(path, "images", (6, 12, 14, 3))
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_virtual_dataset("images", layout)
    with contextlib.closing(open_images(tmp_path / "v.h5")) as reader:
        assert not reader.array(np.array([6])).any()  # never written, which is no error
        reader.close()
        path.rename(tmp_path / "away.h5")
        with pytest.raises(FileNotFoundError, match=r"v\.h5', dataset 'images': it is virtual, and a file of it is gone"):
            reader.array(np.array([0]))
        (tmp_path / "away.h5").rename(path)
        assert reader.array(np.array([0])).any()


def test_virtual_dataset_with_a_source_missing(make_file, tmp_path):
    """HDF5 would give the fill value in place of images."""
    path, images, _ = make_file()
    layout = h5py.VirtualLayout(images.shape, "uint8")
    layout[:] = h5py.VirtualSource(path, "images", images.shape)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_virtual_dataset("images", layout)
    path.unlink()
    with pytest.raises(DataError, match=r"v\.h5', dataset 'images': it is virtual, and its file '.*images\.h5' is not there"):
        open_images(tmp_path / "v.h5")


def test_external_link_is_read_where_it_leads(make_file, tmp_path):
    make_file(name="there.h5", chunks=(2, *IMAGE))
    with h5py.File(tmp_path / "here.h5", "w") as file:
        file["images"] = h5py.ExternalLink("there.h5", "/images")
    assert_reads_like_h5py(tmp_path / "here.h5", expected_layout="chunked, 2 images each")


@pytest.mark.parametrize("layout", [{}, {"chunks": (2, *IMAGE)}, {"chunks": (2, *IMAGE), "compression": "gzip"}])
def test_user_block(tmp_path, rng, layout):
    with h5py.File(tmp_path / "u.h5", "w", userblock_size=1024) as file:
        file.create_dataset("images", data=rng.integers(0, 256, (9, *IMAGE), dtype=np.uint8), **layout)
    assert_reads_like_h5py(tmp_path / "u.h5", expected_layout="user block")


@pytest.mark.parametrize("layout", [{}, {"chunks": (2, *IMAGE)}, {"chunks": (2, *IMAGE), "compression": "gzip"}])
def test_bytes_before_the_file(make_file, tmp_path, layout):
    path, _, _ = make_file(**layout)
    (tmp_path / "p.h5").write_bytes(b"#" * 512 + path.read_bytes())
    assert_reads_like_h5py(tmp_path / "p.h5")


def test_chunks_that_were_never_written_hold_the_fill_value(tmp_path, rng):
    for name, options in {"plain": {}, "gzip": {"compression": "gzip"}}.items():
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            images = file.create_dataset("images", (20, *IMAGE), "uint8", chunks=(3, *IMAGE), fillvalue=7, **options)
            images[3:9] = rng.integers(0, 256, (6, *IMAGE))
        assert_reads_like_h5py(tmp_path / f"{name}.h5", expected_layout="chunked, 3 images each")
    with h5py.File(tmp_path / "empty.h5", "w") as file:
        file.create_dataset("images", (20, *IMAGE), "uint8", fillvalue=7)
    assert_reads_like_h5py(tmp_path / "empty.h5", expected_layout="never written")


def test_chunks_that_skipped_filters(tmp_path, rng):
    """A chunk's filter mask: bit i set means filter i was not applied to it."""
    images = rng.integers(0, 256, (8, *IMAGE)).astype("float32")
    with h5py.File(tmp_path / "m.h5", "w") as file:
        dataset = file.create_dataset("images", images.shape, "float32", chunks=(2, *IMAGE), shuffle=True, compression="gzip")
        dataset[:2] = images[:2]
        dataset.id.write_direct_chunk((2, 0, 0, 0), images[2:4].tobytes(), filter_mask=0b11)  # raw
        shuffled = images[4:6].reshape(-1, 1).view(np.uint8).T.tobytes()
        dataset.id.write_direct_chunk((4, 0, 0, 0), shuffled, filter_mask=0b10)  # shuffled only
        import zlib

        dataset.id.write_direct_chunk((6, 0, 0, 0), zlib.compress(images[6:].tobytes()), filter_mask=0b01)  # gzip only
    assert_reads_like_h5py(tmp_path / "m.h5", expected_layout="filters shuffle+gzip")


@pytest.mark.parametrize("chunk", [(4, *IMAGE), (3, 5, 5, 2)])
def test_partial_chunks_stored_without_filters(tmp_path, rng, chunk):
    """Their masks say that all filters were applied."""
    images = rng.integers(0, 3, (23, *IMAGE), dtype=np.uint8)
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk(chunk)
    properties.set_shuffle()
    properties.set_deflate(4)
    set_chunk_opts = ctypes.CDLL(h5py.h5p.__file__).H5Pset_chunk_opts
    set_chunk_opts.argtypes = (ctypes.c_int64, ctypes.c_uint)
    assert set_chunk_opts(properties.id, 2) >= 0
    low_level(tmp_path / "p.h5", properties, images, libver="latest")
    with h5py.File(tmp_path / "p.h5", "r") as file:
        sizes = {file["images"].id.get_chunk_info(k).size for k in range(file["images"].id.get_num_chunks())}
    assert np.prod(chunk) in sizes  # at least one is raw
    assert len(sizes) > 1  # and at least one is not
    assert_reads_like_h5py(tmp_path / "p.h5", expected_layout="filters shuffle+gzip")


def test_seven_bit_integers(tmp_path, rng):
    seven = h5py.h5t.STD_U8LE.copy()
    seven.set_precision(7)
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    low_level(tmp_path / "s.h5", properties, rng.integers(0, 128, (4, 3, 3, 1), dtype=np.uint8), dtype=seven)
    assert_reads_like_h5py(tmp_path / "s.h5", expected_layout="precision")


def test_big_endian_bytes_are_bytes(tmp_path, rng):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    low_level(tmp_path / "b.h5", properties, rng.integers(0, 256, (4, 3, 3, 1), dtype=np.uint8), dtype=h5py.h5t.STD_U8BE)
    assert_reads_like_h5py(tmp_path / "b.h5", expected_layout="contiguous")


def test_file_open_for_writing_in_this_process(make_file):
    """Data that were written there may not be in the file yet."""
    path, images, _ = make_file(chunks=(1, *IMAGE))
    with h5py.File(path, "r+") as file:
        file["images"][3] = 200
        reader = open_images(path)
        assert "also open for writing" in reader.index.layout
        assert (reader.array(np.array([3])) == 200).all()
        np.testing.assert_array_equal(reader.array(np.array([4]))[0], images[4])


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_chunk_indexes_of_every_kind(tmp_path, rng, libver, n):
    """Single chunk, implicit, fixed array, extensible array and version-1 B-tree index."""
    for k, options in enumerate(({}, {"maxshape": (None, *IMAGE)}, {"compression": "gzip"})):
        path = tmp_path / f"{k}.h5"
        with h5py.File(path, "w", libver=libver) as file:
            data = rng.integers(0, 256, (n, *IMAGE), dtype=np.uint8)
            file.create_dataset("images", data=data, chunks=(min(n, 2), *IMAGE), **options)
        assert_reads_like_h5py(path, expected_layout="chunked")


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 20), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4)),
    chunk=st.none() | st.tuples(st.integers(1, 20), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4)),
    dtype=st.sampled_from(["uint8", "float32", ">f8", "int16"]),
    shuffle=st.booleans(),
    gzip=st.booleans(),
    picks=st.lists(st.integers(0, 10**6), min_size=1, max_size=30),
)
def test_any_shape_any_chunks_any_samples(tmp_path_factory, shape, chunk, dtype, shuffle, gzip, picks):
    path = tmp_path_factory.mktemp("any") / "x.h5"
    data = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    options = {}
    if chunk is not None:
        options = {"chunks": tuple(min(c, s) for c, s in zip(chunk, shape, strict=True)), "shuffle": shuffle}
        options["compression"] = "gzip" if gzip else None
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=data, **options)
    samples = np.array(picks) % shape[0]
    reader = open_images(path)
    np.testing.assert_array_equal(reader.array(samples), data[samples].astype(reader.index.dtype))


def test_threads_read_at_once(make_file):
    for name, layout in {
        "plain": {},
        "gzip": {"chunks": (2, *IMAGE), "compression": "gzip"},
        "lzf": {"compression": "lzf"},
    }.items():
        path, images, _ = make_file(name=f"{name}.h5", **layout)
        reader, wrong = open_images(path), []

        def work(seed, reader=reader, images=images, wrong=wrong):
            generator = np.random.default_rng(seed)
            for _ in range(40):
                samples = generator.integers(0, len(images), 9)
                if not np.array_equal(reader.array(samples), images[samples]):
                    wrong.append(seed)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


def test_sample_out_of_range(make_file):
    reader = open_images(make_file()[0])
    for sample in (-1, 23):
        with pytest.raises(IndexError, match=r"samples must lie in 0\.\.22"):
            reader.array(np.array([sample]))


def test_close_does_not_pull_the_file_from_under_a_read(make_file):
    """The descriptor of a closed file may be given to the next file that anybody opens."""
    path, images, _ = make_file(n=40)
    other, _, _ = make_file(n=40, name="other.h5")
    reader, stop, wrong = open_images(path), threading.Event(), []

    def read():
        while not stop.is_set():
            if not np.array_equal(reader.array(np.arange(40)), images):
                wrong.append(1)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(500):
        reader.close()
        with open(other, "rb") as file:
            file.read(10)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_io_is_one_of_two(make_file):
    with pytest.raises(ValueError, match='io must be "pread" or "mmap", got \'aio\''):
        open_images(make_file()[0], io="aio")


def test_a_mapping_outlives_close_while_it_is_used(make_file):
    path, images, _ = make_file(dtype="float32", chunks=(1, *IMAGE), shuffle=False)
    reader = open_images(path, io="mmap")

    def end_of_file(chunks):
        part = chunks.file.mapping[-10:]
        reader.close()
        return part

    part = reader._with_chunks(np.arange(23), end_of_file)
    assert bytes(part) == path.read_bytes()[-10:]
    np.testing.assert_array_equal(reader.array(np.arange(23)), images)
