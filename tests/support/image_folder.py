"""A folder of images as `build` takes it."""

import numpy as np
from PIL import Image


def write_image_folder(folder):
    """Write two classes of ten images of 10 x 10 pixels, and return their folder."""
    rng = np.random.default_rng(5)
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
        for k in range(10):
            Image.fromarray(rng.integers(0, 256, (10, 10, 3), dtype=np.uint8)).save(folder / label / f"{k}.png")
    return folder
