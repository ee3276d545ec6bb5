"""Crop tables for tests, and the comparison of their results bit by bit."""

import numpy as np
from conftest import host


def assert_same_bits(got, wanted):
    got = host(got)
    assert got.dtype == wanted.dtype
    assert got.shape == wanted.shape
    bits = {2: np.uint16, 4: np.uint32}[got.itemsize]
    got_nan, wanted_nan = np.isnan(got.astype(np.float32)), np.isnan(wanted.astype(np.float32))
    np.testing.assert_array_equal(got_nan, wanted_nan)  # the bits of a NaN are not specified, see reference.py
    np.testing.assert_array_equal(got.view(bits)[~got_nan], wanted.view(bits)[~wanted_nan])


def random_table(rng, n, n_out, height, width, h, w):
    limits = (n, height - h + 1, width - w + 1, 4)
    return np.stack([rng.integers(0, limit, n_out) for limit in limits], axis=1).astype(np.int32)
