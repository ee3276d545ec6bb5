"""Chunks that are decoded without Python: as imagecodecs decodes them, whatever is in them, and handed over in the same way."""

import functools
import threading
from dataclasses import replace

import h5py
import hdf5plugin
import imagecodecs
import numpy as np
import pytest
from fuzz import targets

from fastprep.errors import DataError, NotFiniteError
from fastprep.h5 import Reader, _decode, native, open_images
from fastprep.h5.filters import SLACK_BYTES, DecodeError, Filter, Pipeline
from fastprep.loader import Loader

SHAPE = (9, 24, 31, 3)
LAYOUTS = {
    "gzip": {"chunks": (1, *SHAPE[1:]), "compression": "gzip"},
    "shuffle+lzf+fletcher32": {"chunks": (1, *SHAPE[1:]), "shuffle": True, "compression": "lzf", "fletcher32": True},
    "lz4": {"chunks": (1, *SHAPE[1:]), **hdf5plugin.LZ4(nbytes=500)},
    "zstd": {"chunks": (1, *SHAPE[1:]), **hdf5plugin.Zstd()},
    "blosc": {"chunks": (1, *SHAPE[1:]), **hdf5plugin.Blosc("zstd")},
    "bitshuffle": {"chunks": (1, *SHAPE[1:]), **hdf5plugin.Bitshuffle(cname="lz4")},
    "blosc2": {"chunks": (1, *SHAPE[1:]), **hdf5plugin.Blosc2()},
    "blosc2 tiles": {"chunks": (2, 24, 11, 3), **hdf5plugin.Blosc2("zstd")},
    "tiles": {"chunks": (1, 7, 10, 2), "compression": "gzip"},
    "tiles without filters": {"chunks": (2, 7, 10, 2)},
    "four each": {"chunks": (4, *SHAPE[1:]), "compression": "lzf"},
}
GUARD = 64


def plan_for(pipeline, chunk_bytes):
    none = np.zeros(1, np.int64)
    stages = [(stage.code, stage.values) for stage in pipeline.filters]
    sides = (1, 1, 1, chunk_bytes)
    return _decode.ChunkPlan(stages, sides, sides, 1, False, SLACK_BYTES, none, none, none.astype(np.uint32))


@pytest.fixture(scope="module")
def decoder():
    return _decode.Decoder(native.codecs())


def undo(pipeline, chunk_bytes, decoder, stored, skipped=0):
    """Decode natively, in memory with guards around it; None if it is refused."""
    n_bytes = chunk_bytes + SLACK_BYTES
    around = [np.full(n_bytes + 2 * GUARD, 0xA5, np.uint8) for _ in range(2)]
    stored = np.frombuffer(bytes(stored), np.uint8)
    found = _decode.undo_filters(plan_for(pipeline, chunk_bytes), decoder, skipped, stored, *(a[GUARD:-GUARD] for a in around))
    assert all((a[:GUARD] == 0xA5).all() and (a[-GUARD:] == 0xA5).all() for a in around)
    return found


def by_imagecodecs(pipeline, chunk_bytes, stored, skipped=0):
    out, spare = np.empty(chunk_bytes + SLACK_BYTES, np.uint8), np.empty(chunk_bytes + SLACK_BYTES, np.uint8)
    try:
        return pipeline.decode(np.frombuffer(bytes(stored), np.uint8), skipped, chunk_bytes, out, spare).tobytes()
    except DecodeError:
        return None


@pytest.fixture(scope="module")
def known():
    return targets.pipelines()


def test_every_filter_is_decoded_without_python_here(known, decoder):
    n_decoded = 0
    for pipeline, chunk_bytes, stored in known:
        assert native.foreign_filters(pipeline) == [], pipeline.names
        found = undo(pipeline, chunk_bytes, decoder, stored)
        assert not pipeline.can_decode or found == by_imagecodecs(pipeline, chunk_bytes, stored), pipeline.names
        n_decoded += found is not None
    assert n_decoded > 0.8 * len(known)  # blosc leaves some as they were, and their masks say so


def test_damaged_chunks_give_what_imagecodecs_gives_or_are_refused(known, decoder):
    rng = np.random.default_rng(0)
    n_decoded = 0
    for pipeline, chunk_bytes, stored in known:
        for _ in range(100):
            damaged, skipped = bytearray(stored), 0
            match rng.integers(0, 4):
                case 0:
                    damaged[int(rng.integers(len(damaged)))] ^= int(rng.integers(1, 256))
                case 1:
                    del damaged[int(rng.integers(len(damaged))) :]
                case 2:
                    damaged[int(rng.integers(min(40, len(damaged))))] = int(rng.integers(256))
                case _:
                    damaged += bytes(int(rng.integers(40)))
                    skipped = int(rng.integers(0, 1 << len(pipeline.filters)))
            found = undo(pipeline, chunk_bytes, decoder, damaged, skipped)
            n_decoded += found is not None
            if pipeline.can_decode:
                assert found is None or found == by_imagecodecs(pipeline, chunk_bytes, damaged, skipped), pipeline.names
    assert n_decoded > 100


@pytest.mark.parametrize("n", [1, 2, 31, 255, 511, 512, 513, 5000])
def test_checksums_of_any_length_are_those_of_hdf5(decoder, n):
    for content in (
        np.random.default_rng(n).integers(0, 256, n, dtype=np.uint8),
        np.zeros(n, np.uint8),
        np.full(n, 255, np.uint8),
    ):
        checksum = imagecodecs.h5checksum_fletcher32(content)
        for stored, is_right in ((checksum, True), (checksum ^ 1, False)):
            found = undo(Pipeline((Filter(3),)), n, decoder, content.tobytes() + stored.to_bytes(4, "little"))
            assert found == (content.tobytes() if is_right else None)


@pytest.mark.parametrize("element_bytes", [1, 2, 3, 4, 8, 12])
def test_shuffles_of_any_element_and_length(decoder, element_bytes):
    rng = np.random.default_rng(0)
    for n in (0, 1, 7, 8, 9, 64, 1000, 5000):
        whole = rng.integers(0, 256, n * element_bytes, dtype=np.uint8)
        tail = rng.integers(0, 256, int(rng.integers(0, element_bytes)), dtype=np.uint8)
        chunk = np.concatenate([whole, tail])
        if len(chunk) == 0:
            continue
        shuffled = np.concatenate([whole.reshape(n, element_bytes).T.ravel(), tail])
        assert undo(Pipeline((Filter(2, (element_bytes,)),)), len(chunk), decoder, shuffled) == chunk.tobytes()
        if n and len(tail) == 0:
            for block in (0, 64):
                pipeline = Pipeline((Filter(32008, (0, 4, element_bytes, block, 0)),))
                assert undo(pipeline, n * element_bytes, decoder, whole) == by_imagecodecs(pipeline, n * element_bytes, whole)


@pytest.mark.parametrize("seed", range(4))
def test_lzf_of_all_kinds_of_bytes(decoder, seed):
    """Runs, repetitions near and far, and noise, of lengths around those of literals and copies."""
    rng = np.random.default_rng(seed)
    for _ in range(60):
        parts = []
        for _ in range(int(rng.integers(1, 8))):
            unit = rng.integers(0, 256, int(rng.choice([1, 2, 3, 7, 8, 9, 15, 16, 17, 40, 300])), dtype=np.uint8).tobytes()
            parts.append(unit * int(rng.integers(1, 40)))
        content = b"".join(parts) + bytes(300)
        stored = imagecodecs.lzf_encode(content)
        assert undo(Pipeline((Filter(32000),)), len(content), decoder, stored) == content


def test_an_lzf_copy_from_before_the_beginning_is_refused(decoder):
    for stored in (b"\x20\x00", b"\x00a\x20\x01", b"\x20", b"\xe0", b"\xe0\x01", b"\x1f" + bytes(31)):
        assert undo(Pipeline((Filter(32000),)), 100, decoder, stored) is None


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Path of a file with a dataset of each layout, and the images."""
    path = tmp_path_factory.mktemp("native") / "x.h5"
    images = (np.arange(SHAPE[1])[:, None, None] * 9 + np.random.default_rng(0).integers(0, 6, SHAPE)).astype(np.uint8)
    with h5py.File(path, "w") as file:
        for name, layout in LAYOUTS.items():
            file.create_dataset(name, data=images, **layout)
    return path, images


@pytest.mark.parametrize("io", ["pread", "mmap"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_images_are_read_without_the_decoders_of_python(files, monkeypatch, name, io):
    path, images = files

    def fail(*arguments):
        raise AssertionError("decoded by Python")

    monkeypatch.setattr(Pipeline, "decode", fail)
    monkeypatch.setattr(Reader, "_block_by_hdf5", fail)
    reader = open_images(path, name, io=io)
    samples = np.array([5, 0, 8, 5, 7, 1, 1])
    np.testing.assert_array_equal(reader.array(samples), images[samples])


@pytest.mark.parametrize("name", [name for name in LAYOUTS if not name.startswith("blosc2")])
def test_where_libraries_hide_their_functions_python_decodes(files, monkeypatch, name):
    path, images = files
    monkeypatch.setattr(native, "codecs", functools.cache(lambda: _decode.Codecs({})))
    reader = open_images(path, name)
    assert reader.index.reason == ""
    of_libraries = [
        stage for stage in reader.index.pipeline.names.split("+") if stage not in ("shuffle", "lzf", "fletcher32", "none")
    ]
    assert reader.index.layout.endswith(f", {of_libraries[0]} decoded in Python" if of_libraries else reader.index.pipeline.names)
    samples = np.array([5, 0, 8, 5, 7, 1, 1])
    np.testing.assert_array_equal(reader.array(samples), images[samples])


def test_functions_that_are_not_there_are_left_out(monkeypatch):
    monkeypatch.setitem(native._FUNCTIONS, "lz4_decompress", ("_lz4", "LZ4_of_another_name"))
    monkeypatch.setitem(native._FUNCTIONS, "deflate_new", ("_module_of_another_name", "x"))
    found = native.find_functions()
    assert "zstd_new" in found
    assert not {"lz4_decompress", "deflate_new"} & set(found)
    codecs = _decode.Codecs(found)
    assert not codecs.can_undo(32004, ())
    assert not codecs.can_undo(1, (4,))
    assert not codecs.can_undo(32008, (0, 4, 1, 0, 2))
    assert codecs.can_undo(32008, (0, 4, 1, 0, 3))


@pytest.mark.parametrize("name", ["gzip", "zstd", "tiles"])
def test_the_error_of_a_damaged_chunk_is_that_of_the_decoders_of_python(files, tmp_path, monkeypatch, name):
    path, images = files
    content = bytearray(path.read_bytes())
    index = open_images(path, name).index
    n_tiles = len(index.chunks.offsets) // SHAPE[0]
    place = int(index.chunks.offsets[3 * n_tiles])
    content[place : place + 8] = bytes(8)
    damaged = tmp_path / "y.h5"
    damaged.write_bytes(content)
    words = []
    for codecs in (native.codecs(), _decode.Codecs({})):
        monkeypatch.setattr(native, "codecs", lambda codecs=codecs: codecs)
        reader = open_images(damaged, name)
        with pytest.raises(DataError) as error:
            reader.array(np.array([1, 3, 2]))
        words.append(str(error.value))
        np.testing.assert_array_equal(reader.array(np.array([2, 4])), images[[2, 4]])
    assert words[0] == words[1]
    assert "y.h5" in words[0]
    assert f"dataset '{name}', chunk 3, sample 3" in words[0]


@pytest.mark.parametrize("chunk", [1, 4])
def test_what_a_sink_refuses_is_an_error_of_its_sample(tmp_path, chunk):
    images = np.random.default_rng(0).random((9, 6, 5, 3), np.float32)
    images[4, 2, 1, 0] = np.nan
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("images", data=images, chunks=(chunk, 6, 5, 3), compression="gzip", shuffle=True)
    with pytest.raises(NotFiniteError, match=rf"dataset 'images', chunk {4 // chunk}, sample 4"):
        list(Loader(tmp_path / "x.h5", 9, None, labels=None, mean=None))


def test_a_file_that_ends_early_is_an_error_that_says_so(files):
    path, images = files
    reader = open_images(path, "zstd")
    chunks = reader.index.chunks
    last = int(np.argmax(chunks.offsets))
    offsets = chunks.offsets.copy()
    offsets[last] = path.stat().st_size - 3
    moved = replace(chunks, offsets=offsets)
    for io in ("pread", "mmap"):
        broken = Reader(replace(reader.index, chunks=moved), io)
        with pytest.raises(DataError, match=f"chunk {last}, sample {last}: the file ends before the data do"):
            broken.array(np.arange(SHAPE[0]))
        np.testing.assert_array_equal(broken.array(np.array([0, 2])), images[[0, 2]])


def test_threads_decode_at_once_each_with_its_own_decompressors(files):
    path, images = files
    wrong = []
    readers = {name: open_images(path, name) for name in LAYOUTS}

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(10):
            for name, reader in readers.items():
                samples = rng.integers(0, SHAPE[0], 6)
                if not np.array_equal(reader.array(samples), images[samples]):
                    wrong.append(name)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


BLOSC2 = {
    "blosclz": hdf5plugin.Blosc2(),
    "zstd and bitshuffle": hdf5plugin.Blosc2("zstd", filters=hdf5plugin.Blosc2.BITSHUFFLE),
    "lz4 and delta": hdf5plugin.Blosc2("lz4", filters=hdf5plugin.Blosc2.DELTA),
    "zlib alone": hdf5plugin.Blosc2("zlib", filters=hdf5plugin.Blosc2.NOFILTER),
}


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Chunks as blosc2 stores them, with blocks in several dimensions and without, and what they are when they are decoded."""
    found, path = [], tmp_path_factory.mktemp("frames") / "x.h5"
    with h5py.File(path, "w") as file:
        for number, (options, dtype) in enumerate((o, d) for o in BLOSC2.values() for d in ("u1", ">u2", "f4")):
            for shape in ((1, 20, 24, 3), (2, 70, 90)):
                data = (np.arange(np.prod(shape)).reshape(shape) // 5 % 97).astype(dtype)
                dataset = file.create_dataset(f"{number} {len(shape)}", data=data, chunks=shape, **options)
                skipped, stored = dataset.id.read_direct_chunk((0,) * len(shape))
                assert skipped == 0
                found.append((stored, data.tobytes()))
        zeros = file.create_dataset("zeros", data=np.zeros((1, 20, 24, 3), "u1"), chunks=True, **hdf5plugin.Blosc2())
        found.append((zeros.id.read_direct_chunk((0, 0, 0, 0))[1], bytes(int(np.prod(zeros.chunks)))))
    blosc2 = pytest.importorskip("blosc2")  # which comes with PyTables; what filters of older releases wrote
    for content in (np.arange(4000, dtype="i4"), np.zeros(4000, "i4")):
        frame = blosc2.SChunk(contiguous=True, chunksize=content.nbytes, data=content, cparams={"typesize": 4})
        found.append((frame.to_cframe(), content.tobytes()))
    return found


def test_frames_of_blosc2_are_decoded(frames, decoder):
    for stored, content in frames:
        assert undo(Pipeline((Filter(32026),)), len(content), decoder, stored) == content


def test_damaged_frames_of_blosc2_write_nothing_beyond_their_memory(frames, decoder):
    """What is refused goes to HDF5. What is not refused may have other numbers: the frames have no checksums."""
    rng = np.random.default_rng(0)
    n_refused = 0
    for stored, content in frames:
        for case in range(60):
            damaged = bytearray(stored)
            place = int(rng.integers(len(damaged) if case % 2 else min(330, len(damaged))))
            match case % 4:
                case 0 | 1:
                    damaged[place] ^= int(rng.integers(1, 256))
                case 2:
                    value = int(rng.choice([0, 1, 255, 2**31 - 1, 2**31, 2**32 - 1, len(stored)]))
                    damaged[place : place + 4] = value.to_bytes(4, "little" if place % 2 else "big")
                case _:
                    del damaged[place:]
            n_refused += undo(Pipeline((Filter(32026),)), len(content), decoder, damaged) is None
    assert n_refused > 0.4 * 60 * len(frames)


@pytest.mark.parametrize("chunk", [1, 3])
def test_what_is_refused_of_blosc2_is_read_by_hdf5_and_an_error_of_its_words(tmp_path, chunk):
    images = (np.arange(SHAPE[1])[:, None, None] * 9 + np.random.default_rng(0).integers(0, 6, SHAPE)).astype(np.uint8)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("images", data=images, chunks=(chunk, *SHAPE[1:]), **hdf5plugin.Blosc2())
    reader = open_images(tmp_path / "x.h5")
    assert reader.index.layout.endswith("filters blosc2")
    content = bytearray((tmp_path / "x.h5").read_bytes())
    content[int(reader.index.chunks.offsets[3 // chunk]) + 2] ^= 1  # in the name of the format
    (tmp_path / "y.h5").write_bytes(content)
    reader = open_images(tmp_path / "y.h5")
    with pytest.raises(DataError, match=rf"chunk {3 // chunk}, sample 3: HDF5 can't read it"):
        reader.array(np.array([0, 3]))
    np.testing.assert_array_equal(reader.array(np.array([0, 8, 6])), images[[0, 8, 6]])


def test_without_its_functions_blosc2_is_left_to_hdf5(files, monkeypatch):
    path, images = files
    monkeypatch.setattr(native, "codecs", functools.cache(lambda: _decode.Codecs({})))
    reader = open_images(path, "blosc2")
    assert reader.index.reason == "filters blosc2"
    np.testing.assert_array_equal(reader.array(np.array([5, 0])), images[[5, 0]])
