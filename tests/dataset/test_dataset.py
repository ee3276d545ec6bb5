"""Many files as one dataset: opened once, indexed when first read, and the same order whatever was read."""

import multiprocessing
import os
import pickle
import shutil
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from many_files import BY_HDF5, CROP, IMAGE, LAYOUTS, ONE, SEVERAL, write, write_many
from threads import threads_left

from fastprep import DataError
from fastprep.dataset.dataset import Dataset
from fastprep.errors import ChangedError
from fastprep.h5 import CopySink, handles, verify
from fastprep.loader import Loader
from fastprep.sampling import order

pytestmark = pytest.mark.usefixtures("no_thread_left")


@pytest.fixture
def few(tmp_path):
    """Nine gzip files of four images, one a chunk."""
    return write_many(tmp_path, [4] * 9, [{**ONE, "compression": "gzip"}])


@pytest.fixture
def indexed(monkeypatch):
    """The files that were indexed, in order."""
    found, original = [], verify.complete

    def complete(index, file):
        found.append(os.path.basename(index.file))
        return original(index, file)

    monkeypatch.setattr(verify, "complete", complete)
    return found


def read(dataset, samples):
    out = np.empty((len(samples), *IMAGE), np.uint8)
    got = dataset.read(np.asarray(samples), CopySink(out.reshape(-1), out[0].nbytes))
    return out, got


def test_a_file_that_a_list_names_twice_is_said_and_read_twice(few, caplog):
    paths, images = few
    dataset = Dataset([paths[1], paths[0], paths[1]])
    assert [record.getMessage() for record in caplog.records] == [
        f"files names {str(paths[1])!r} more than once: each sample of it comes as often in an epoch"
    ]
    out, _ = read(dataset, range(12))
    np.testing.assert_array_equal(out, images[[4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7]])


def test_a_file_is_indexed_when_it_is_first_read(few, indexed):
    paths, images = few
    dataset = Dataset(paths)
    dataset.describe(), dataset.block_starts, dataset.block_bytes, dataset.keep(3)
    assert indexed == []
    out, _ = read(dataset, [13, 30, 14])
    np.testing.assert_array_equal(out, images[[13, 30, 14]])
    assert indexed == ["0003.h5", "0007.h5"]
    read(dataset, [12, 31])
    assert indexed == ["0003.h5", "0007.h5"]
    assert [facts["indexed"] for facts in dataset.describe()] == [k in (3, 7) for k in range(9)]


def test_each_is_indexed_once_by_however_many_threads(few, indexed):
    paths, images = few
    dataset, start = Dataset(paths), threading.Barrier(8)

    def work(_):
        start.wait()
        return read(dataset, range(36))[0]

    with ThreadPoolExecutor(8) as pool:
        for out in pool.map(work, range(8)):
            np.testing.assert_array_equal(out, images)
    assert sorted(indexed) == [path.name for path in paths]


def test_one_file_is_indexed_at_once_and_opened_once(few, indexed, monkeypatch):
    opened, original = [], h5py.File.__init__

    def init(self, name, *arguments, **options):
        if isinstance(name, str):
            opened.append(name)
        original(self, name, *arguments, **options)

    monkeypatch.setattr(h5py.File, "__init__", init)
    paths, images = few
    dataset = Dataset(paths[0])
    assert indexed == ["0000.h5"]
    np.testing.assert_array_equal(read(dataset, range(4))[0], images[:4])
    assert opened == [str(paths[0])]
    opened.clear()
    Dataset(paths)
    assert opened == [str(path) for path in paths]


@pytest.mark.parametrize("types", [["uint16", "uint16"], ["int16", "int16"], ["uint16", "int16"], ["float32", "uint16"]])
def test_files_of_16_bit_integers_keep_their_type_unless_others_have_another_one(tmp_path, types):
    paths = [tmp_path / f"{number}.h5" for number in range(2)]
    values = np.arange(2 * np.prod(IMAGE)).reshape(2, *IMAGE)
    for path, kind in zip(paths, types, strict=True):
        write(path, values.astype(kind), np.zeros(2))
    dataset = Dataset(paths)
    assert dataset.dtype == (types[0] if len(set(types)) == 1 else "float32")
    images = np.stack(list(dataset.image_files.images(np.arange(4))))
    np.testing.assert_array_equal(images, np.concatenate([values, values]))


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda path: path.unlink(), FileNotFoundError, r"No such file.*0005\.h5"),
        (lambda path: path.write_text("text"), DataError, r"0005\.h5': not an HDF5 file"),
        (lambda path: os.truncate(path, 3000), DataError, r"0005\.h5'.*truncated"),
        (
            lambda path: write(path, np.zeros((4, 6, 7, 3), np.uint8), np.zeros(4)),
            DataError,
            r"0005\.h5', dataset 'images': images are uint8 \(6, 7, 3\), in '.*0000\.h5' they are uint8 \(6, 5, 3\)",
        ),
        (
            lambda path: write(path, np.zeros((4, *IMAGE), np.float32), np.zeros(4)),
            DataError,
            r"0005\.h5', dataset 'images': images are float32",
        ),
        (lambda path: write(path, np.zeros((4, *IMAGE), np.uint8), np.zeros(3)), DataError, r"0005\.h5', dataset 'labels'"),
    ],
    ids=["missing", "text", "truncated", "shape", "type", "labels"],
)
def test_a_file_that_does_not_fit_is_an_error_at_once(few, spoil, error, message):
    paths, _ = few
    spoil(paths[5])
    with pytest.raises(error, match=message) as caught:
        Dataset(paths)
    assert threads_left() == []
    del caught  # which would have kept them
    with pytest.raises(error, match=message):
        Dataset(paths, on_corrupt="skip")


def damage_index(path):
    """Let the first chunk of a gzip file be larger than the file; its headers stay as they are."""
    with h5py.File(path, "r") as file:
        facts = file["images"].id.get_chunk_info(0)
    key = facts.size.to_bytes(4, "little") + bytes(12)  # of the B-tree: stored size, filter mask, offset of sample 0
    content = path.read_bytes()
    assert content.count(key) == 1
    path.write_bytes(content.replace(key, (0x7FFFFF00).to_bytes(4, "little") + bytes(12)))


def test_a_damaged_index_is_an_error_where_its_images_are_asked_for(few):
    paths, images = few
    damage_index(paths[5])
    with Loader(paths, 4, CROP, mean=None, workers=2) as loader:
        for step in (4, 6, 8):
            np.testing.assert_array_equal(loader.batch(0, step)[0], images[4 * step : 4 * step + 4])
        for _ in range(2):
            with pytest.raises(DataError, match=r"0005\.h5', dataset 'images', chunk 0, sample 0: .*beyond the end of the file"):
                loader.batch(0, 5)
        with pytest.raises(DataError, match=r"0005\.h5'"):
            list(loader)
    with pytest.raises(DataError, match=r"0005\.h5'"):
        Dataset(paths[5], on_corrupt="skip")  # nothing is left of it


@pytest.mark.parametrize("layout", [ONE, SEVERAL], ids=["one image a chunk", "three images a chunk"])
@pytest.mark.parametrize("workers", [1, 3])
def test_skipped_is_the_whole_file_and_the_next_one_comes_instead(tmp_path, layout, workers):
    paths, images = write_many(tmp_path, [4, 6, 3, 5], [{**layout, "compression": "gzip"}])
    damage_index(paths[1])
    damage_index(paths[3])
    expected = np.arange(18)
    expected[4:10] = [10, 11, 12, 0, 1, 2]  # six further, and those that fall on the last file five further than that
    expected[13:] = [0, 1, 2, 3, 10]  # five further, round the end; the last falls on the second file, and is six further
    with Loader(paths, 3, CROP, mean=None, shuffle=True, workers=workers, on_corrupt="skip") as loader:
        for number in range(2):
            for step, (x, y) in enumerate(loader):
                samples = expected[loader.samples(number, step)]
                np.testing.assert_array_equal(y, samples)
                np.testing.assert_array_equal(x, images[samples].astype(np.float32))
        corrupt = loader.stats()["corrupt"]
    assert corrupt["samples"] == 11
    assert len(corrupt["problems"]) == 2
    assert all("beyond the end of the file" in problem for problem in corrupt["problems"])


def test_all_files_damaged_is_an_error_though_they_are_skipped(few):
    paths, _ = few
    for path in paths:
        damage_index(path)
    with Loader(paths, 4, CROP, mean=None, on_corrupt="skip") as loader, pytest.raises(DataError, match="beyond the end"):
        loader.batch(0, 0)


@pytest.mark.parametrize("on_corrupt", ["raise", "skip"])
@pytest.mark.parametrize("layout", [{}, {**ONE, "compression": "gzip"}, BY_HDF5], ids=str)
def test_a_file_that_is_replaced_while_it_is_closed(tmp_path, monkeypatch, layout, on_corrupt):
    monkeypatch.setattr(handles, "default_limit", lambda: 2)
    paths, images = write_many(tmp_path, [4] * 6, [layout])
    dataset = Dataset(paths, on_corrupt=on_corrupt)
    for number in range(6):
        np.testing.assert_array_equal(read(dataset, [4 * number])[0][0], images[4 * number])
    shutil.copy(paths[0], tmp_path / "other")
    for number in (0, 3):
        os.replace(shutil.copy(tmp_path / "other", tmp_path / "twin"), paths[number])
    np.testing.assert_array_equal(read(dataset, [5])[0], images[[5]])
    for sample in (0, 13):
        with pytest.raises(ChangedError, match=r"000[03]\.h5', dataset 'images': changed or replaced since it was opened first"):
            read(dataset, [sample])
    paths[1].unlink()
    read(dataset, [8, 16, 20])
    with pytest.raises(FileNotFoundError, match=r"0001\.h5"):
        read(dataset, [4])


def test_a_file_that_is_replaced_before_it_is_first_read(few):
    paths, _ = few
    dataset = Dataset(paths, on_corrupt="skip")
    damage_index(paths[2])  # no reason to skip the file that is gone
    os.replace(paths[2], paths[4])
    with pytest.raises(ChangedError, match=r"0004\.h5"):
        read(dataset, [16])
    with pytest.raises(FileNotFoundError, match=r"0002\.h5"):
        read(dataset, [8])


@pytest.mark.parametrize("read_before", [False, True])
def test_a_file_that_is_gone_is_missed_only_by_batches_with_its_images(tmp_path, monkeypatch, read_before):
    """Its blocks are fetched by earlier batches, too, which have no use for them yet."""
    monkeypatch.setattr(handles, "default_limit", lambda: 2)
    paths, images = write_many(tmp_path, [12] * 4, [{**SEVERAL, "compression": "gzip"}])
    with Loader(paths, 4, CROP, mean=None, workers=1, shuffle=True, shuffle_window=6) as loader:
        if read_before:  # and is not open any more
            loader.batch(0, 0)
            for k in (1, 2, 3, 0, 1):
                loader._dataset.read(np.array([12 * k]), CopySink(np.empty(images[0].size, np.uint8), images[0].size))
        loader._dataset.image_files.cache.clear()
        paths[2].unlink()
        n_missed = 0
        for step in range(len(loader)):
            samples = loader.samples(0, step)
            if 2 in samples // 12:
                n_missed += 1
                with pytest.raises(FileNotFoundError, match=r"0002\.h5"):
                    loader._source.prepare(0, step)
            else:
                np.testing.assert_array_equal(loader._source.prepare(0, step).x, images[samples])
        assert 3 <= n_missed < len(loader)


def test_an_index_that_turns_out_wrong_changes_the_way_and_not_the_order(tmp_path, monkeypatch, caplog):
    """Three images a chunk without filters: read directly each is read alone, by HDF5 a chunk at a time."""
    from fastprep.h5 import index

    paths, images = write_many(tmp_path, [6] * 4, [SEVERAL, {**SEVERAL, "compression": "gzip"}])
    with Loader(paths, 4, CROP, mean=None, shuffle=True, shuffle_window=6) as loader:
        wanted = [y for _, y in loader]
    original = index.list_chunks

    def shifted(*arguments):
        chunks = original(*arguments)
        return replace(chunks, offsets=np.roll(chunks.offsets, 1))

    monkeypatch.setattr(index, "list_chunks", shifted)
    with Loader(paths, 4, CROP, mean=None, shuffle=True, shuffle_window=6) as loader:
        before = loader._dataset.block_starts
        batches = list(loader)
        np.testing.assert_array_equal(loader._dataset.block_starts, before)
        assert all("differs from HDF5's" in facts["read"] for facts in loader.stats()["files"][::2])
    assert "differs from HDF5's" in caplog.text
    for (x, y), labels in zip(batches, wanted, strict=True):
        np.testing.assert_array_equal(y, labels)
        np.testing.assert_array_equal(x, images[y].astype(np.float32))


def test_hdf5_is_named_once_for_each_reason(tmp_path, caplog):
    paths, _ = write_many(tmp_path, [2] * 6, [BY_HDF5, {}])
    Dataset(paths)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1
    assert messages[0].startswith(f"{paths[0]} and 2 more: HDF5 has to read 'images'")


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(1, 11), min_size=2, max_size=9),
    first_layout=st.integers(0, len(LAYOUTS) - 1),
    batch_size=st.integers(1, 7),
    window=st.sampled_from([0, 1, 6, 2048]),
    read_before=st.lists(st.integers(0, 10**6), max_size=3),
)
def test_the_order_follows_from_the_headers(tmp_path_factory, sizes, first_layout, batch_size, window, read_before):
    layouts = LAYOUTS[first_layout:] + LAYOUTS[:first_layout]
    paths, images = write_many(tmp_path_factory.mktemp("order"), sizes, layouts)
    per_block = []
    for number, n in enumerate(sizes):
        layout = layouts[number % len(layouts)]
        alone = layout in ({}, ONE, SEVERAL)
        per_block.append(1 if alone else min(n, layout["chunks"][0]))
    firsts = np.cumsum([0, *sizes])
    starts = [k for a, b, size in zip(firsts, firsts[1:], per_block, strict=False) for k in range(a, b, size)]
    starts = np.array([*starts, firsts[-1]]) if max(per_block) > 1 else None
    windows = None
    if starts is not None and window:
        windows = order.Windows(starts, max(1, -(-window // int(np.diff(starts).max()))))
    with Loader(paths, batch_size, CROP, mean=None, shuffle=True, shuffle_window=window, seed=3, workers=2) as loader:
        for number in read_before:
            loader.batch(1, number % len(loader))
        for step, (x, y) in enumerate(loader):
            wanted = order.step_samples(
                len(images), batch_size, step, shuffle=True, seed=3, epoch=0, shard=(0, 1), windows=windows, seen=0
            )
            np.testing.assert_array_equal(y, wanted)
            np.testing.assert_array_equal(x, images[wanted].astype(np.float32))


def test_windows_over_many_files_keep_what_they_decode(tmp_path, monkeypatch):
    monkeypatch.setattr(handles, "default_limit", lambda: 3)
    paths, images = write_many(tmp_path, [6] * 40, [{**SEVERAL, "compression": "gzip"}])
    with Loader(paths, 8, CROP, mean=None, shuffle=True, shuffle_window=48, workers=3) as loader:
        for number in range(1, 3):
            for x, y in loader:
                np.testing.assert_array_equal(x, images[y].astype(np.float32))
            # a few more: how many blocks the steps under way take is an average, and these are of 2 and 4 images in turn
            assert loader.stats()["blocks_decoded"] <= number * 40 * 2 * 1.1


def _child(loader, images, queue):
    queue.put(all(np.array_equal(x, images[y].astype(np.float32)) for x, y in loader))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_another_process_reads_the_same(few, method):
    paths, images = few
    context = multiprocessing.get_context(method)
    with Loader(paths, 5, CROP, mean=None, shuffle=True, workers=2) as loader:
        loader.batch(0, 3)  # some are indexed and open, others are not
        queue = context.Queue()
        child = context.Process(target=_child, args=(loader, images, queue))
        child.start()
        assert queue.get(timeout=120)
        child.join(60)
        _child(loader, images, queue)
        assert queue.get(timeout=60)


def test_pickled_files_share_one_limit_and_one_cache(tmp_path):
    paths, images = write_many(tmp_path, [6] * 5, [{**SEVERAL, "compression": "gzip"}])
    dataset = Dataset(paths)
    dataset.keep(20)
    read(dataset, range(9))
    again = pickle.loads(pickle.dumps(dataset))
    assert again.handles.n_open == 0
    for _ in range(2):
        np.testing.assert_array_equal(read(again, range(30))[0], images)
    assert again.handles.n_open == 5
    assert again.n_blocks_decoded - dataset.n_blocks_decoded <= 10


def test_scratch_is_that_of_threads_and_not_of_files(tmp_path, rng):
    images = rng.integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
    paths = [tmp_path / f"{k}.h5" for k in range(40)]
    for path, image in zip(paths, images, strict=True):
        write(path, image[None], [0], chunks=(1, 64, 64, 3), compression="gzip")
    dataset, out = Dataset(paths), np.empty_like(images)
    sink = CopySink(out.reshape(-1), out[0].nbytes)
    Dataset(paths).read(np.arange(2), sink)  # brings in what is imported late
    tracemalloc.start()
    try:
        dataset.read(np.arange(40), sink)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(out, images)
    assert kept < 40 * out[0].nbytes
