"""The reader by itself, from the page cache: single images in shuffled order, chunks of 32 images, and opening a file."""

import os

import h5py
import numpy as np
import pytest
import readers

hdf5plugin = pytest.importorskip("hdf5plugin")

N_CHUNKS = int(os.environ.get("FASTPREP_BENCH_CHUNKS", "20000"))
PER_CHUNK = 32

FILTERS = {
    "contiguous": {},
    "gzip-4": {"compression": "gzip", "compression_opts": 4},
    "lz4": {"compression": hdf5plugin.LZ4()},
    "zstd": {"compression": hdf5plugin.Zstd()},
    "lzf": {"compression": "lzf"},
    "blosc": {"compression": hdf5plugin.Blosc()},
}


@pytest.fixture(params=FILTERS)
def photographs(request, tmp_path, n_images):
    """Name of the filter, path, and stored size in units of the pixels, for one image a chunk."""
    path = tmp_path / "photographs.h5"
    layout = {"chunks": (1, *readers.SHAPE), **FILTERS[request.param]} if FILTERS[request.param] else {}
    yield request.param, path, readers.write_photographs(path, n_images, **layout)
    path.unlink()


def test_shuffled_single_images(interleaved, photographs, n_images):
    name, path, stored = photographs
    order = np.random.default_rng(1).permutation(n_images)
    makers = {
        "fastprep, 1 thread": (readers.fastprep_reader, 1),
        "fastprep, 2 threads": (readers.fastprep_reader, 2),
        "h5py d[j]": (readers.h5py_loop, 1),
        "h5py read_direct": (readers.h5py_read_direct, 1),
        "h5py d[sorted list]": (readers.h5py_fancy, 1),
        "hidefix": (readers.hidefix_loop, 1),
        "pyfive": (readers.pyfive_loop, 1),
    }
    if name == "contiguous":
        makers |= {"preadv, 1 thread": (readers.preadv, 1), "preadv, 2 threads": (readers.preadv, 2)}
    fewer = {"h5py d[sorted list]": min(n_images, readers.BATCH)}
    if name == "contiguous":
        fewer["hidefix"] = min(n_images, 16)  # it takes the dataset for one chunk and reads all of it for each image

    def attempt(key):
        make, threads = makers[key]
        read = make(path)
        readers.check(read, n_images)
        return readers.passes(lambda: read, order[: fewer.get(key, n_images)], threads=threads)

    epochs, left_out = readers.admit({key: lambda key=key: attempt(key) for key in makers})
    title = f"shuffled single images, {name}, stored at {stored:.0%} of the pixels"
    anchor = "preadv, 1 thread" if name == "contiguous" else "h5py d[j]"
    interleaved(title, epochs, anchor, path=path, counts=fewer, left_out=left_out)


def test_chunks_of_32_images(interleaved, tmp_path, n_images):
    """The loader's two windows of decoded chunks are a quarter of the file, so that it can't keep what it decoded.

    In the loops h5py decodes a whole chunk for each image, as its chunk cache of 1 MiB is smaller than one; hence few images.
    """
    path = tmp_path / "chunks.h5"
    stored = readers.write_photographs(path, n_images, chunks=(min(PER_CHUNK, n_images), *readers.SHAPE), compression=4)
    window = max(PER_CHUNK, n_images // 8)
    in_file, few = np.arange(n_images), min(PER_CHUNK, n_images)
    shuffled = np.random.default_rng(1).permutation(n_images)[:few]

    def by_h5py(make, order, **options):
        # opened in every pass: a dataset that is open already keeps the chunk cache it has, whatever the options
        return readers.passes(lambda: make(path, **options), order, dtype=np.float32)

    epochs = {
        "fastprep shuffled, 1 worker": readers.loader_passes(path, window, 1),
        "fastprep shuffled, 2 workers": readers.loader_passes(path, window, 2),
        "h5py d[j], shuffled": by_h5py(readers.h5py_loop, shuffled),
        "h5py d[j], file order": by_h5py(readers.h5py_loop, in_file[:few]),
        "same, chunk cache of 64 MiB": by_h5py(readers.h5py_loop, in_file, rdcc_nbytes=64 << 20),
        "h5py d[a:b], file order": by_h5py(readers.h5py_slices, in_file),
    }
    title = f"{PER_CHUNK} images a chunk, gzip-4, stored at {stored:.0%}, to float32, window of {window}"
    counts = {"h5py d[j], shuffled": few, "h5py d[j], file order": few}
    interleaved(title, epochs, "h5py d[j], shuffled", path=path, counts=counts)
    path.unlink()


@pytest.fixture(scope="session", params=["earliest", "latest"])
def many_chunks(request, tmp_path_factory):
    """Path of a file of N_CHUNKS compressed images of one byte, which HDF5 makes by itself when the dataset is created.

    h5py's default file format keeps chunks in a B-tree; the latest one in an array.
    """
    path = tmp_path_factory.mktemp("bench") / "many.h5"
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((1, 1, 1, 1))
    properties.set_deflate(4)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    space = h5py.h5s.create_simple((N_CHUNKS, 1, 1, 1))
    with h5py.File(path, "w", libver=request.param) as file:
        h5py.h5d.create(file.id, b"images", h5py.h5t.STD_U8LE, space, properties)
    yield request.param, path
    path.unlink()


def test_opening(interleaved, many_chunks):
    version, path = many_chunks
    makers = {
        "fastprep open_images": readers.open_fastprep,
        "h5py open + chunk_iter": readers.open_h5py,
        "hidefix": readers.open_hidefix,
        "pyfive": readers.open_pyfive,
    }
    epochs = {key: lambda make=make: make(path) for key, make in makers.items()}
    _, left_out = readers.admit(epochs)
    epochs = {key: epoch for key, epoch in epochs.items() if key not in left_out}
    title = f"opening {N_CHUNKS} chunks, file format {version}"
    counts = dict.fromkeys(epochs, N_CHUNKS)
    interleaved(title, epochs, "h5py open + chunk_iter", path=path, counts=counts, left_out=left_out, unit="seconds")
