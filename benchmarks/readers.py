"""Images out of HDF5 files as people get them today, in a given order: ours, h5py's ways, bare preadv, two other readers.

Each contender is a function of a path that returns `read(samples, batch)`, which puts image samples[k] into batch[k]. Everybody
so ends with the same batch in the same order, h5py by a copy of the array that it returns.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import h5py
import numpy as np

from fastprep.h5 import open_images
from fastprep.h5._read import CopySink
from fastprep.loader import Loader

BATCH = 128
SHAPE = (256, 256, 3)
PEERS = {"hidefix", "pyfive"}
"""May be missing, or unable to read a file; all others have to work."""

_GRAIN = np.random.default_rng(0).normal(0, 3, (512, 512, 3)).astype(np.float32)


def photograph(number):
    """Return an image that compresses as photographs do: a smooth sky above a ground with a camera's noise.

    Noise alone would not do: lz4, lzf and blosc give it up and store it as it is, and nothing would be left to decode.
    """
    generator = np.random.default_rng(number)
    top, horizon, bottom, across = generator.uniform(20, 230, (4, 3)).astype(np.float32)
    n_sky = int(generator.integers(80, 120))
    down = np.linspace(0, 1, SHAPE[0], dtype=np.float32)[:, None, None]
    sky = top + (horizon - top) * down[:n_sky]
    right = np.linspace(0, 0.5, SHAPE[1], dtype=np.float32)[:, None]
    y, x = generator.integers(0, 256, 2)
    ground = horizon + (bottom - horizon) * down[n_sky:] + (across - horizon) * right
    ground += _GRAIN[y : y + SHAPE[0] - n_sky, x : x + SHAPE[1]]
    image = np.empty(SHAPE, np.uint8)
    image[:n_sky] = sky
    image[n_sky:] = np.clip(ground, 0, 255)
    return image


def write_photographs(path, n_images, **layout):
    """Write a file; return what it stores, in units of the decoded pixels."""
    step = layout.get("chunks", (1,))[0]
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("images", (n_images, *SHAPE), np.uint8, **layout)
        for first in range(0, n_images, step):
            numbers = range(first, min(first + step, n_images))
            dataset[numbers.start : numbers.stop] = np.stack([photograph(k) for k in numbers])
        return dataset.id.get_storage_size() / (n_images * np.prod(SHAPE))


def fastprep_reader(path):
    """Ours: `Reader` into a `CopySink`, without any loader."""
    reader = open_images(path)
    assert not reader.index.reason, reader.index.reason

    def read(samples, batch):
        reader.read(samples, np.arange(len(samples)), CopySink(batch.reshape(-1), reader.index.image_bytes))

    return read


def h5py_loop(path, **options):
    """A Python loop of d[j], as everybody writes it first."""
    dataset = h5py.File(path, "r", **options)["images"]

    def read(samples, batch):
        for k, j in enumerate(samples.tolist()):
            batch[k] = dataset[j]

    return read


def h5py_read_direct(path):
    """The same loop without an array for each image."""
    dataset = h5py.File(path, "r")["images"]

    def read(samples, batch):
        for k, j in enumerate(samples.tolist()):
            dataset.read_direct(batch, np.s_[j], np.s_[k])

    return read


def h5py_fancy(path):
    """d[sorted list], the only order h5py takes in one call, and each image put where it belongs."""
    dataset = h5py.File(path, "r")["images"]

    def read(samples, batch):
        order = np.argsort(samples)
        batch[order] = dataset[samples[order].tolist()]

    return read


def h5py_slices(path):
    """d[a:b], a batch in file order."""
    dataset = h5py.File(path, "r")["images"]

    def read(samples, batch):
        batch[:] = dataset[int(samples[0]) : int(samples[-1]) + 1]

    return read


def preadv(path):
    """The limit of Python for contiguous images: os.preadv straight into the rows of the batch, looped by `map`.

    One system call for each image, no copy but the kernel's, and no bytecode between the calls. Ours copies once more: from the
    page cache into a scratch, and from there to the sink.
    """
    with h5py.File(path, "r") as file:
        begin = file["images"].id.get_offset()
    n_bytes = int(np.prod(SHAPE))
    descriptor = os.open(path, os.O_RDONLY)  # until the process ends

    def read(samples, batch):
        rows = [(row,) for row in batch]
        got = sum(map(os.preadv, repeat(descriptor), rows, (begin + samples * n_bytes).tolist()))
        assert got == batch.nbytes

    return read


def hidefix_loop(path):
    """hidefix, a reader in Rust with an index of its own; it may use threads as it likes."""
    import hidefix

    dataset = hidefix.Index(os.fspath(path)).dataset("images")

    def read(samples, batch):
        for k, j in enumerate(samples.tolist()):
            batch[k] = dataset[(j,)]

    return read


def pyfive_loop(path):
    """pyfive, a reader in Python."""
    import pyfive

    dataset = pyfive.File(os.fspath(path))["images"]

    def read(samples, batch):
        for k, j in enumerate(samples.tolist()):
            batch[k] = dataset[j]

    return read


def passes(opened, order, *, threads=1, dtype=np.uint8):
    """Return a function of no arguments that reads `order` once, in batches, and returns how many images that were.

    `opened` is called first, in every pass, and returns `read`. Each thread takes whole batches, into a buffer of its own.
    """
    batches = [np.empty((min(BATCH, len(order)), *SHAPE), dtype) for _ in range(threads)]

    def share(read, thread):
        count = 0
        for first in range(thread * BATCH, len(order), threads * BATCH):
            samples = order[first : first + BATCH]
            read(samples, batches[thread][: len(samples)])
            count += len(samples)
        return count

    def epoch():
        read = opened()
        if threads == 1:
            return share(read, 0)
        with ThreadPoolExecutor(threads) as pool:
            return sum(pool.map(share, repeat(read), range(threads)))

    return epoch


def loader_passes(path, window, workers):
    """Return one shuffled epoch of our loader, whole images; buffers stay from one epoch to the next, decoded chunks do not."""
    loader = Loader(path, BATCH, None, labels=None, mean=None, shuffle=True, shuffle_window=window, workers=workers, device="cpu")
    n_chunks = len(loader._dataset.block_starts) - 1

    def epoch():
        before = loader._dataset.n_blocks_decoded
        count = sum(len(x) for x in loader)
        loader._dataset.close()
        decoded = loader._dataset.n_blocks_decoded - before
        assert decoded >= n_chunks, f"{decoded} of {n_chunks} chunks were decoded; the others were still there"
        return count

    return epoch


def check(read, n_images):
    """Raise ValueError unless `read` puts the right images in the right places."""
    samples = np.array(sorted({n_images - 1, 0, n_images // 2}, key=lambda j: j * 7 % 5), np.int64)
    batch = np.zeros((len(samples), *SHAPE), np.uint8)
    read(samples, batch)
    if not np.array_equal(batch, [photograph(j) for j in samples.tolist()]):
        raise ValueError("reads other images than were written")


def admit(attempts: dict[str, Callable]):
    """Call each function; return what they gave, and for those of PEERS that raised, the reason to leave them out."""
    admitted, left_out = {}, {}
    for name, attempt in attempts.items():
        try:
            admitted[name] = attempt()
        except Exception as error:
            if name not in PEERS:
                raise
            left_out[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"
    return admitted, left_out


def open_fastprep(path):
    """Ours: offsets, sizes and filter masks of all chunks, and three images compared with HDF5's."""
    reader = open_images(path)
    assert not reader.index.reason, reader.index.reason
    return len(reader.index.chunks.offsets)


def open_h5py(path):
    """h5py told to look at every chunk, and to do nothing with it."""
    with h5py.File(path, "r") as file:
        dataset = file["images"]
        dataset.id.chunk_iter(lambda info: None)
        return len(dataset)


def open_hidefix(path):
    """hidefix's index of the whole file."""
    import hidefix

    return hidefix.Index(os.fspath(path)).dataset("images").shape()[0]


def open_pyfive(path):
    """pyfive's index of the dataset, which it builds at the first need."""
    import pyfive

    return len(pyfive.File(os.fspath(path))["images"].id.index)
