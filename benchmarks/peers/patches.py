"""Crops by numpy, as well as it can be done by hand: image by image, without temporaries, into memory that is there.

Straight, rows of 681 numbers are converted, and then the mean of a whole row is subtracted. Mirrored, `np.take` reverses
bytes first: a view with a negative stride, `[:, ::-1]`, makes numpy's loop three numbers long and is half as fast.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import h5py
import numpy as np
from check import MEANS, SIZE

MEAN_ROW = np.tile(MEANS, SIZE)
MIRRORED = (np.arange(SIZE)[::-1, None] * 3 + np.arange(3)).ravel()


def mapped(path: str) -> np.ndarray:
    """Return the images of a contiguous file as a memory map, which no lock guards."""
    with h5py.File(path, "r") as file:
        dataset = file["images"]
        return np.memmap(path, dataset.dtype, "r", dataset.id.get_offset(), dataset.shape)


class Patches:
    """Random crops, or ten, of images of one size. For one thread at a time."""

    def __init__(self, height: int, width: int, mirror: bool, ten: bool, seed: int = 0) -> None:
        self.bottom, self.right, self.mirror, self.ten = height - SIZE, width - SIZE, mirror, ten
        self.seed = seed
        y, x = self.bottom // 2, self.right // 2
        self.places = [(0, 0), (0, self.right), (self.bottom, self.right), (self.bottom, 0), (y, x)]

    @cached_property
    def generator(self) -> np.random.Generator:
        """At first use, which is in the worker if there are worker processes."""
        return np.random.default_rng(self.seed)

    @cached_property
    def scratch(self) -> np.ndarray:
        """A mirrored crop, or one that will be."""
        return np.empty((SIZE, SIZE * 3), np.uint8)

    def empty(self, n: int) -> np.ndarray:
        """Return memory for the crops of n images, written once, for page faults are not the contender's."""
        return np.ones((n, 10, SIZE, SIZE, 3) if self.ten else (n, SIZE, SIZE, 3), np.float32)

    def fill(self, out: np.ndarray, images: Iterable[np.ndarray]) -> None:
        """Crops of each image into the rows of `out`."""
        if self.ten:
            for crops, image in zip(out, images, strict=True):
                self.ten_crops(crops, image)
        else:
            for crop, image, (y, x, mirrored) in zip(out, images, self.draw(len(out)), strict=True):
                self.crop(crop, image, y, x, mirrored)

    def draw(self, n: int) -> list[list[int]]:
        """Return y, x, mirrored of n crops."""
        return self.generator.integers(0, (self.bottom + 1, self.right + 1, 1 + self.mirror), (n, 3)).tolist()

    def crop(self, out: np.ndarray, image: np.ndarray, y: int, x: int, mirrored: int) -> None:
        """One crop into `out`, shape (SIZE, SIZE, 3)."""
        source = image.reshape(len(image), -1)[y : y + SIZE, 3 * x : 3 * (x + SIZE)]
        if mirrored:
            source = np.take(source, MIRRORED, axis=1, out=self.scratch, mode="clip")
        rows = out.reshape(SIZE, -1)
        rows[...] = source
        rows -= MEAN_ROW

    def ten_crops(self, out: np.ndarray, image: np.ndarray) -> None:
        """Ten crops in the tutorial's order into `out`, shape (10, SIZE, SIZE, 3)."""
        for k, (y, x) in enumerate(self.places):
            self.crop(out[k], image, y, x, 0)
            self.crop(out[5 + k], image, y, x, 1)
