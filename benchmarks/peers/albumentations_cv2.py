"""Albumentations crops, resizes and mirrors on uint8; numpy subtracts the mean into memory that is used again.

Its Normalize would make another array, which would then be copied into the batch. It resizes by OpenCV: INTER_AREA to smaller
ones, where its version has the argument for that, else INTER_LINEAR.
"""

from __future__ import annotations

import boxes
import numpy as np
from numpy_h5py import batches_of
from protocol import run
from resized import subtract_mean


class Albumented:
    """Like `resized.ResizedCrops`, but boxes are drawn by the library."""

    def __init__(self, mirror: bool, seed: int) -> None:
        import albumentations
        import cv2

        cv2.setNumThreads(1)
        crop = albumentations.RandomResizedCrop(
            (boxes.SIZE, boxes.SIZE), boxes.SCALE, boxes.RATIO, interpolation=cv2.INTER_LINEAR, area_for_downscale="image"
        )
        self.transform = albumentations.Compose([crop, *([albumentations.HorizontalFlip(p=0.5)] if mirror else [])], seed=seed)

    def empty(self, n):
        return np.ones((n, boxes.SIZE, boxes.SIZE, 3), np.float32)

    def fill(self, out, images):
        for result, image in zip(out, images, strict=True):
            subtract_mean(result, self.transform(image=image)["image"])


def make(path, options):
    return batches_of(path, options, by_h5py=False, crops=lambda seed: Albumented(options.mirror, seed))


if __name__ == "__main__":
    packages = ["albumentations", "opencv-python-headless", "numpy"]
    run(make, "albumentations + numpy, mmap", packages=packages, crops=["resized"], note="shuffled, cv2")
