"""JPEG files in an HDF5 file: random-resized crops of them, beside a bare decoder and what people write by hand.

The photographs are those of scikit-image that have colours, resized to 375x500 from random parts, as JPEG of quality 90.
"""

import io
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
from PIL import Image

import fastprep

HEIGHT, WIDTH, SIZE, BATCH = 375, 500, 224, 128
BARE = "decoder alone"
MEAN = np.float32([106.1, 116.0, 125.0])
_NAMES = "astronaut", "chelsea", "coffee", "rocket"


def parts_of(values, n):
    """Yield parts of n values."""
    for first in range(0, len(values), n):
        yield values[first : first + n]


@pytest.fixture(scope="module")
def encoded_file(tmp_path_factory, n_images):
    """Path of a file whose rows are JPEG files."""
    from skimage import data

    pytest.importorskip("simplejpeg")
    rng, n = np.random.default_rng(0), n_images // 4
    photographs = [Image.fromarray(getattr(data, name)()) for name in _NAMES]
    path = tmp_path_factory.mktemp("bench") / "encoded.h5"
    with h5py.File(path, "w") as file:
        images = file.create_dataset("images", (n,), h5py.vlen_dtype(np.uint8))
        for k in range(n):
            photograph = photographs[k % len(photographs)]
            side = int(rng.integers(200, min(photograph.size) + 1))
            x, y = (int(rng.integers(0, limit - side + 1)) for limit in photograph.size)
            part = photograph.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, (x, y, x + side, y + side))
            encoded = io.BytesIO()
            part.save(encoded, "JPEG", quality=90)
            images[k] = np.frombuffer(encoded.getvalue(), np.uint8)
    yield path
    path.unlink()


def _small_jpeg():
    encoded = io.BytesIO()
    Image.new("RGB", (16, 16)).save(encoded, "JPEG")
    return np.frombuffer(encoded.getvalue(), np.uint8)


def bare(path, workers):
    """Return an epoch of the decoder alone, from memory to memory that is used again."""
    import simplejpeg

    with h5py.File(path) as file:
        rows = [row.tobytes() for row in file["images"]]

    def decode(part):
        out = np.empty((HEIGHT, WIDTH, 3), np.uint8)
        for row in part:
            simplejpeg.decode_jpeg(row, buffer=out)
        return len(part)

    def epoch():
        with ThreadPoolExecutor(workers) as pool:
            return sum(pool.map(decode, parts_of(rows, BATCH // workers)))

    return epoch


def by_hand(path, workers):
    """Return an epoch of what people write: a row by h5py, simplejpeg, a crop resized by OpenCV, in a pool of threads."""
    import cv2
    import simplejpeg

    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    file = h5py.File(path)

    def image(number, y, x, height, width, is_mirrored):
        pixels = simplejpeg.decode_jpeg(file["images"][number].tobytes())
        part = cv2.resize(pixels[y : y + height, x : x + width], (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
        return (part[:, ::-1] if is_mirrored else part) - MEAN

    def boxes(n):
        heights, widths = rng.integers(100, HEIGHT + 1, n), rng.integers(100, WIDTH + 1, n)
        return rng.integers(0, HEIGHT - heights + 1), rng.integers(0, WIDTH - widths + 1), heights, widths, rng.random(n) < 0.5

    def epoch():
        with ThreadPoolExecutor(workers) as pool:
            return sum(
                len(np.stack(list(pool.map(image, part, *boxes(len(part))))))
                for part in parts_of(rng.permutation(len(file["images"])), BATCH)
            )

    return epoch


def by_tf_data(path, workers):
    """Return an epoch of tf.data: decode_and_crop_jpeg, from bytes in memory."""
    import tensorflow as tf

    with h5py.File(path) as file:
        rows = tf.constant([row.tobytes() for row in file["images"]])

    def image(row):
        sides = tf.random.uniform((2,), 100, (HEIGHT + 1), tf.int32)
        start = tf.cast(tf.random.uniform((2,)) * tf.cast((HEIGHT, WIDTH) - sides + 1, tf.float32), tf.int32)
        part = tf.image.decode_and_crop_jpeg(row, tf.concat([start, sides], 0), channels=3)
        return tf.image.random_flip_left_right(tf.image.resize(part, (SIZE, SIZE))) - MEAN

    options = tf.data.Options()
    options.threading.private_threadpool_size = workers
    batches = tf.data.Dataset.from_tensor_slices(rows).shuffle(len(rows)).map(image, workers, deterministic=False).batch(BATCH)
    batches = batches.prefetch(2).with_options(options)
    return lambda: sum(len(batch) for batch in batches)


def by_fastprep(path, workers, **transforms):
    crop = fastprep.RandomResizedCrop(SIZE, mirror=True)
    loader = fastprep.Loader(path, BATCH, crop, labels=None, shuffle=True, mean=MEAN, device="cpu", workers=workers, **transforms)
    return lambda: sum(len(batch) for batch in loader)


@pytest.mark.parametrize("workers", [1, 2])
def test_jpeg_to_random_resized_crops(interleaved, encoded_file, n_images, workers):
    """To the decoder alone, the loader is to be 0.9 and more."""
    epochs = {"fastprep": by_fastprep(encoded_file, workers), BARE: bare(encoded_file, workers)}
    left_out = {}
    for name, make, package in (("h5py, simplejpeg, OpenCV", by_hand, "cv2"), ("tf.data", by_tf_data, "tensorflow")):
        try:
            __import__(package)
        except ModuleNotFoundError:
            left_out[name] = f"{package} is not installed"
        else:
            epochs[name] = make(encoded_file, workers)
    title = f"JPEG of {HEIGHT}x{WIDTH} to random-resized crops of {SIZE}, {workers} thread{'s' * (workers > 1)}"
    interleaved(title, epochs, BARE, path=encoded_file, counts=dict.fromkeys(epochs, n_images // 4), left_out=left_out)


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
