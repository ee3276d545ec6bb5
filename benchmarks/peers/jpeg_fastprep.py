"""Ours, from the HDF5 file, shuffled."""

from __future__ import annotations

from check import MEANS
from fastprep_loader import Epochs
from protocol import Options, run


def make(path, options: Options):
    import boxes

    import fastprep

    crop = fastprep.RandomResizedCrop(boxes.SIZE, boxes.SCALE, boxes.RATIO, mirror=options.mirror)
    loader = fastprep.Loader(path, options.batch, crop, mean=MEANS, shuffle=True, workers=options.threads, device="cpu")
    return Epochs(loader)


if __name__ == "__main__":
    run(make, "fastprep", packages=["fastprep", "simplejpeg"], crops=["jpeg"], note="shuffled")
