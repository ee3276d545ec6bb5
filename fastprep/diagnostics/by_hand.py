"""Batches of random mirrored crops as people make them by hand, in the usual ways, to compare with.

Each function takes a file of whole numbers up to 255, and yields the batches of one epoch after another: float32 crops with the
mean subtracted. The last batch of an epoch may be smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Job:
    """What is made of a file.

    Attributes
    ----------
    path : str
        File with a dataset images, (N, H, W, C) of uint8.
    batch_size, size : int
        Crops in a batch, and their height and width in pixels.
    mean : ndarray of float32, shape (C,)
    """

    path: str
    batch_size: int
    size: int
    mean: NDArray[np.float32]


def loop_over_images(job: Job) -> Iterator[NDArray[np.float32]]:
    """Read a slice of the file for each batch, in its order, and take image by image, as the Dogs-vs-Cats tutorial does."""
    generator = np.random.default_rng()
    with h5py.File(job.path, "r") as file:
        images = file["images"]
        while True:
            for first in range(0, len(images), job.batch_size):
                batch = []
                for image in images[first : first + job.batch_size]:
                    centred = image.astype("float32") - job.mean
                    y, x = generator.integers(0, np.array(image.shape[:2]) - job.size + 1)
                    crop = centred[y : y + job.size, x : x + job.size]
                    batch.append(crop[:, ::-1] if generator.random() < 0.5 else crop)
                yield np.array(batch)


def numpy_from_memory(job: Job) -> Iterator[NDArray[np.float32]]:
    """Keep all images in memory, shuffle, cut the crops of a batch out into one array, and subtract the mean from it at once."""
    with h5py.File(job.path, "r") as file:
        images = file["images"][()]
    generator = np.random.default_rng()
    while True:
        order = generator.permutation(len(images))
        for first in range(0, len(order), job.batch_size):
            numbers = order[first : first + job.batch_size]
            batch = np.empty((len(numbers), job.size, job.size, images.shape[3]), np.uint8)
            corners = generator.integers(0, np.array(images.shape[1:3]) - job.size + 1, (len(numbers), 2)).tolist()
            mirrored = (generator.random(len(numbers)) < 0.5).tolist()
            for k, number in enumerate(numbers.tolist()):
                y, x = corners[k]
                crop = images[number, y : y + job.size, x : x + job.size]
                batch[k] = crop[:, ::-1] if mirrored[k] else crop
            yield batch - job.mean


def tf_data(job: Job) -> Iterator[Any]:
    """Keep all images in memory as one tensor, shuffle their numbers, and crop in a parallel map with batches ahead."""
    import tensorflow as tf

    with h5py.File(job.path, "r") as file, tf.device("cpu:0"):
        images = tf.constant(file["images"][()])
    n_images, height, width, channels = images.shape

    n_y, n_x = height - job.size + 1, width - job.size + 1

    def crop(number: Any, draw: Any) -> Any:
        # One number for an image is enough for all of its draws. tf.random.uniform would, under tf.random.set_seed, give each
        # epoch the crops of the first one, and its stateless form takes longer.
        y, x, is_mirrored = draw % n_y, draw // n_y % n_x, draw // (n_y * n_x) % 2 == 1
        part = tf.slice(images[number], (y, x, 0), (job.size, job.size, channels))
        part = tf.cond(is_mirrored, lambda: tf.reverse(part, [1]), lambda: part)
        return tf.cast(part, tf.float32) - job.mean

    shuffled = tf.data.Dataset.range(n_images).shuffle(n_images)
    numbers = tf.data.Dataset.zip(shuffled, tf.data.Dataset.random(rerandomize_each_iteration=True))
    crops = numbers.map(crop, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False)
    batches = crops.batch(job.batch_size).prefetch(tf.data.AUTOTUNE)
    while True:
        yield from batches


def by_hand(with_tensorflow: bool) -> dict[str, Callable[[Job], Iterator[Any]]]:
    """Return the ways by names that a table may have.

    Parameters
    ----------
    with_tensorflow : bool
        Whether to try its tf.data, too.
    """
    ways: dict[str, Callable[[Job], Iterator[Any]]] = {
        "numpy by hand, images in memory": numpy_from_memory,
        "a loop over images, as in the tutorial": loop_over_images,
    }
    return {"tf.data, images in memory": tf_data, **ways} if with_tensorflow else ways
