"""FFCV in its JPEG mode: a .beton file of its own, into which it encodes the decoded images again with the same quality.

`ffcv_raw` says how it is installed.
"""

from __future__ import annotations

import io
import os

import boxes
import jpegs
import numpy as np
from check import MEANS
from protocol import Options, run


def make(path, options: Options):
    os.environ["NUMBA_THREADING_LAYER"] = "omp"
    from ffcv.fields import IntField, RGBImageField
    from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import NormalizeImage, RandomHorizontalFlip, ToTensor
    from ffcv.writer import DatasetWriter
    from PIL import Image

    rows = jpegs.rows(path)

    class Images:
        def __len__(self):
            return len(rows)

        def __getitem__(self, number):
            return np.array(Image.open(io.BytesIO(rows[number]))), number

    copy = str(options.folder / "images.beton")
    image = RGBImageField(write_mode="jpg", jpeg_quality=jpegs.QUALITY)
    DatasetWriter(copy, {"image": image, "number": IntField()}, num_workers=options.threads).from_indexed_dataset(Images())
    images = [
        RandomResizedCropRGBImageDecoder((boxes.SIZE, boxes.SIZE), scale=boxes.SCALE, ratio=boxes.RATIO),
        *([RandomHorizontalFlip()] if options.mirror else []),
        NormalizeImage(MEANS, np.ones(3), np.float32),
        ToTensor(),
    ]
    loader = Loader(
        copy,
        options.batch,
        num_workers=options.threads,
        os_cache=True,
        batches_ahead=1,  # as in `ffcv_raw`
        order=OrderOption.RANDOM,
        drop_last=False,
        pipelines={"image": images, "number": [IntDecoder(), ToTensor()]},
    )
    return lambda: loader


if __name__ == "__main__":
    run(make, "FFCV, JPEG mode", packages=["ffcv", "numba"], crops=["jpeg"], note="shuffled, own .beton file, encoded again")
