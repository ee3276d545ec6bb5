"""Files of different sizes and layouts whose images are numbered: for tests of many files as one dataset."""

import h5py
import numpy as np

from fastprep import CenterCrop

IMAGE = (6, 5, 3)
CROP = CenterCrop(IMAGE[:2])  # whole images
ONE = {"chunks": (1, *IMAGE)}
SEVERAL = {"chunks": (3, *IMAGE)}
BY_HDF5 = {**SEVERAL, "userblock_size": 512}
LAYOUTS = [
    {},
    {**ONE, "compression": "gzip"},
    ONE,
    {**SEVERAL, "compression": "gzip"},
    BY_HDF5,
    SEVERAL,
    {"chunks": (2, 3, 5, 3), "compression": "lzf"},  # images are split
]


def write(path, images, labels, userblock_size=0, **layout):
    with h5py.File(path, "w", userblock_size=userblock_size) as file:
        file.create_dataset("images", data=images, **layout)
        file["labels"] = labels


def write_many(folder, sizes, layouts):
    """Write files of different sizes and layouts; return their paths and all images. An image's label is its number."""
    rng, paths, first = np.random.default_rng(0), [], 0
    images = rng.integers(0, 256, (sum(sizes), *IMAGE), dtype=np.uint8)
    for number, n in enumerate(sizes):
        layout = dict(layouts[number % len(layouts)])
        if "chunks" in layout:
            layout["chunks"] = (min(n, layout["chunks"][0]), *layout["chunks"][1:])
        paths.append(folder / f"{number:04d}.h5")
        write(paths[-1], images[first : first + n], np.arange(first, first + n), **layout)
        first += n
    return paths, images
