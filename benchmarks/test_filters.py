"""Filtered chunks of one image each, to crops, from the page cache: beside bare decoding and the kernel one after the other.

Once these have the chunks in the process's memory, and once they read them first, as fastprep has to. A chunk that would not get
shorter is stored as it was: there bare decoding is nothing, and without reading no byte is moved before the kernel.

The share of Python in a title is what `Reader.read` takes of a thread's processor time outside the one call for a batch: an upper
bound on how long a thread holds Python's lock.
"""

import ctypes
import os
import time
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
from readers import SHAPE, photograph

from fastprep import RandomCrop
from fastprep._sink import hand_over
from fastprep.h5 import _decode, open_images
from fastprep.h5.filters import SLACK_BYTES
from fastprep.kernels import CropSpec

hdf5plugin = pytest.importorskip("hdf5plugin")

BATCH = max(1, min(128, int(os.environ.get("FASTPREP_BENCH_IMAGES", "2048")) // 2))  # one for each of two threads at least
N_DIFFERENT = 64  # images of a file, which then come again
SPEC = CropSpec(SHAPE, "uint8", (227, 227), [106.1, 116.0, 125.0])
FILTERS = {
    "gzip": {"compression": "gzip"},
    "shuffle+fletcher32": {"shuffle": True, "fletcher32": True},
    "lzf": {"compression": "lzf"},
    "lz4": hdf5plugin.LZ4(),
    "zstd": hdf5plugin.Zstd(),
    "blosc": hdf5plugin.Blosc(),
    "blosc2": hdf5plugin.Blosc2(),
    "bitshuffle-lz4": hdf5plugin.Bitshuffle(cname="lz4"),
}
IMAGES = {
    "photographs": photograph,
    "noise": lambda number: np.random.default_rng(number).integers(0, 256, SHAPE, dtype=np.uint8),
}


class Crops:
    """Room for the crops of a batch, and the sink that makes them."""

    def __init__(self):
        table = RandomCrop(227, mirror=True).table(256, 256, np.arange(BATCH), 0, 0)
        self.out = np.empty(SPEC.out_shape(BATCH), np.float32)
        self.sink = SPEC.cpu_sink(table, BATCH, self.out)
        self.slots = np.arange(BATCH)


@pytest.fixture(params=[(what, name) for what in IMAGES for name in FILTERS], ids="-".join)
def chunks(request, tmp_path, n_images):
    """Title, path, and what is stored in units of the pixels."""
    what, name = request.param
    path = tmp_path / "chunks.h5"
    images = np.stack([IMAGES[what](number) for number in range(N_DIFFERENT)])
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("images", (n_images, *SHAPE), "u1", chunks=(1, *SHAPE), **FILTERS[name])
        for first in range(0, n_images, N_DIFFERENT):
            dataset[first : first + N_DIFFERENT] = images[: n_images - first]
        stored = dataset.id.get_storage_size() / dataset.nbytes
    yield f"{what}, {name}, stored at {stored:.0%}", path
    path.unlink()


def epoch_of(make_batch, n_images, threads):
    """Return a function that makes all whole batches of a shuffled epoch, each thread some of them, with crops of its own."""
    order, crops = np.random.default_rng(1).permutation(n_images), [Crops() for _ in range(threads)]

    def share(thread):
        starts = range(thread * BATCH, n_images - BATCH + 1, threads * BATCH)
        for first in starts:
            make_batch(order[first : first + BATCH], crops[thread])
        return len(starts) * BATCH

    def epoch():
        if threads == 1:
            return share(0)
        with ThreadPoolExecutor(threads) as pool:
            return sum(pool.map(share, range(threads)))

    return epoch


def by_parts(reader, reads):
    """Decode chunks by imagecodecs, each into the same memory, for the kernel. They are in memory, or are read one by one."""
    index, content = reader.index, np.empty(0, np.uint8) if reads else np.fromfile(reader.index.path, np.uint8)
    descriptor, raw = (
        os.open(index.path, os.O_RDONLY),
        np.empty(int(index.chunks.sizes.max()), np.uint8),
    )  # until the process ends
    out, spare = (np.empty(index.chunk_bytes + SLACK_BYTES, np.uint8) for _ in range(2))
    chunks, nothing = index.chunks, np.zeros(1, np.int64)

    def make_batch(samples, crops):
        for slot, sample in enumerate(samples.tolist()):
            first, n_bytes = int(chunks.offsets[sample]), int(chunks.sizes[sample])
            if reads:
                os.preadv(descriptor, (raw[:n_bytes],), first)
            stored = raw[:n_bytes] if reads else content[first : first + n_bytes]
            pixels = index.pipeline.decode(stored, int(chunks.masks[sample]), index.chunk_bytes, out, spare)
            hand_over(pixels, nothing, crops.slots[slot : slot + 1], crops.sink)

    return make_batch


def by_h5py(path):
    """One image after the other by h5py, each to the kernel."""
    dataset, image, nothing = h5py.File(path)["images"], np.empty((1, *SHAPE), np.uint8), np.zeros(1, np.int64)

    def make_batch(samples, crops):
        for slot, sample in enumerate(samples.tolist()):
            dataset.read_direct(image, np.s_[sample], np.s_[0])
            hand_over(image.reshape(-1), nothing, crops.slots[slot : slot + 1], crops.sink)

    return make_batch


def preads(reader):
    """Read the stored bytes into the same memory, and do nothing with them."""
    chunks, descriptor = reader.index.chunks, os.open(reader.index.path, os.O_RDONLY)  # until the process ends
    memory = memoryview(bytearray(int(chunks.sizes.max())))

    def make_batch(samples, crops):
        for offset, size in zip(chunks.offsets[samples].tolist(), chunks.sizes[samples].tolist(), strict=True):
            os.preadv(descriptor, (memory[:size],), offset)

    return make_batch


def share_of_python(make_batch, n_images, monkeypatch):
    """Measure which part of a thread's processor time is outside `_decode.read_rows`."""
    inside, read_rows = [0.0], _decode.read_rows

    def timed(*arguments):
        began = time.thread_time()
        result = read_rows(*arguments)
        inside[0] += time.thread_time() - began
        return result

    epoch = epoch_of(make_batch, n_images, 1)
    epoch()
    with monkeypatch.context() as patch:
        patch.setattr(_decode, "read_rows", timed)
        began = time.thread_time()
        epoch()
        return 1 - inside[0] / (time.thread_time() - began)


def test_one_image_a_chunk(interleaved, monkeypatch, chunks, n_images):
    title, path = chunks
    reader = open_images(path)
    assert not reader.index.reason, reader.index.reason

    def ours(samples, crops):
        reader.read(samples, crops.slots, crops.sink)

    def memset(samples, crops):
        ctypes.memset(crops.out.ctypes.data, 1, crops.out.nbytes)

    ways = {"fastprep, 1 thread": (ours, 1), "fastprep, 2 threads": (ours, 2)}
    if reader.index.pipeline.can_decode:
        ways["decoding, then kernel"] = by_parts(reader, reads=False), 1
        ways["pread, decoding, then kernel"] = by_parts(reader, reads=True), 1
    ways |= {
        "h5py, then kernel": (by_h5py(path), 1),
        "pread of the chunks": (preads(reader), 1),
        "memset of the crops": (memset, 1),
    }
    share = share_of_python(ours, n_images, monkeypatch)
    epochs = {name: epoch_of(make_batch, n_images, threads) for name, (make_batch, threads) in ways.items()}
    counts = dict.fromkeys(epochs, n_images // BATCH * BATCH)
    interleaved(f"{title}, {share:.1%} in Python", epochs, "fastprep, 1 thread", path=path, counts=counts)
