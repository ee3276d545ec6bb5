"""Pillow resizes, antialiased, and numpy subtracts the mean; images from a memory map, shuffled, buffers used again."""

from __future__ import annotations

from numpy_h5py import batches_of
from protocol import run
from resized import ResizedCrops, by_pillow


def make(path, options):
    return batches_of(path, options, by_h5py=False, crops=lambda seed: ResizedCrops(by_pillow(), options.mirror, seed))


if __name__ == "__main__":
    run(make, "Pillow + numpy, mmap", packages=["pillow", "numpy"], crops=["resized"], note="shuffled, BILINEAR, antialiased")
