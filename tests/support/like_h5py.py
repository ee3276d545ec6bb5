"""What h5py reads is right: the comparison, and a way to write what its high-level interface does not offer."""

import h5py
import numpy as np

from fastprep.h5 import open_images


def assert_reads_like_h5py(path, name="images", expected_layout=None):
    """Compare all images of a dataset, by either `io`, in any order; `expected_layout` is a part of how they are read."""
    with h5py.File(path, "r") as file:
        wanted = file[name][()]
    wanted = wanted if wanted.ndim == 4 else wanted[..., None]
    samples = np.random.default_rng(1).permutation(np.concatenate([np.arange(len(wanted)), [0, len(wanted) - 1, 0]]))
    for io in ("pread", "mmap"):
        reader = open_images(path, name, io)
        got = reader.array(samples)
        assert got.dtype == reader.index.dtype
        np.testing.assert_array_equal(got, wanted[samples].astype(got.dtype))
        np.testing.assert_array_equal(wanted.astype(got.dtype).astype(wanted.dtype), wanted)  # widening loses nothing
        if expected_layout is not None:
            assert expected_layout in reader.index.layout
        reader.close()


def low_level(path, properties, images, name=b"images", dtype=None, libver="earliest"):
    """Write a dataset with creation properties that h5py's high-level interface does not offer."""
    with h5py.File(path, "w", libver=libver) as file:
        space = h5py.h5s.create_simple(images.shape)
        dataset = h5py.h5d.create(file.id, name, dtype or h5py.h5t.py_create(images.dtype), space, properties)
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, images)
