"""Lists of texts: what they claim is checked before memory is taken for it, and their memory is that of the texts themselves."""

import os
import struct
import tracemalloc
import zlib

import h5py
import numpy as np
import pytest

from fastprep.errors import DataError
from fastprep.h5 import read_file_names, texts, write_images
from fastprep.h5.texts import MOST_TEXTS

N = 3000
NAMES = [f"cats/{k}-é.png" for k in range(N)]
LAYOUTS = {
    "contiguous": {},
    "chunked": {"chunks": (700,)},
    "gzip and shuffle": {"chunks": (700,), "compression": "gzip", "shuffle": True},
    "lzf": {"chunks": (700,), "compression": "lzf"},
}


def peak_of(function):
    """Return what a function returns, and the most memory that Python and numpy took in it, in bytes."""
    tracemalloc.start()
    try:
        return function(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def share_the_first(path, n):
    """Let the descriptors of all texts, 16 bytes each, lead to the bytes of the first one."""
    with h5py.File(path, "r+") as file:
        dataset = file["file_names"]
        if dataset.chunks:
            mask, raw = dataset.id.read_direct_chunk((0,))
            packed = dataset.compression == "gzip"
            raw = zlib.decompress(raw) if packed else raw
            raw = raw[:16] * dataset.chunks[0]
            for first in range(0, n, dataset.chunks[0]):
                dataset.id.write_direct_chunk((first,), zlib.compress(raw) if packed else raw, mask)
            return
        offset = dataset.id.get_offset()
    content = bytearray(path.read_bytes())
    content[offset : offset + 16 * n] = content[offset : offset + 16] * n
    path.write_bytes(content)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [h5py.string_dtype(), h5py.string_dtype("utf-8", 24)], ids=["variable", "fixed"])
def test_names_of_every_layout_are_read(tmp_path, dtype, layout):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        fixed = h5py.check_string_dtype(dtype).length is not None
        names = np.array([name.encode() for name in NAMES], dtype) if fixed else np.array(NAMES, dtype)
        file.create_dataset("file_names", data=names, **LAYOUTS[layout])
    assert read_file_names(tmp_path / "x.h5", N) == NAMES
    assert read_file_names(tmp_path / "x.h5", N, n_first=1) == NAMES[:1]


def test_virtual_and_partly_written_names_are_read(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("source", data=NAMES, dtype=h5py.string_dtype())
        layout = h5py.VirtualLayout((N,), h5py.string_dtype())
        layout[:] = h5py.VirtualSource(file["source"])
        file.create_virtual_dataset("file_names", layout)
    assert read_file_names(tmp_path / "x.h5", N) == NAMES
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file.create_dataset("file_names", (N,), h5py.string_dtype(), chunks=(100,))[150:250] = NAMES[150:250]
    assert read_file_names(tmp_path / "y.h5", N) == [""] * 150 + NAMES[150:250] + [""] * (N - 250)


@pytest.mark.parametrize("dtype", ["S200000", h5py.string_dtype()], ids=["fixed", "variable"])
def test_names_that_were_never_written_take_nothing(tmp_path, dtype):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("file_names", (2**20,), dtype)
    names, peak = peak_of(lambda: read_file_names(tmp_path / "x.h5", 2**20))
    assert names == []
    assert peak < 2**20


def test_one_long_name_does_not_make_the_others_long(tmp_path):
    n = 50_000
    with h5py.File(tmp_path / "x.h5", "w") as file:
        names = file.create_dataset("file_names", (n,), "S3000", chunks=(1000,), compression="gzip", compression_opts=1)
        names[7], names[n - 1] = b"x" * 3000, b"last.png"
    names, peak = peak_of(lambda: read_file_names(tmp_path / "x.h5", n))
    assert (len(names), len(names[7]), names[8], names[-1]) == (n, 3000, "", "last.png")
    assert peak < 2**26  # the array of all would take 2**27


@pytest.mark.parametrize("options", [{}, {"chunks": (5000,)}, {"chunks": (5000,), "compression": "gzip"}], ids=str)
def test_names_that_all_lead_to_the_same_bytes_are_refused(tmp_path, options, monkeypatch):
    path, n = tmp_path / "x.h5", 60_000
    with h5py.File(path, "w") as file:
        file.create_dataset("file_names", (n,), h5py.string_dtype(), **options)[0] = "x" * 50_000
    share_the_first(path, n)
    problem = r"file_names': it claims texts of more than \d+ bytes together.*deleted"
    with monkeypatch.context() as context:
        context.setattr(texts.h5s, "create_simple", None)  # before anything is read
        with pytest.raises(DataError, match=problem):
            read_file_names(path, n)
    with monkeypatch.context() as context:
        context.setattr(texts, "_claimed_lengths", lambda dataset, n_rows: None)  # where the file can't be asked for lengths
        context.setattr(texts, "MOST_BYTES", 2**24)
        with pytest.raises(DataError, match=problem):
            read_file_names(path, n)
    names, peak = peak_of(lambda: read_file_names(path, n, n_first=1))
    assert len(names[0]) == 50_000
    assert peak < 2**20


def test_a_length_that_is_a_lie_is_refused(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("file_names", (4,), h5py.string_dtype())[0] = "short"
        file.flush()
        offset = file["file_names"].id.get_offset()
    content = bytearray(path.read_bytes())
    content[offset : offset + 4] = struct.pack("<I", 2**31 - 1)
    path.write_bytes(content)
    with pytest.raises(DataError, match="it claims a text of 2147483647 bytes, and none of more than 1048576 is read"):
        read_file_names(path, 4)


def test_too_many_and_too_long_texts_are_refused(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("file_names", (MOST_TEXTS + 1,), "S4", chunks=(2**10,))[0] = b"a"
        file.create_dataset("other/file_names", (4,), f"S{2**21}", chunks=(1,), compression="gzip")[0] = b"a"
    with pytest.raises(DataError, match=f"it claims {MOST_TEXTS + 1} texts, and no more than {MOST_TEXTS} are read"):
        read_file_names(tmp_path / "x.h5", MOST_TEXTS + 1)
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        del file["file_names"]
        file["file_names"] = file["other/file_names"]
    with pytest.raises(DataError, match="it claims texts of 2097152 bytes, and none of more than 1048576 is read"):
        read_file_names(tmp_path / "x.h5", 4)


def test_one_long_name_takes_no_memory_for_the_others_when_it_is_written(tmp_path):
    names = [f"{k:06}.jpg" for k in range(5_000)] + ["x" * 3000, "ä" * 50]
    images = (np.zeros((1, 1, 1), np.uint8) for _ in names)
    tracemalloc.start()
    write_images(tmp_path / "a.h5", images, np.zeros(len(names), np.int64), file_names=names)
    assert tracemalloc.get_traced_memory()[1] < 20e6  # 60 MB as an array of str
    tracemalloc.stop()
    assert os.path.getsize(tmp_path / "a.h5") < 2e6
    assert read_file_names(tmp_path / "a.h5", len(names)) == names


def test_ordinary_names_are_stored_contiguously(tmp_path):
    names = [f"cats/{k}.jpg" for k in range(2_000)]
    images = (np.zeros((1, 1, 1), np.uint8) for _ in names)
    write_images(tmp_path / "a.h5", images, np.zeros(len(names), np.int64), file_names=names)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["file_names"].chunks is None
        assert file["file_names"].asstr()[[0, 1_999]].tolist() == [names[0], names[-1]]
