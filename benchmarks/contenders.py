"""One epoch of the same job, as people do it today: pictures of 256x256x3 to random patches of 227, mean subtracted, float32.

Each contender is a function of (path, batch_size, mirror) that returns a function of no arguments: one epoch, which
returns the number of pictures it delivered.
"""

from __future__ import annotations

import cv2
import h5py
import numpy as np
from sklearn.feature_extraction.image import extract_patches_2d

import fastprep
from fastprep.loader import Loader

SIZE = 227
MEANS = np.array([106.1, 116.0, 125.0], np.float32)


def fastprep_loader(workers):
    """Ours: shuffled, which none of the others is."""

    def contender(path, batch_size, mirror):
        crop = fastprep.RandomCrop(SIZE, mirror=mirror)
        loader = Loader(path, batch_size, crop, mean=MEANS, shuffle=True, workers=workers)

        def epoch():
            count = 0
            for x, _ in loader:
                count += len(x)
            return count

        return epoch

    return contender


def tutorial(path, batch_size, mirror):
    """The Dogs-vs-Cats tutorial: a slice of the file a batch, then a Python loop over pictures."""
    file = h5py.File(path, "r")

    def epoch():
        count = 0
        for first in range(0, len(file["images"]), batch_size):
            batch = []
            for image in file["images"][first : first + batch_size]:
                blue, green, red = cv2.split(image.astype("float32"))
                image = cv2.merge([blue - MEANS[0], green - MEANS[1], red - MEANS[2]])
                patch = extract_patches_2d(image, (SIZE, SIZE), max_patches=1)[0]
                if mirror and np.random.random() < 0.5:  # noqa: NPY002 - as Keras' ImageDataGenerator does
                    patch = cv2.flip(patch, 1)
                batch.append(patch)
            count += len(np.array(batch))
        return count

    return epoch


def h5py_and_numpy(path, batch_size, mirror):
    """By hand, the fastest way we found: read_direct into one buffer, rows of 681 numbers at a time into another."""
    file = h5py.File(path, "r")
    dataset = file["images"]
    source = np.empty((batch_size, *dataset.shape[1:]), np.uint8)
    target = np.empty((batch_size, SIZE, SIZE, 3), np.float32)
    source_rows, target_rows = (a.reshape(*a.shape[:2], -1) for a in (source, target))
    mean_row = np.tile(MEANS, SIZE)
    generator = np.random.default_rng(0)
    limits = np.array(dataset.shape[1:3]) - SIZE + 1

    def epoch():
        count = 0
        for first in range(0, len(dataset), batch_size):
            n = min(batch_size, len(dataset) - first)
            dataset.read_direct(source, np.s_[first : first + n], np.s_[:n])
            for k in range(n):
                y, x = generator.integers(0, limits)
                if mirror and generator.integers(2):
                    target[k] = source[k, y : y + SIZE, x : x + SIZE][:, ::-1]
                else:
                    target_rows[k] = source_rows[k, y : y + SIZE, 3 * x : 3 * (x + SIZE)]
                target_rows[k] -= mean_row
            count += n
        return count

    return epoch


def memset(path, batch_size, mirror):
    """The machine's limit: fill as many bytes as the crops have."""
    with h5py.File(path, "r") as file:
        n = len(file["images"])
    target = np.empty((batch_size, SIZE, SIZE, 3), np.float32)

    def epoch():
        for first in range(0, n, batch_size):
            target[: min(batch_size, n - first)].fill(1)
        return n

    return epoch


CONTENDERS = {
    "fastprep": None,  # made with a number of workers
    "the tutorial's pipeline": tutorial,
    "h5py + numpy, buffers reused": h5py_and_numpy,
    "memset of the output": memset,
}
