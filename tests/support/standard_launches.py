"""Launches of the kernels that standardise, for the stand-in for a GPU: the oracle on what is in memory then."""

import numpy as np
import reference
from warp_records import numbers_of, part_of


class Statistics:
    """One launch of `fastprep_statistics`."""

    def __init__(self, constants, grid, block, arguments):
        images, statistics = arguments
        assert (grid, block) == ((len(images),), (1024,))
        assert (images.dtype, statistics.dtype, statistics.shape) == (np.float32, np.float32, (len(images), 4))
        assert images.size == len(images) * np.prod([int(constants[name]) for name in ("HEIGHT", "WIDTH", "CHANNELS")])
        self.arrays = [(a.data.ptr, a.shape, a.dtype) for a in arguments]

    def run(self, machine, device):
        images, statistics = (machine.content(*array, device) for array in self.arrays)
        for image, numbers in zip(images, statistics, strict=True):
            numbers[:] = *reference.image_statistics(image), 0


class Standardizing:
    """One launch of `fastprep_standardize`."""

    def __init__(self, constants, grid, block, arguments):
        images, statistics, table, out, *checks = arguments
        self.sides = [int(constants[name]) for name in ("HEIGHT", "WIDTH", "CHANNELS")]
        self.is_channels_first = constants["CHANNELS_FIRST"] == "1"
        shape = (self.sides[2], *self.sides[:2]) if self.is_channels_first else tuple(self.sides)
        parts = -(-int(np.prod(shape)) // int(constants["PART"]))
        assert (grid, block) == ((len(images) * parts,), (int(constants["THREADS"]),))
        assert images.shape == out.shape == (len(images), *shape)
        assert (images.dtype, out.dtype) == (np.float32, reference.DTYPES[constants["TARGET"]])
        assert (statistics.dtype, statistics.shape) == (np.float32, (len(images), 4))
        assert (table.dtype, table.shape[1]) == (np.int32, int(constants["RECORD"]))
        assert len(table) >= len(images)  # further rows are of images of different sizes
        assert len(checks) == int(constants.get("CHECK_FINITE", 0))
        self.constants, self.arrays = constants, [(a.data.ptr, a.shape, a.dtype) for a in arguments]

    def run(self, machine, device):
        images, statistics, table, out, *checks = (machine.content(*array, device) for array in self.arrays)
        with np.errstate(all="ignore"):
            high, low, factor, _ = (numbers.reshape(-1, 1, 1, 1) for numbers in statistics.T)
            made = ((images - high) - low) * factor
            for not_finite in checks:
                not_finite[~np.isfinite(made.astype(out.dtype).astype(np.float32)).reshape(len(out), -1).all(axis=1)] = 1
            if "ERASE" in self.constants:
                value, rectangles = (
                    numbers_of(self.constants, "ERASE"),
                    part_of(self.constants, table[: len(images)], "ERASED", 4),
                )
                for image, (top, left, height, width) in zip(made, rectangles, strict=True):
                    image = image.transpose(1, 2, 0) if self.is_channels_first else image
                    image[top : top + height, left : left + width] = value
            out[...] = made.astype(out.dtype)
