"""FFCV, from a .beton file of its own with raw images, shuffled, in the page cache.

It has no RandomCrop: this is RandomResizedCrop at a fixed scale, so that its resizing is a copy. Random-resized
crops are its own job; it enlarges with INTER_AREA too, which is blocky. There is nothing for ten
crops. Its numba runs on OpenMP: on TBB, numba's first choice, the process sometimes hangs when it ends.

Installing takes more than one command: the libraries opencv and turbojpeg with their headers (Debian: `apt-get install
libopencv-dev libturbojpeg0-dev pkg-config g++`), numpy below 2 with numba 0.59 (so Python 3.12 at most), and then FFCV
without its build isolation. benchmarks/README.md has the commands.
"""

from __future__ import annotations

import os

import boxes
import numpy as np
from check import MEANS, SIZE
from patches import mapped
from protocol import Options, run


def make(path, options: Options):
    os.environ["NUMBA_THREADING_LAYER"] = "omp"
    from ffcv.fields import IntField, RGBImageField
    from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import NormalizeImage, RandomHorizontalFlip, ToTensor
    from ffcv.writer import DatasetWriter

    mapped_images = mapped(path)

    class Images:
        def __len__(self):
            return len(mapped_images)

        def __getitem__(self, number):
            return np.array(mapped_images[number]), number

    copy = str(options.folder / "images.beton")
    fields = {"image": RGBImageField(write_mode="raw"), "number": IntField()}
    DatasetWriter(copy, fields, num_workers=options.threads).from_indexed_dataset(Images())

    scale = SIZE**2 / (mapped_images.shape[1] * mapped_images.shape[2])
    scales, ratios = (boxes.SCALE, boxes.RATIO) if options.resized else ((scale, scale), (1, 1))
    images = [
        RandomResizedCropRGBImageDecoder((options.size, options.size), scale=scales, ratio=ratios),
        *([RandomHorizontalFlip()] if options.mirror else []),
        NormalizeImage(MEANS, np.ones(3), np.float32),
        ToTensor(),
    ]
    loader = Loader(
        copy,
        options.batch,
        num_workers=options.threads,
        os_cache=True,
        batches_ahead=1,  # it allocates two more than these anew each epoch; with 3, its default, half of the time is page faults
        order=OrderOption.RANDOM,
        drop_last=False,
        pipelines={"image": images, "number": [IntDecoder(), ToTensor()]},
    )
    return lambda: loader


if __name__ == "__main__":
    note = "shuffled, own .beton file, RandomResizedCrop (at fixed scale for random crops)"
    run(make, "FFCV", packages=["ffcv", "numba"], crops=["random", "resized"], most_off=boxes.MOST_OFF_BLOCKY, note=note)
