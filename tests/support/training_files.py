"""Small training files of every layout that HDF5 has, to which something is added."""

import h5py
import numpy as np

IMAGES = (np.arange(40 * 8 * 9 * 3) % 251).astype("uint8").reshape(40, 8, 9, 3)
LAYOUTS = {
    "contiguous": ({}, {}),
    "chunked": ({}, {"chunks": (1, 8, 9, 3)}),
    "gzip": ({}, {"chunks": (7, 8, 9, 3), "compression": "gzip"}),
    "compact": ({}, "compact"),
    "latest": ({"libver": "latest"}, {"chunks": (1, 8, 9, 3), "maxshape": (None, 8, 9, 3)}),
    "user block": ({"userblock_size": 512}, {}),
    "paged": ({"fs_strategy": "page", "fs_page_size": 4096}, {"chunks": (5, 8, 9, 3)}),
    "paged, free space kept": ({"fs_strategy": "page", "fs_persist": True, "libver": "latest"}, {}),
    "many attributes": ({"libver": "latest"}, {"chunks": (3, 8, 9, 3)}),
    "a mean that is replaced": ({}, {}),
    "trailing bytes": ({}, {}),
}


def make(path, layout):
    """Write a file without a mean of its own, and return its path."""
    options, storage = LAYOUTS[layout]
    with h5py.File(path, "w", **options) as file:
        if storage == "compact":
            properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            properties.set_layout(h5py.h5d.COMPACT)
            space = h5py.h5s.create_simple(IMAGES.shape)
            h5py.h5d.create(file.id, b"images", h5py.h5t.STD_U8LE, space, properties)
            file["images"][()] = IMAGES
        else:
            file.create_dataset("images", data=IMAGES, **storage)
        for k in range(30 if layout == "many attributes" else 1):
            file["images"].attrs[f"a{k}"] = np.arange(k + 1)
        if layout == "a mean that is replaced":
            file["images"].attrs["mean"] = [9.0, 9.0]
        file["labels"] = np.arange(40)
        file["labels"].attrs["text"] = "of any length"
    if layout == "trailing bytes":
        with open(path, "ab") as file:
            file.write(b"not HDF5's" * 1000)
    return path


def check_rest(path):
    """Check everything in such a file except its mean."""
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["images"][()], IMAGES)
        np.testing.assert_array_equal(file["labels"][()], np.arange(40))
        assert file["labels"].attrs["text"] == "of any length"
        assert file["images"].attrs["a0"].tolist() == [0]
