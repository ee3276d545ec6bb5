"""Rows of bytes of files by h5py, PyTables and netCDF, read directly: equal to what h5py reads, from threads and after a fork."""

import os
import pickle
import threading

import h5py
import numpy as np
import pytest

from fastprep.errors import ChangedError, DataError, MissingDatasetError
from fastprep.h5 import heap
from fastprep.h5.byte_rows import ByteRows, open_rows
from fastprep.h5.cache import ThreadScratch
from fastprep.h5.handles import Handles
from tests.support.heaps import structure

UINT8 = h5py.vlen_dtype("uint8")
LENGTHS = [1, 0, 5, 4048, 4049, 4096, 4097, 60_000, 65_536, 70_000, 0, 5_000_000, 17, 20_000, 20_001, 20_002]
REFERENCES = {
    "contiguous": {},
    "chunked": {"chunks": (5,)},
    "one each": {"chunks": (1,)},
    "resizable": {"maxshape": (None,)},
    "gzip": {"chunks": (5,), "compression": "gzip"},
    "shuffle+gzip": {"chunks": (5,), "compression": "gzip", "shuffle": True},
    "lzf": {"chunks": (5,), "compression": "lzf"},
}


def rows_of(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, length, np.uint8) for length in lengths]


def write(path, rows, libver="earliest", dtype=UINT8, **keywords):
    with h5py.File(path, "w", libver=libver) as file:
        dataset = file.create_dataset("images", (len(rows),), dtype=dtype, **keywords)
        for number, row in enumerate(rows):
            dataset[number] = row
    return path


def by_h5py(path, name="images"):
    with h5py.File(path) as file:
        return [row if isinstance(row, bytes) else row.tobytes() for row in file[name][:]]


def check(path, name="images", reason=""):
    """Read rows in several ways, and compare them with h5py's."""
    wanted, found = by_h5py(path, name), open_rows(path, name)
    assert reason in found.index.reason
    assert bool(reason) == bool(found.index.reason)
    order = np.random.default_rng(1).permutation(len(wanted))
    for samples in (range(len(wanted)), order, [*order[:3], *order[:3]]):
        assert [row.tobytes() for row in found.read(samples)] == [wanted[sample] for sample in samples]
    assert found.lengths().tolist() == list(map(len, wanted))
    assert found.lengths().dtype == np.int64
    found.close()
    return found


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("layout", REFERENCES)
def test_rows_of_h5py_are_read_directly(tmp_path, layout, libver):
    path = write(tmp_path / "x.h5", rows_of(LENGTHS), libver, **REFERENCES[layout])
    assert check(path).index.layout.startswith("contiguous" if layout == "contiguous" else "chunked")


@pytest.mark.parametrize("layout", ["contiguous", "chunked", "gzip"])
def test_many_short_rows_share_collections(tmp_path, layout):
    check(write(tmp_path / "x.h5", rows_of(np.arange(3000) % 41), **REFERENCES[layout]))


def test_rows_that_were_written_anew_and_a_dataset_that_has_grown(tmp_path):
    path = write(tmp_path / "x.h5", rows_of(LENGTHS), maxshape=(None,), chunks=(4,))
    for turn, mode in enumerate(["a", "a", "r+"]):
        with h5py.File(path, mode) as file:
            dataset = file["images"]
            dataset.resize((len(dataset) + 7,))
            for sample in np.random.default_rng(turn).permutation(len(dataset))[:15]:
                dataset[sample] = rows_of([int(sample) * 311 * (turn + 1)], turn)[0]
        check(path)
    with h5py.File(path, "a") as file:
        file["images"].resize((9,))
    check(path)


def test_int8_opaque_bytes_and_texts(tmp_path):
    rows = [row.view(np.int8) for row in rows_of([3, 0, 900])]
    check(write(tmp_path / "a.h5", rows, dtype=h5py.vlen_dtype("int8")))
    check(write(tmp_path / "b.h5", [row.view("V1") for row in rows if len(row)], dtype=h5py.vlen_dtype("V1")))
    check(write(tmp_path / "c.h5", ["", "a", "ü" * 5000, "b"], dtype=h5py.string_dtype()))
    check(write(tmp_path / "d.h5", [b"\xff\xd8", b"", b"\xff" * 70_000], dtype=h5py.string_dtype("ascii")))


@pytest.mark.parametrize("filters", [None, "zlib", "blosc"])
def test_rows_of_pytables(tmp_path, filters):
    tables = pytest.importorskip("tables")
    pytest.importorskip("hdf5plugin")
    path, rows = tmp_path / "x.h5", rows_of(LENGTHS)
    with tables.open_file(str(path), "w") as file:
        array = file.create_vlarray(
            "/", "images", tables.UInt8Atom(), filters=filters and tables.Filters(5, filters), expectedrows=100
        )
        for row in rows:
            array.append(row)
    found = open_rows(path, "images")
    assert found.index.reason == ""
    assert [row.tobytes() for row in found.read(range(len(rows)))] == [row.tobytes() for row in rows]


@pytest.mark.parametrize("size", [None, 20])
def test_rows_of_netcdf(tmp_path, size):
    netcdf = pytest.importorskip("netCDF4")
    path, rows = tmp_path / "x.nc", rows_of(LENGTHS)
    with netcdf.Dataset(path, "w") as file:
        file.createDimension("n", size)
        images = file.createVariable("images", file.createVLType(np.uint8, "bytes"), ("n",))
        for number, row in enumerate(rows):
            images[number] = row
    assert len(check(path)) == (size or len(rows))


def test_rows_that_nobody_has_written_are_empty(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        dataset = file.create_dataset("images", (40,), dtype=UINT8, chunks=(4,))
        dataset[17] = rows_of([9])[0]
        file.create_dataset("never", (4,), dtype=UINT8)
        file.create_dataset("none", (0,), dtype=UINT8, maxshape=(None,))
    check(tmp_path / "x.h5")
    check(tmp_path / "x.h5", "never", "never written")
    assert open_rows(tmp_path / "x.h5", "none").read([]) == []


def test_rows_with_a_fill_value_are_left_to_hdf5(tmp_path):
    """It can't read the fill value without writing, which is an error of these rows alone."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        dataset = file.create_dataset("images", (4,), dtype=h5py.string_dtype(), chunks=(2,), fillvalue="abc")
        dataset[:2] = ["x", "yz"]
    found = open_rows(tmp_path / "x.h5", "images")
    assert found.index.reason == "rows that were never written, and have a fill value"
    assert [row.tobytes() for row in found.read([1, 0])] == [b"yz", b"x"]
    with pytest.raises(DataError, match=r"x.h5', dataset 'images', sample 2: HDF5 can't read it: .*no write intent"):
        found.read([2])


def test_rows_without_storage_and_an_empty_fill_value_are_empty(tmp_path):
    """netCDF gives its types of variable length a fill value, which is empty."""
    netcdf = pytest.importorskip("netCDF4")
    with netcdf.Dataset(tmp_path / "x.nc", "w") as file:
        file.createDimension("n", None)
        images = file.createVariable("images", file.createVLType(np.uint8, "bytes"), ("n",), chunksizes=(4,))
        images[9] = rows_of([7])[0]
    with h5py.File(tmp_path / "x.nc") as file:
        assert file["images"].id.get_num_chunks() == 1
    check(tmp_path / "x.nc")


def test_what_is_not_directly_readable_is_read_by_hdf5(tmp_path, caplog):
    path, rows = tmp_path / "x.h5", rows_of([3, 0, 5000])
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("images", (3,), dtype=UINT8)[:] = np.array(rows, object)
    check(path, reason="user block")
    assert "HDF5 has to read 'images', which is slower and does not run in parallel: user block" in caplog.text

    properties = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    properties.set_sizes(4, 8)
    with h5py.File(h5py.h5f.create(str(tmp_path / "y.h5").encode(), fcpl=properties)) as file:
        file.create_dataset("images", (3,), dtype=UINT8)[:] = np.array(rows, object)
    check(tmp_path / "y.h5", reason="addresses of 4 bytes and sizes of 8")

    layout = h5py.VirtualLayout((3,), UINT8)
    layout[:] = h5py.VirtualSource(write(tmp_path / "z.h5", rows), "images", (3,))
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_virtual_dataset("images", layout)
    check(tmp_path / "v.h5", reason="virtual dataset")


def test_a_row_that_differs_from_hdf5_s_leaves_the_dataset_to_hdf5(tmp_path, monkeypatch):
    path = write(tmp_path / "x.h5", rows_of([3, 9, 5000]))
    original = heap.HeapPlaces.read
    monkeypatch.setattr(heap.HeapPlaces, "read", lambda *a: [row[::-1] for row in original(*a)])
    check(path, reason="row 0 differs from HDF5's when it is read directly")


def test_a_row_behind_a_link_is_read_from_the_other_file(tmp_path):
    write(tmp_path / "x.h5", rows_of(LENGTHS[:4]))
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file["images"] = h5py.ExternalLink("x.h5", "images")
    assert check(tmp_path / "y.h5").index.holder == str(tmp_path / "x.h5")


def test_what_does_not_hold_rows_of_bytes_is_an_error(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["numbers"] = np.zeros(3)
        file.create_dataset("wide", (3,), dtype=h5py.vlen_dtype("uint16"))
        file.create_dataset("table", (3, 2), dtype=UINT8)
        file["matrix"] = np.zeros((5, 40), np.uint8)
    for name, found in (
        ("numbers", r"\(3,\) float64"),
        ("wide", r"\(3,\) rows of variable length, of uint16"),
        ("table", r"\(3, 2\) rows of variable length, of uint8"),
        ("matrix", r"\(5, 40\) uint8"),
    ):
        with pytest.raises(DataError, match=f"x.h5', dataset '{name}': rows of bytes have the shape .N,. .* found {found}; ways"):
            open_rows(tmp_path / "x.h5", name)
    with pytest.raises(MissingDatasetError):
        open_rows(tmp_path / "x.h5", "nothing")


@pytest.mark.parametrize("samples", [[-1], [0, 16], [2**62]])
def test_samples_out_of_range_are_an_error(tmp_path, samples):
    found = open_rows(write(tmp_path / "x.h5", rows_of([1] * 16)), "images")
    with pytest.raises(IndexError, match=r"samples must lie in 0\.\.15, got "):
        found.read(samples)


def test_threads_read_at_once_and_keep_their_rows(tmp_path):
    rows = rows_of(np.random.default_rng(0).integers(0, 30_000, 200))
    found, problems = open_rows(write(tmp_path / "x.h5", rows), "images", Handles(2), ThreadScratch()), []
    together = threading.Barrier(4)

    def work(seed):
        for samples in np.array_split(np.random.default_rng(seed).permutation(200), 20):
            got = found.read(samples)
            together.wait(60)  # all threads hold rows now
            if any(not np.array_equal(row, rows[sample]) for row, sample in zip(got, samples, strict=True)):
                problems.append(seed)
            together.wait(60)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert problems == []


def test_after_a_fork_and_pickled_rows_are_read_again(tmp_path):
    rows = rows_of([10, 20, 30, 9000])
    found = open_rows(write(tmp_path / "x.h5", rows), "images")
    found.read([0, 1])
    child = os.fork()
    if child == 0:
        same = [row.tobytes() for row in found.read([3, 2, 1])] == [rows[k].tobytes() for k in (3, 2, 1)]
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0
    copy = pickle.loads(pickle.dumps(found))
    assert isinstance(copy, ByteRows)
    assert copy.read([3])[0].tobytes() == rows[3].tobytes()


@pytest.mark.parametrize("layout", ["direct", "by HDF5"])
def test_a_file_that_has_changed_is_an_error(tmp_path, layout):
    rows = rows_of([10, 20, 30])
    path = write(tmp_path / "x.h5", rows)
    found = open_rows(path, "images")
    if layout == "by HDF5":
        found = ByteRows(found.index.by_hdf5("a test"))
    found.read([0])
    os.utime(path, ns=(1, 1))
    with pytest.raises(ChangedError, match=r"x.h5', dataset 'images'.*changed or replaced"):
        found.read([1])
    write(tmp_path / "y.h5", rows)
    os.replace(tmp_path / "y.h5", path)
    found.close()
    with pytest.raises(ChangedError):
        found.read([1])
    path.unlink()
    with pytest.raises(FileNotFoundError):
        found.read([1])


def change(path, sample, **fields):
    """Change fields of the reference of a sample in a file whose references are contiguous."""
    with h5py.File(path) as file:
        offset, n = file["images"].id.get_offset(), len(file["images"])
    references = np.memmap(path, byte_rows_reference(), "r+", offset, (n,))
    for name, value in fields.items():
        references[name][sample] = value
    references.flush()


def byte_rows_reference():
    from fastprep.h5.heap import REFERENCE

    return REFERENCE


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"address": 0}, "its reference has a length of 10000 bytes, the number 1, and no address"),
        (
            {"address": 2**63},
            "its reference leads to 10000 bytes in the heap collection at byte 9223372036854775808, in a file of",
        ),
        ({"length": 2**32 - 1}, "its reference leads to 4294967295 bytes in the heap collection at byte"),
        ({"number": 0}, "its reference has the number 0, and numbers are 1..65535"),
        ({"number": 2**31}, "its reference has the number 2147483648, and numbers are 1..65535"),
        ({"number": 9}, "its reference leads to object 9 of the heap collection at byte .* which is none of the 1 there"),
        ({"address": 96}, "its reference leads to byte 96, where there is no heap collection"),
        ({"length": 9999}, "its reference has a length of 9999 bytes, object 1 of the heap collection at byte .* one of 10000"),
        ({"length": 0}, "its reference has a length of 0 bytes, object 1 of the heap collection at byte .* one of 10000"),
    ],
)
def test_an_error_of_a_row_says_what_was_found(tmp_path, fields, problem):
    rows = rows_of([10_000, 70_000, 30])
    path = write(tmp_path / "x.h5", rows)
    change(path, 0, **fields)
    found = open_rows(path, "images")
    assert found.index.reason == ""
    with pytest.raises(DataError, match=f"x.h5', dataset 'images', sample 0: {problem}.*; the file is damaged") as caught:
        found.read([2, 0, 1])
    assert (caught.value.dataset, caught.value.sample) == ("images", 0)
    assert [row.tobytes() for row in found.read([1, 2])] == [row.tobytes() for row in rows[1:]]


def test_rows_that_claim_more_than_their_file_take_no_memory(tmp_path):
    """All lead to the same object, which is as long as they say."""
    path = write(tmp_path / "x.h5", rows_of([4_000_000, *[1] * 999]))
    with h5py.File(path) as file:
        offset = file["images"].id.get_offset()
    references = np.memmap(path, byte_rows_reference(), "r+", offset, (1000,))
    references[:] = references[0]
    references.flush()
    found = open_rows(path, "images")
    with pytest.raises(DataError, match="sample 0: 1000 rows that are read together claim 4000000000 bytes, this one 4000000 of"):
        found.read(range(1000))
    assert len(found.read([7, 7])[1]) == 4_000_000


@pytest.mark.parametrize("layout", ["chunked", "gzip"])
def test_damaged_references_are_an_error_when_the_file_is_opened(tmp_path, layout):
    path = write(tmp_path / "x.h5", rows_of(LENGTHS[:10]), **REFERENCES[layout])
    with h5py.File(path) as file:
        chunk = file["images"].id.get_chunk_info(1)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + 2] ^= 0xFF
    path.write_bytes(content)
    if layout == "gzip":
        with pytest.raises(
            DataError, match="'images', chunk 1, sample 5: the references to its rows are damaged: gzip data is dam"
        ):
            open_rows(path, "images")
    else:  # nothing can tell before the row is read
        with pytest.raises(DataError, match="sample 5"):
            open_rows(path, "images").read([5])


def test_structure_finds_headers(tmp_path):
    """The damages of test_heap.py are to what this function finds."""
    path = write(tmp_path / "x.h5", rows_of([5, 0, 7]))
    with h5py.File(path) as file:
        offset = file["images"].id.get_offset()
    # 3 references, and the headers of the collection, of its two objects and of its free space
    assert structure(path.read_bytes(), offset, 3).sum() == 3 * 16 + 4 * 16
