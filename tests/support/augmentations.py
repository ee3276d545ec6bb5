"""A colour, an erasing and a blending whose numbers a test can work out itself."""

from dataclasses import dataclass

import numpy as np

from fastprep.transforms import BlendTable


@dataclass(frozen=True)
class Brighter:
    """A colour for tests, whose factor follows from seed, epoch and sample."""

    step: float

    def matrices(self, samples, seed, epoch, channel_order):
        factors = 1 + self.step * ((samples * 7 + seed + epoch) % 5)
        return factors[:, None, None] * np.eye(3, 4) + np.array([[0, 0.25, 0, -1]])


@dataclass(frozen=True)
class Corner:
    """Erases a corner of samples that are odd."""

    value: float = 0.5

    def rectangles(self, height, width, samples, seed, epoch):
        rows = np.tile(np.array([height - 2, 0, 2, 3], np.int32), (len(samples), 1))
        rows[samples % 2 == 0] = 0
        return rows


@dataclass(frozen=True)
class Halves:
    """Takes a rectangle from the partner of even samples, and mixes odd ones."""

    def table(self, numbers, seed, epoch, height, width):
        is_even = numbers % 2 == 0
        rectangles = np.where(is_even[:, None], [0, 0, height // 2, width], 0).astype(np.int32)
        weights = np.where(is_even, 1 - height // 2 / height, (numbers + epoch) % 8 / 8)
        if len(numbers) % 2:
            weights[len(numbers) // 2], rectangles[len(numbers) // 2] = 1, 0
        return BlendTable(weights.astype(np.float32), rectangles)
