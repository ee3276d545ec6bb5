"""JPEG files in the rows of an HDF5 file: how they are made and read, and what contenders that resize by hand share."""

from __future__ import annotations

import io

import boxes
import h5py
import numpy as np

HEIGHT, WIDTH, QUALITY = 375, 500, 90
_NAMES = "astronaut", "chelsea", "coffee", "rocket"


def write(path, n_images: int) -> None:
    """Write parts of four photographs of scikit-image, of 375x500 pixels each; labels are the images' numbers."""
    from PIL import Image
    from skimage import data

    rng = np.random.default_rng(0)
    photographs = [Image.fromarray(getattr(data, name)()) for name in _NAMES]
    with h5py.File(path, "w") as file:
        images = file.create_dataset("images", (n_images,), h5py.vlen_dtype(np.uint8))
        for k in range(n_images):
            photograph = photographs[k % len(photographs)]
            side = int(rng.integers(200, min(photograph.size) + 1))
            x, y = (int(rng.integers(0, limit - side + 1)) for limit in photograph.size)
            part = photograph.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, (x, y, x + side, y + side))
            encoded = io.BytesIO()
            part.save(encoded, "JPEG", quality=QUALITY)
            images[k] = np.frombuffer(encoded.getvalue(), np.uint8)
        file["labels"] = np.arange(n_images)


def rows(path) -> list[np.ndarray]:
    """Return the encoded images, each in memory of its own."""
    with h5py.File(path, "r") as file:
        return list(file["images"])


class Crops:
    """Random-resized crops of decoded images by OpenCV, mean subtracted. For one thread at a time."""

    def __init__(self, mirror: bool, seed: int = 0) -> None:
        from resized import ResizedCrops, by_cv2

        self.crops = ResizedCrops(by_cv2(), mirror, seed)

    def put(self, out: np.ndarray, pixels: np.ndarray) -> None:
        """Write a crop of an image into `out`."""
        self.crops.fill(out[None], [pixels])

    def empty(self, n: int) -> np.ndarray:
        """Return memory for n crops."""
        return np.ones((n, boxes.SIZE, boxes.SIZE, 3), np.float32)
