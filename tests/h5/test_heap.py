"""Rows in the global heap: what is found, and that nothing else is read or written, whatever the heap says."""

import json
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastprep._sink import Status
from fastprep.h5._heap import HeapStatus, HeapTables
from tests.support.heaps import collection, read, reference

SCRIPT = Path(__file__).with_name("heap_damage.py")
AT = 64  # where the collection of most tests begins
A, B = bytes(range(11)), bytes(range(100, 140))
LONG = np.random.default_rng(0).integers(0, 256, 9001, np.uint8).tobytes()
CASES = 500  # for each of the four kinds of files: 2,000


def file_with(tmp_path, *collections):
    path = tmp_path / "heap"
    path.write_bytes(bytes(AT) + b"".join(collections))
    return path


def test_objects_are_found_by_number_in_any_order(tmp_path):
    path = file_with(tmp_path, collection((3, A), (1, B), (7, b"")))
    references = reference(40, AT, 1) + reference(11, AT, 3) + reference(0, AT, 7) + reference(0, 0, 0)
    assert read(path, references, [1, 3, 0, 2, 1]) == ([A, b"", B, b"", A], (0, 0, 0))


@pytest.mark.parametrize("n_bytes", [9056, 9064, 9072, 20000])
@pytest.mark.parametrize("number", [1, 2])
def test_a_long_row_is_read_with_the_headers_around_it(tmp_path, number, n_bytes):
    path = file_with(tmp_path, collection((number, LONG), n_bytes=n_bytes))
    assert read(path, reference(9001, AT, number)) == ([LONG], (0, 0, 0))


def test_the_first_object_need_not_have_the_number_1(tmp_path):
    objects = (2, B), (1, LONG), (3, LONG[::-1])
    path = file_with(tmp_path, collection(*objects, n_bytes=20000))
    references = reference(9001, AT, 1) + reference(9001, AT, 3) + reference(40, AT, 2)
    for samples in ([0], [1], [2, 1, 0]):
        assert read(path, references, samples)[0] == [[LONG, LONG[::-1], B][sample] for sample in samples]


def test_what_is_left_without_a_header_ends_a_collection(tmp_path):
    path = file_with(tmp_path, collection((1, B), n_bytes=80))
    assert read(path, reference(40, AT, 1)) == ([B], (0, 0, 0))


WRONG = {
    "another signature": (collection((1, A)).replace(b"GCOL", b"GCOM"), (HeapStatus.NO_HEAP, 0, 0)),
    "another version": (collection((1, A)).replace(b"GCOL\x01", b"GCOL\x02"), (HeapStatus.NO_HEAP, 0, 0)),
    "a size of 0": (collection((1, A), size=0), (HeapStatus.HEAP_SIZE, 0, 256)),
    "a size of 2**63": (collection((1, A), size=2**63), (HeapStatus.HEAP_SIZE, 2**63, 256)),
    "a size of 2**64 - 1": (collection((1, A), size=2**64 - 1), (HeapStatus.HEAP_SIZE, 2**64 - 1, 256)),
    "a size beyond the file": (collection((1, A), size=257), (HeapStatus.HEAP_SIZE, 257, 256)),
    "nothing but a header": (collection((1, A), size=16), (HeapStatus.NO_OBJECT, 0, 0)),
    "free space of size 0": (collection((2, A), free=0), (HeapStatus.FREE_SPACE, 0, 208)),
    "free space beyond the end": (collection((2, A), free=2**64 - 16), (HeapStatus.FREE_SPACE, 2**64 - 16, 208)),
    "an object beyond the end": (collection((2, A), (1, 193)), (HeapStatus.BEYOND, 1, 193)),
    "a size that overflows": (collection((1, 2**64 - 1)), (HeapStatus.BEYOND, 1, 2**64 - 1)),
    "a size that overflows when it is padded": (collection((1, 2**63 - 1)), (HeapStatus.BEYOND, 1, 2**63 - 1)),
    "two objects of one number": (collection((1, A), (1, A)), (HeapStatus.TWICE, 1, 0)),
    "objects of size 0 without end": (collection((1, A), *[(2, b"")] * 13), (HeapStatus.TWICE, 2, 0)),
    "another number": (collection((2, A), (3, A)), (HeapStatus.NO_OBJECT, 2, 0)),
    "another length": (collection((1, A + b"x")), (HeapStatus.LENGTH, 12, 0)),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_heap_that_can_not_be_true_is_a_status(tmp_path, what):
    heap, status = WRONG[what]
    assert read(file_with(tmp_path, heap), reference(11, AT, 1)) == ([], status)


@pytest.mark.parametrize("address", [1, 15, AT + 225, AT + 256, 2**31, 2**63, 2**63 - 1, 2**64 - 1, 2**64 - AT])
def test_a_reference_that_leads_outside_is_a_status(tmp_path, address):
    path = file_with(tmp_path, collection((1, A)))
    assert read(path, reference(11, address, 1)) == ([], (HeapStatus.OUTSIDE, 0, 0))


def test_a_file_that_has_become_shorter_is_truncated(tmp_path):
    path = file_with(tmp_path, collection((1, LONG), n_bytes=9072)[:5000])
    assert read(path, reference(9001, AT, 1), file_bytes=AT + 9072)[1][0] == Status.TRUNCATED
    assert read(path, reference(9001, AT, 2), file_bytes=AT + 9072)[1][0] == Status.TRUNCATED


def test_a_collection_of_many_rows_is_walked_once(tmp_path):
    rows = [bytes([number % 256]) * (number % 9) for number in range(1, 4001)]
    path = file_with(tmp_path, collection(*enumerate(rows, 1), n_bytes=200_000))
    references = b"".join(reference(len(row), AT, number) for number, row in enumerate(rows, 1))
    tables = HeapTables()
    for _ in range(2):
        assert read(path, references, tables=tables) == (rows, (0, 0, 0))
    assert tables.n_walks == 1
    assert 4001 * 16 <= tables.n_kept <= 2 * 4001 * 16


def test_the_tables_of_many_collections_are_bounded(tmp_path):
    """Each has an object of the highest number, so its table is as large as tables become."""
    one = collection((1, A), (65535, B), n_bytes=128)
    path, tables = file_with(tmp_path, *[one] * 300), HeapTables()
    references = b"".join(reference(40, AT + 128 * k, 65535) for k in range(300))
    for _ in range(2):
        assert read(path, references, tables=tables) == ([B] * 300, (0, 0, 0))
        assert 0 < tables.n_kept <= 8 << 20


def test_a_collection_of_the_most_objects_ends(tmp_path):
    objects = [(number, b"") for number in range(1, 65536)]
    path = file_with(tmp_path, collection(*objects, n_bytes=2_000_000))
    assert read(path, reference(0, AT, 65535))[1] == (0, 0, 0)
    path = file_with(tmp_path, collection(*objects, (5, b""), n_bytes=2_000_000))
    assert read(path, reference(0, AT, 65535))[1] == (HeapStatus.TWICE, 5, 0)


def test_several_threads_use_the_same_tables(tmp_path):
    heaps = [collection(*[(n, bytes([k, n])) for n in range(1, 200)], n_bytes=6000) for k in range(40)]
    path, tables, problems = file_with(tmp_path, *heaps), HeapTables(), []
    references = b"".join(reference(2, AT + 6000 * k, n) for k in range(40) for n in range(1, 200))
    wanted = [bytes([k, n]) for k in range(40) for n in range(1, 200)]

    def work(seed):
        samples = np.random.default_rng(seed).permutation(len(wanted))
        rows, status = read(path, references, samples, tables)
        if status[0] or rows != [wanted[sample] for sample in samples]:
            problems.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []


# few values in each place, so that many heaps are nearly right
NUMBERS = st.sampled_from([0, 1, 2, 3, 65535])
SIZES = st.one_of(st.integers(0, 80), st.sampled_from([2**32 - 1, 2**63 - 8, 2**63, 2**64 - 16, 2**64 - 1]))


@settings(max_examples=400, deadline=None)
@given(
    objects=st.lists(st.tuples(NUMBERS, SIZES), max_size=8),
    size=st.one_of(st.none(), SIZES),
    wanted=st.tuples(st.integers(0, 80), st.sampled_from([0, 8, AT, AT + 16, AT + 400, 2**64 - 1]), NUMBERS),
)
def test_any_heap_gives_the_bytes_of_the_object_or_a_status(tmp_path_factory, objects, size, wanted):
    heap = collection(size=size, n_bytes=400)[:16]
    for number, object_size in objects:
        heap += struct.pack("<HHIQ", number, 0, 0, object_size) + bytes([number % 256]) * min(object_size, 80)
        heap += bytes(-len(heap) % 8)
    heap = heap.ljust(400, b"\0")[:400]
    path = file_with(tmp_path_factory.mktemp("heaps"), heap)
    rows, (status, *_) = read(path, reference(*wanted))
    if status:
        assert status in list(HeapStatus)
        assert rows == []
    else:
        length, address, number = wanted
        assert rows == [bytes([number % 256]) * length]
        assert address == AT or length == 0


@pytest.mark.parametrize("layout", ["contiguous", "chunked"])
@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_2000_damages_give_the_right_bytes_or_an_error(tmp_path, layout, libver):
    """In a process of its own, because a crash or a hang of native code would end it."""
    command = [sys.executable, str(SCRIPT), str(tmp_path), layout, libver, str(CASES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{(tmp_path / 'progress').read_text()}: {done.stderr[-2000:]}"
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["problems"] == []
    assert report["counts"]["row right"] > 0
    assert report["counts"]["row refused"] > 0
    half, whole = report["memory_kib"]
    assert whole - half < 32 << 10
