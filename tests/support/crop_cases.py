"""Crop tables for tests, and the comparison of their results bit by bit."""

import itertools
from typing import Any, NamedTuple

import numpy as np
from conftest import host
from numpy.typing import NDArray

from fastprep.kernels import CropSpec


def assert_same_bits(got, wanted):
    got = host(got)
    assert got.dtype == wanted.dtype
    assert got.shape == wanted.shape
    bits = {2: np.uint16, 4: np.uint32}[got.itemsize]
    got_nan, wanted_nan = np.isnan(got.astype(np.float32)), np.isnan(wanted.astype(np.float32))
    np.testing.assert_array_equal(got_nan, wanted_nan)  # the bits of a NaN are not specified, see reference.py
    np.testing.assert_array_equal(got.view(bits)[~got_nan], wanted.view(bits)[~wanted_nan])


SOURCES = ("uint8", "uint16", "int16", "float32", "float64")


def random_images(rng, shape, source):
    """Return images of a type: integers of its whole range, or floats of a magnitude that differs from case to case."""
    if np.dtype(source).kind in "iu":
        limits = np.iinfo(source)
        return rng.integers(limits.min, limits.max + 1, shape).astype(source)
    noise = rng.standard_normal(shape).astype(source) * 10.0 ** rng.integers(-9, 9)
    return (rng.integers(0, 256, shape) + noise).astype(source)


def random_table(rng, n, n_out, height, width, h, w):
    limits = (n, height - h + 1, width - w + 1, 4)
    return np.stack([rng.integers(0, limit, n_out) for limit in limits], axis=1).astype(np.int32)


class NotFiniteCase(NamedTuple):
    """Crops of float images, and for each of them whether it has a result that is not finite."""

    images: NDArray
    table: NDArray
    size: tuple[int, int]
    mean: Any
    scale: Any
    dtype: str
    layout: str
    wanted: NDArray

    def spec(self):
        """Return the operation, with the check."""
        shape, source = self.images.shape[1:], self.images.dtype.name
        return CropSpec(shape, source, self.size, self.mean, self.scale, self.dtype, self.layout, check_finite=True)


def not_finite_cases():
    """Return the cases of `_not_finite_cases`."""
    with np.errstate(over="ignore"):  # that is what they are for
        return list(_not_finite_cases())


def _not_finite_cases():
    """Yield cases with one value at or beyond the edge of a type, in a corner, and crops with and without it."""
    height, width, channels, size = 20, 70, 3, (17, 65)
    limits = {"float32": 2.0**128 - 2.0**103, "float16": 65520.0, "bfloat16": 2.0**128 - 2.0**119}
    table = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [1, 3, 5, 1], [1, 3, 5, 2], [2, 3, 5, 3], [1, 2, 5, 0]], np.int32)
    for (source, dtype), layout in itertools.product(
        itertools.product(("float32", "float64"), limits), ("channels_last", "channels_first")
    ):
        beyond = np.array(limits[dtype], source)  # infinity, if both are float32
        just_below = np.nextafter(beyond.astype(np.float32), np.float32(0))
        for value in (np.nan, np.inf, -np.inf, beyond, -beyond, just_below, -just_below):
            images = np.ones((3, height, width, channels), source)
            images[1, -1, -1, 1] = value
            wanted = np.zeros(len(table), np.uint32)
            is_finite = abs(np.float32(value)) < np.float32(limits[dtype])
            wanted[2:4] = not is_finite  # the crops of image 1 that reach into its last corner
            yield NotFiniteCase(images, table, size, None, None, dtype, layout, wanted)
    images = np.full((3, height, width, channels), 300.0, np.float32)
    for mean, scale, n_wrong in ((200, 655.2, 1), (200, 655.1, 0), ([0, 0, 299], [218, 1, 6], 0), ([0, 0, 0], [1, 1, 219], 1)):
        yield NotFiniteCase(images, table, size, mean, scale, "float16", "channels_last", np.full(len(table), n_wrong, np.uint32))
