"""Many files as one dataset, from the page cache: opening them, and random batches over all of them, beside one file."""

import os
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import readers

from fastprep.dataset.dataset import Dataset
from fastprep.h5._read import CopySink

N_FILES = int(os.environ.get("FASTPREP_BENCH_FILES", "1000"))
GZIP = {"chunks": (1, *readers.SHAPE), "compression": "gzip", "compression_opts": 1}


@pytest.fixture(scope="module", params=[{}, GZIP], ids=["contiguous", "gzip-1"])
def files(request, tmp_path_factory, n_images):
    """Paths of N_FILES files, and of one with the same images; how many these are."""
    folder = tmp_path_factory.mktemp("many")
    n_files = min(N_FILES, n_images)
    per_file = n_images // n_files
    whole, paths = folder / "whole.h5", [folder / f"{number:05d}.h5" for number in range(n_files)]
    with h5py.File(whole, "w") as one:
        images = one.create_dataset("images", (n_files * per_file, *readers.SHAPE), np.uint8, **request.param)
        one["labels"] = np.arange(n_files * per_file)
        for number, path in enumerate(paths):
            numbers = np.arange(number * per_file, (number + 1) * per_file)
            some = np.stack([readers.photograph(k) for k in numbers])
            images[numbers[0] : numbers[-1] + 1] = some
            with h5py.File(path, "w") as file:
                file.create_dataset("images", data=some, **request.param)
                file["labels"] = numbers
    name = "gzip-1" if request.param else "contiguous"
    yield SimpleNamespace(paths=paths, whole=whole, n=n_files * per_file, per_file=per_file, name=name)
    for path in (whole, *paths):
        path.unlink()


def test_opening(interleaved, files):
    """What each needs to begin: shape, type, mean and labels of all files."""

    def fastprep(paths):
        return len(Dataset(paths).labels)

    def and_index():
        """Reads an image of every file, too."""
        dataset = Dataset(files.paths)
        ours(dataset)(np.arange(0, files.n, files.per_file), np.empty((len(files.paths), *readers.SHAPE), np.uint8))
        return len(dataset.labels)

    def by_h5py():
        labels = []
        for path in files.paths:
            with h5py.File(path, "r") as file:
                images = file["images"]
                assert (images.shape[1:], images.dtype, images.attrs.get("mean")) == (readers.SHAPE, np.uint8, None)
                labels.append(file["labels"][()])
        return len(np.concatenate(labels))

    epochs = {
        "fastprep": lambda: fastprep(files.paths),
        "fastprep and an image of each": and_index,
        "h5py": by_h5py,
        "fastprep, one file": lambda: fastprep(files.whole),
    }
    title = f"opening {len(files.paths)} files of {files.per_file} images, {files.name}"
    interleaved(title, epochs, "h5py", path=files.whole, counts=dict.fromkeys(epochs, files.n), unit="seconds")


def test_random_batches(interleaved, files):
    """Files are opened, and indexed, once and for all before, as in any epoch but the first."""
    order = np.random.default_rng(1).permutation(files.n)
    many, one = Dataset(files.paths), Dataset(files.whole)
    opened = [h5py.File(path, "r", rdcc_nbytes=0)["images"] for path in files.paths]  # else it would keep each decoded image

    def kept_open(samples, batch):
        for k, (file, j) in enumerate(zip(*np.divmod(samples, files.per_file), strict=True)):
            batch[k] = opened[file][j]

    def opened_anew(samples, batch):
        for k, (number, j) in enumerate(zip(*np.divmod(samples, files.per_file), strict=True)):
            with h5py.File(files.paths[number], "r") as file:
                batch[k] = file["images"][j]

    reads = {
        "fastprep, 1 thread": (ours(many), 1),
        "fastprep, 2 threads": (ours(many), 2),
        "fastprep, one file, 1 thread": (ours(one), 1),
        "fastprep, one file, 2 threads": (ours(one), 2),
        "h5py, all files kept open": (kept_open, 1),
        "h5py, opened for each image": (opened_anew, 1),
    }
    for read, _ in reads.values():
        readers.check(read, files.n)
    epochs = {name: readers.passes(lambda read=read: read, order, threads=threads) for name, (read, threads) in reads.items()}
    kept = f"fastprep keeps {many.handles.limit} open"
    title = f"random batches over {len(files.paths)} files of {files.per_file} images, {files.name}; {kept}"
    counts = dict.fromkeys(epochs, files.n)
    interleaved(title, epochs, "fastprep, one file, 1 thread", path=files.whole, counts=counts)
    for dataset in opened:
        dataset.file.close()


def ours(dataset):
    """Return `read(samples, batch)` of a dataset."""

    def read(samples, batch):
        dataset.read(samples, CopySink(batch.reshape(-1), batch[0].nbytes))

    return read
