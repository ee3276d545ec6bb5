"""Headers that claim absurd sizes are refused before anything is allocated or counted by them."""

import resource
import struct
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from like_h5py import assert_reads_like_h5py

from fastprep.errors import DataError
from fastprep.h5 import open_images, read_labels
from fastprep.h5.header_checks import check_header, check_whole

SHAPE = (23, 12, 14, 3)
ONE = {"chunks": (1, *SHAPE[1:])}
LAYOUTS = {
    "contiguous": {},
    "a chunk each": ONE,
    "gzip": {**ONE, "compression": "gzip"},
    "read by HDF5": {**ONE, "dtype": "int16", "scaleoffset": 0},
    "growable": {**ONE, "maxshape": (None,) * 4, "compression": "lzf"},
    "split": {"chunks": (5, 5, 5, 2), "compression": "gzip"},
}
SHAPES = [
    (2**22 + 1, *SHAPE[1:]),
    (2**32, *SHAPE[1:]),
    (2**60, *SHAPE[1:]),
    (2**64 - 1, *SHAPE[1:]),
    (23, 2**40, 14, 3),
    (23, 12, 14, 2**31),
]


@pytest.fixture(autouse=True)
def little_memory():
    """An allocation by such a shape fails here, however much memory the machine has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def claim(path, sides, claimed):
    """Write other sides into the header, which has no checksum in the old format."""
    content, old = path.read_bytes(), struct.pack(f"<{len(sides)}Q", *sides)
    assert old in content
    path.write_bytes(content.replace(old, struct.pack(f"<{len(claimed)}Q", *claimed)))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_absurd_shapes(make_file, layout, shape):
    path, _, _ = make_file(**LAYOUTS[layout])
    claim(path, SHAPE, shape)
    with pytest.raises(DataError, match=r"images\.h5'.*(the header says|damaged)"):
        open_images(path)


@pytest.mark.parametrize(
    ("n", "message"),
    [(2**23, "hardly any is stored"), (2**28, "no more than 134217728 can be read"), (2**40, "bytes, in a file of")],
)
def test_absurd_shapes_in_the_new_format(tmp_path, n, message):
    """Its checksums are right, because HDF5 itself wrote them. The list of all possible chunks is a hole in the file."""
    with h5py.File(tmp_path / "x.h5", "w", libver="latest") as file:
        file.create_dataset("images", (n, *SHAPE[1:]), "uint8", **ONE)
        if n < 2**40:
            file["images"][3] = 5
    with pytest.raises(DataError, match=rf"x\.h5', dataset 'images': the header says .*{message}"):
        open_images(tmp_path / "x.h5")


def test_absurd_chunks_and_virtual_datasets(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        large = (2**10, 2**11, 2**10, 1)
        file.create_dataset("images", (1, 8, 8, 1), "uint8", maxshape=(None,) * 4, chunks=large, compression="gzip")
        layout = h5py.VirtualLayout((2**50, 64, 64, 1), "uint8")
        layout[:9] = h5py.VirtualSource(".", "images", (9, 64, 64, 1))
        file.create_virtual_dataset("virtual", layout)
    for name, message in (
        ("images", r"in chunks of \(1024, 2048, 1024, 1\), one of them: 2147483648 bytes, in a file of"),
        ("virtual", "more than files can have"),
    ):
        with pytest.raises(DataError, match=message):
            open_images(tmp_path / "x.h5", name)


def test_images_of_virtual_datasets_are_compared_with_what_is_stored(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["part"] = np.zeros((2, 64, 64, 1), np.uint8)
        layout = h5py.VirtualLayout((2, 2**20, 2**20, 1), "uint8")
        layout[:, :64, :64] = h5py.VirtualSource(file["part"])
        file.create_virtual_dataset("images", layout)
    with pytest.raises(DataError, match=r"1 of them: 1099511627776 bytes in memory, of which \d+ are stored"):
        open_images(tmp_path / "x.h5")


def test_labels(make_file):
    path, _, _ = make_file()
    with h5py.File(path, "r+") as file:
        file.create_dataset("many", (23, 2**40), "uint8", chunks=(1, 2**10))
        file.create_dataset("few", (23, 2**20), "uint8", chunks=(1, 2**10))
    with pytest.raises(DataError, match=r"dataset 'many': the header says .* bytes, in a file of"):
        read_labels(path, "many", 23)
    assert read_labels(path, "few", 23).shape == (23, 2**20)


def test_labels_are_compared_with_what_is_stored_for_them(tmp_path):
    path, n = tmp_path / "x.h5", 2**20
    with h5py.File(path, "w") as file:
        file.create_dataset("unwritten", (n, 300), "float32", chunks=(2**10, 300), compression="gzip")
        file.create_dataset("contiguous", (n, 300), "float32")
        file.create_dataset("external", (n, 300), "float32", external=[("values.raw", 0, h5py.h5f.UNLIMITED)])
        layout = h5py.VirtualLayout((n, 300), "float32")
        layout[:10] = h5py.VirtualSource("values.raw", "part", (10, 300))
        file.create_virtual_dataset("virtual", layout)
        zeros = np.zeros((n, 20), np.float32)
        file.create_dataset("written", data=zeros, chunks=(2**18, 20), compression="gzip", compression_opts=1)
    (tmp_path / "values.raw").write_bytes(bytes(1200))
    for name in ("unwritten", "contiguous", "external", "virtual"):
        with pytest.raises(DataError, match=rf"'{name}': the header says .* bytes in memory, of which \d+ are stored"):
            read_labels(path, name, n)
    assert read_labels(path, "written", n).shape == (n, 20)  # 80 MiB of zeros, at a thousandth


def test_what_is_stored_is_looked_for_where_hdf5_would_look(tmp_path, monkeypatch, rng):
    n = 2**20
    (tmp_path / "far").mkdir()
    with h5py.File(tmp_path / "far" / "values.h5", "w") as file:
        file.create_dataset("part", (n, 100), "float32", chunks=(2**15, 1), compression="gzip")[:, 0] = rng.random(n)
    layout = h5py.VirtualLayout((n, 100), "float32")
    layout[:] = h5py.VirtualSource("values.h5", "part", (n, 100))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        virtual = file.create_virtual_dataset("labels", layout)
        with pytest.raises(DataError, match="of which 0 are stored"):
            check_whole(virtual, ("x.h5", "labels"))
        monkeypatch.setenv("HDF5_VDS_PREFIX", "${ORIGIN}/far")
        check_whole(virtual, ("x.h5", "labels"))


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_large_datasets_of_which_little_was_written_are_read(tmp_path, libver):
    with h5py.File(tmp_path / "x.h5", "w", libver=libver) as file:
        images = file.create_dataset(
            "images", (2**20, *SHAPE[1:]), "uint8", chunks=(64, *SHAPE[1:]), fillvalue=7, compression="gzip"
        )
        images[1000:1100] = 5
    reader = open_images(tmp_path / "x.h5")
    samples = np.array([0, 999, 1000, 1099, 1100, 2**20 - 1])
    np.testing.assert_array_equal(reader.array(samples)[:, 0, 0, 0], [7, 7, 5, 5, 7, 7])


def test_chunks_larger_than_the_dataset(make_file):
    for name, chunks in {"whole": (64, *SHAPE[1:]), "split": (64, 5, 5, 2)}.items():
        path, _, _ = make_file(name=f"{name}.h5", chunks=chunks, maxshape=(None, *SHAPE[1:]), compression="gzip")
        assert_reads_like_h5py(path, expected_layout="chunked, 64 images each")


def test_chunks_that_an_index_only_claims(make_file):
    """The implicit index of the new format counts all chunks of the shape as stored; its checksum excludes random damage."""
    path, _, _ = make_file(**ONE)
    with h5py.File(path, "r") as file:
        properties = file["images"].id.get_create_plist()
        ours = SimpleNamespace(get_create_plist=lambda: properties, get_num_chunks=lambda: 2**24)
        hostile = SimpleNamespace(shape=(2**24, *SHAPE[1:]), chunks=ONE["chunks"], dtype=np.dtype("uint8"), file=file, id=ours)
        with pytest.raises(DataError, match="hardly any is stored"):
            check_header(hostile, (str(path), "images"))
