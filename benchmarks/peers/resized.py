"""Random-resized crops by hand: a function of a library resizes the part to uint8, and numpy converts and subtracts the mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import boxes
import numpy as np
from check import MEANS

Resize = Callable[[np.ndarray, bool], np.ndarray]
"""From a part of an image, and whether it is to be mirrored, to uint8 of shape (SIZE, SIZE, 3)."""

MEAN_ROW = np.tile(MEANS, boxes.SIZE)


class ResizedCrops:
    """Like `patches.Patches`, for this job. For one thread at a time."""

    def __init__(self, resize: Resize, mirror: bool, seed: int = 0) -> None:
        self.resize, self.mirror = resize, mirror
        self.generator = np.random.default_rng(seed)

    def empty(self, n: int) -> np.ndarray:
        """Return memory for n results, written once."""
        return np.ones((n, boxes.SIZE, boxes.SIZE, 3), np.float32)

    def fill(self, out: np.ndarray, images: Iterable[np.ndarray]) -> None:
        """Results of each image into the rows of `out`."""
        for result, image in zip(out, images, strict=True):
            y, x, height, width = boxes.draw(self.generator, *image.shape[:2])
            mirrored = self.mirror and self.generator.random() < 0.5
            subtract_mean(result, self.resize(image[y : y + height, x : x + width], mirrored))


def subtract_mean(out: np.ndarray, pixels: np.ndarray) -> None:
    """Write pixels minus mean into `out`, row by row, which is faster than three numbers at a time."""
    rows = out.reshape(boxes.SIZE, -1)
    rows[...] = pixels.reshape(boxes.SIZE, -1)
    rows -= MEAN_ROW


def by_cv2() -> Resize:
    """Return OpenCV's: INTER_AREA if neither side grows, else INTER_LINEAR, because with one that grows INTER_AREA is blocky."""
    import cv2

    cv2.setNumThreads(1)  # a thread of the contender has an image of its own
    small, turned = np.empty((2, boxes.SIZE, boxes.SIZE, 3), np.uint8)

    def resize(part: np.ndarray, mirrored: bool) -> np.ndarray:
        how = cv2.INTER_AREA if min(part.shape[:2]) >= boxes.SIZE else cv2.INTER_LINEAR
        cv2.resize(part, (boxes.SIZE, boxes.SIZE), dst=small, interpolation=how)
        return cv2.flip(small, 1, dst=turned) if mirrored else small

    return resize


def by_pillow() -> Resize:
    """Return Pillow's: BILINEAR, which is antialiased. Only the part is copied to an image of Pillow's."""
    from PIL import Image

    def resize(part: np.ndarray, mirrored: bool) -> np.ndarray:
        image = Image.fromarray(part).resize((boxes.SIZE, boxes.SIZE), Image.Resampling.BILINEAR)
        return np.asarray(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else image)

    return resize
