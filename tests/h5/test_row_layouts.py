"""Rows of bytes in the layouts beside variable length, read directly: equal to what was written, and errors that name the row."""

import os
import pickle
import threading

import h5py
import numpy as np
import pytest
from encoded_layouts import dataset, group, layouts, table, vector, with_offsets, write_layout

from fastprep.errors import ChangedError, DataError
from fastprep.h5 import open_images, read_labels
from fastprep.h5.byte_rows import ByteRows, open_rows
from fastprep.h5.files import open_file
from fastprep.h5.groups import get_images
from fastprep.h5.row_columns import LENGTH_WORDS, OFFSET_WORDS, columns_beside
from fastprep.h5.row_layouts import index_rows

LENGTHS = [40, 13, 700, 12, 4097, 64, 999, 1000, 1001, 30_000, 16]


def rows_of(lengths=LENGTHS, seed=0):
    """Return rows that begin as a JPEG does and end as one."""
    rng = np.random.default_rng(seed)
    return [b"\xff\xd8\xff" + rng.integers(0, 256, n - 5, np.uint8).tobytes() + b"\xff\xd9" for n in lengths]


ROWS = rows_of()
LAYOUTS = {name: layout for name, layout in layouts(ROWS).items() if not name.startswith("variable length")}
FLAT = np.frombuffer(b"".join(ROWS), np.uint8)


def written(path, write):
    return write_layout(path, write, len(ROWS))


def opened(path, images="images"):
    if "/" not in images:
        return open_rows(path, images)
    with open_file(path) as file:
        return ByteRows(index_rows(get_images(file, images), (str(path), images)))


def check(found, reason=""):
    assert reason in found.index.reason
    assert bool(reason) == bool(found.index.reason)
    order = np.random.default_rng(1).permutation(len(ROWS))
    for samples in (range(len(ROWS)), order, [*order[:3], *order[:3]], order[:1]):
        for row, sample in zip(found.read(samples), samples, strict=True):
            assert row[: len(ROWS[sample])].tobytes() == ROWS[sample]
            assert set(row[len(ROWS[sample]) :].tolist()) <= {0, ord(" ")}
    return found


@pytest.mark.parametrize("name", LAYOUTS)
def test_rows_are_those_that_were_written(tmp_path, name):
    found = check(opened(written(tmp_path / "a.h5", LAYOUTS[name][0]), LAYOUTS[name][1]))
    assert [len(row) for row in found.read(range(len(ROWS)))] == found.lengths().tolist()


@pytest.mark.parametrize("name", ["padded", "joined, chunked", "vectors", "opaque, lengths"])
@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_what_is_not_directly_readable_is_read_by_hdf5(tmp_path, name, libver):
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512, libver=libver) as file:
        LAYOUTS[name][0](file)
    check(opened(tmp_path / "a.h5", LAYOUTS[name][1]), "user block")


def test_virtual_datasets_compact_ones_and_links_are_read(tmp_path):
    path = written(tmp_path / "a.h5", dataset(table(ROWS)))
    layout = h5py.VirtualLayout(table(ROWS).shape, "u1")
    layout[:] = h5py.VirtualSource(path, "images", table(ROWS).shape)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_virtual_dataset("images", layout)
        file["link"] = h5py.ExternalLink("a.h5", "images")
        for k, row in enumerate(ROWS):
            properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            properties.set_layout(h5py.h5d.COMPACT)
            space = h5py.h5s.create_simple((len(row),))
            file.require_group("each")
            stored = h5py.h5d.create(file["each"].id, b"%d" % k, h5py.h5t.STD_U8LE, space, properties)
            stored.write(h5py.h5s.ALL, h5py.h5s.ALL, np.frombuffer(row, np.uint8))
    check(opened(tmp_path / "b.h5"), "virtual dataset")
    assert check(opened(tmp_path / "b.h5", "link")).index.holder == str(path)
    check(opened(tmp_path / "b.h5", "each/"), "compact layout")


def test_chunks_that_nobody_has_written_are_zeros(tmp_path):
    values = table(ROWS)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, fill in (("images", None), ("filled", 3)):
            images = file.create_dataset(name, (20, values.shape[1]), "u1", chunks=(2, 500), fillvalue=fill)
            images[: len(ROWS)] = values
    found = opened(tmp_path / "a.h5")
    assert found.index.reason == ""
    assert found.index.places.n_empty == 8
    assert [row.any() for row in found.read([0, 15, 10, 19])] == [True, False, True, False]
    found = opened(tmp_path / "a.h5", "filled")
    assert found.index.reason == "rows that were never written, and have a fill value"
    assert set(found.read([19])[0].tolist()) == {3}


def test_columns_are_known_by_their_names(tmp_path):
    n = len(ROWS)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["train_images"] = table(ROWS)
        for name in ("lengths", "train_lengths", "val_lengths", "image_size", "NBytes", "labels", "word", "blen"):
            file[name] = np.arange(n)
        file["sizes"] = np.zeros((n, 2))
        file["len"] = np.zeros(n, "S3")
        file["jpeg_offsets"] = np.arange(n + 1, dtype=">u8")
        file["indptr"] = np.array([0, 1.5, np.nan, 2**63, 7, -3])
        found = [column.name for column in columns_beside(file["train_images"], LENGTH_WORDS, n)]
        assert found == ["train_lengths", "NBytes", "image_size", "lengths"]
        offsets = {column.name: column.values.tolist() for column in columns_beside(file["train_images"], OFFSET_WORDS)}
    assert offsets == {"indptr": [0, -1, -1, -1, 7, -3], "jpeg_offsets": list(range(n + 1))}


def test_lengths_of_64_bits_without_sign_are_errors_and_not_negative(tmp_path):
    lengths = np.array([len(row) for row in ROWS], np.uint64)
    lengths[3] = 2**64 - 1
    found = opened(written(tmp_path / "a.h5", dataset(table(ROWS), lengths)))
    with pytest.raises(DataError, match=r"sample 3: its length in 'lengths' is 9223372036854775807, and a row has 30009 bytes"):
        found.read([2, 3])


def test_rows_may_overlap_and_lie_in_any_order(tmp_path):
    begins = np.array([len(b"".join(ROWS[:k])) for k in (2, 0, 2, 5)])
    found = opened(written(tmp_path / "a.h5", dataset(FLAT, np.array([700, 40, 13, 64]), begins)))
    wanted = [ROWS[2], ROWS[0], ROWS[2][:13], ROWS[5]]
    assert [row.tobytes() for row in found.read([0, 1, 2, 3])] == wanted


def test_a_row_that_claims_more_than_its_file_takes_no_memory(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        images = file.create_dataset("images", (2**40,), "u1", chunks=(2**20,))
        images[: len(FLAT)] = FLAT
        file["offsets"] = np.append(with_offsets(ROWS)[:-1], 2**39)
    found = opened(tmp_path / "a.h5")
    with pytest.raises(DataError, match=r"sample 10: it has 5\d+ bytes, in a file of \d+; the file is damaged"):
        found.read([0, 10])


@pytest.mark.parametrize("name", ["padded", "joined", "vectors"])
def test_a_file_that_was_cut_names_itself(tmp_path, name):
    path = written(tmp_path / "a.h5", LAYOUTS[name][0])
    found = opened(path, LAYOUTS[name][1])
    os.truncate(path, 3000)
    with pytest.raises(DataError, match=r"a\.h5"):
        found.read(range(len(ROWS)))
    with pytest.raises(DataError, match=r"a\.h5"):
        opened(path, LAYOUTS[name][1])


CHECKED = {"chunks": (1000,), "fletcher32": True}


@pytest.mark.parametrize("name", ["padded, gzip", "joined, fletcher32", "vectors, gzip"])
def test_damaged_chunks_are_errors_of_the_rows_that_need_them(tmp_path, name):
    joined = dataset(FLAT, offsets=with_offsets(ROWS), **CHECKED), "images", ""
    write, images, _ = LAYOUTS.get(name, joined)
    path = written(tmp_path / "a.h5", write)
    with h5py.File(path) as file:
        stored = get_images(file, images)
        one = stored if isinstance(stored, h5py.Dataset) else stored.member(4)
        chunk = one.id.get_chunk_info(one.id.get_num_chunks() // 2)
    found = opened(path, images)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = b"U" * chunk.size
    times = os.stat(path)
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    n_errors = 0
    for sample, row in enumerate(ROWS):
        try:
            (read,) = found.read([sample])
        except DataError as error:
            problem = error
            n_errors += 1
        else:
            assert read[: len(row)].tobytes() == row
            continue
        assert (problem.file, problem.dataset, problem.sample) == (str(path), found.index.name_of(sample), sample)
        assert "damaged" in str(problem)
    assert 1 <= n_errors < len(ROWS)


@pytest.mark.parametrize("name", ["padded, split", "joined, chunked", "vectors"])
def test_threads_read_at_once(tmp_path, name):
    found, problems = opened(written(tmp_path / "a.h5", LAYOUTS[name][0]), LAYOUTS[name][1]), []

    def work(seed):
        for samples in np.array_split(np.random.default_rng(seed).permutation(len(ROWS) * 9) % len(ROWS), 20):
            for row, sample in zip(found.read(samples), samples, strict=True):
                if row[: len(ROWS[sample])].tobytes() != ROWS[sample]:
                    problems.append((seed, sample))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []


@pytest.mark.parametrize("name", ["padded, split", "joined, chunked", "vectors"])
def test_after_a_fork_and_pickled_rows_are_read_again(tmp_path, name):
    found = opened(written(tmp_path / "a.h5", LAYOUTS[name][0]), LAYOUTS[name][1])
    found.read([0])
    child = os.fork()
    if child == 0:
        os._exit(0 if found.read([3])[0][:12].tobytes() == ROWS[3] else 1)
    assert os.waitpid(child, 0)[1] == 0
    check(pickle.loads(pickle.dumps(found)))


@pytest.mark.parametrize("name", ["padded", "joined", "vectors"])
def test_a_file_that_has_changed_is_an_error(tmp_path, name):
    path = written(tmp_path / "a.h5", LAYOUTS[name][0])
    found = opened(path, LAYOUTS[name][1])
    found.read([0])
    os.utime(path, ns=(1, 1))
    with pytest.raises(ChangedError, match="changed or replaced"):
        found.read([1])


def test_labels_of_images_in_groups_are_paired_by_their_names(tmp_path):
    path = tmp_path / "a.h5"
    names = [f"{'cat' if k % 2 else 'dog'}/{k}" for k in range(len(ROWS))]
    with h5py.File(path, "w") as file:
        for k, name in enumerate(names):
            vector(file, f"x/{name}", ROWS[k])
            file[f"y/{name}"] = k
    with pytest.raises(DataError, match="the JPEG is cut short"):
        open_images(path, "x/*/*", labels=None)  # rows that only begin as JPEGs do
    found = opened(path, "x/*/*")
    order = sorted(range(len(names)), key=lambda k: (names[k].split("/")[0], k))
    assert [found.index.name_of(k) for k in range(len(ROWS))] == [f"x/{names[k]}" for k in order]
    assert [row.tobytes() for row in found.read(range(len(ROWS)))] == [ROWS[k] for k in order]
    assert read_labels(path, "y/*/*", len(ROWS)).tolist() == order


def test_an_empty_member_is_an_empty_row(tmp_path):
    path = written(tmp_path / "a.h5", group(ROWS, vector))
    with h5py.File(path, "a") as file:
        file["images/12.jpg"] = np.zeros(0, np.uint8)
        file["images/13.jpg"] = h5py.Empty("u1")
    found = opened(path, "images/")
    assert [len(row) for row in found.read([12, 11, 0])] == [0, 0, 40]
    assert found.index.places.n_empty == 2
