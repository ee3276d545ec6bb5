"""JPEG files in an HDF5 file: random-resized crops of them, beside a bare decoder. `field.py --crops jpeg` has other loaders."""

import io
from concurrent.futures import ThreadPoolExecutor

import h5py
import jpegs
import numpy as np
import pytest
from check import MEANS
from PIL import Image

import fastprep

SIZE, BATCH = 224, 128
BARE = "decoder alone"


def parts_of(values, n):
    """Yield parts of n values."""
    for first in range(0, len(values), n):
        yield values[first : first + n]


@pytest.fixture(scope="module")
def encoded_file(tmp_path_factory, n_images):
    """Path of a file whose rows are JPEG files."""
    pytest.importorskip("skimage")
    pytest.importorskip("simplejpeg")
    path = tmp_path_factory.mktemp("bench") / "encoded.h5"
    jpegs.write(path, n_images // 4)
    yield path
    path.unlink()


def _small_jpeg():
    encoded = io.BytesIO()
    Image.new("RGB", (16, 16)).save(encoded, "JPEG")
    return np.frombuffer(encoded.getvalue(), np.uint8)


def bare(path, workers):
    """Return an epoch of the decoder alone, from memory to memory that is used again."""
    import simplejpeg

    rows = [row.tobytes() for row in jpegs.rows(path)]

    def decode(part):
        out = np.empty((jpegs.HEIGHT, jpegs.WIDTH, 3), np.uint8)
        for row in part:
            simplejpeg.decode_jpeg(row, buffer=out)
        return len(part)

    def epoch():
        with ThreadPoolExecutor(workers) as pool:
            return sum(pool.map(decode, parts_of(rows, BATCH // workers)))

    return epoch


def by_fastprep(path, workers, **transforms):
    crop = fastprep.RandomResizedCrop(SIZE, mirror=True)
    loader = fastprep.Loader(
        path, BATCH, crop, labels=None, shuffle=True, mean=MEANS, device="cpu", workers=workers, **transforms
    )
    return lambda: sum(len(batch) for batch in loader)


@pytest.mark.parametrize("workers", [1, 2])
def test_jpeg_to_random_resized_crops(interleaved, encoded_file, n_images, workers):
    """To the decoder alone, the loader is to be 0.9 and more."""
    epochs = {"fastprep": by_fastprep(encoded_file, workers), BARE: bare(encoded_file, workers)}
    title = f"JPEG of {jpegs.HEIGHT}x{jpegs.WIDTH} to random-resized crops of {SIZE}, {workers} thread{'s' * (workers > 1)}"
    interleaved(title, epochs, BARE, path=encoded_file, counts=dict.fromkeys(epochs, n_images // 4))


def test_opening_many_rows(interleaved, tmp_path, n_images):
    """1.28 million rows are to open within 3 seconds."""
    n = n_images * 625  # 1.28 million of 2,048
    path = tmp_path / "many.h5"
    with h5py.File(path, "w") as file:
        images = file.create_dataset("images", (n,), h5py.vlen_dtype(np.uint8), chunks=(8192,))
        small = _small_jpeg()
        for first in range(0, n, 8192):
            images[first : first + 8192] = [small] * min(8192, n - first)

    def fastprep_opens():
        with fastprep.Loader(
            path, BATCH, fastprep.RandomResizedCrop(SIZE), labels=None, mean=None, device="cpu", workers=1
        ) as loader:
            return loader.n_samples

    def h5py_opens():
        with h5py.File(path) as file:
            return len(file["images"])

    epochs = {"fastprep": fastprep_opens, "h5py, no row read": h5py_opens}
    interleaved(f"opening {n:,} rows", epochs, "h5py, no row read", path=path, counts=dict.fromkeys(epochs, n), unit="seconds")
