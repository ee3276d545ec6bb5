"""The files of a data set from decoded images: train.h5, val.h5, test.h5, mean.json, report.csv, sizes.png."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastprep.building.decode_cache import Decoded, Record
from fastprep.building.report import write_report
from fastprep.building.scan import USED, SourceFile
from fastprep.building.split import SPLITS
from fastprep.cli.plots import draw_sizes
from fastprep.cli.progress import Progress
from fastprep.h5 import write_images
from fastprep.system.atomic import named_if_full

NAMES = (*(f"{split}.h5" for split in SPLITS), "mean.json", "report.csv", "sizes.png")
"""Of all files that there may be."""


@dataclass(frozen=True)
class Made:
    """What was made.

    Attributes
    ----------
    files : dict of str to (int, int)
        Images and bytes, of each split that has any.
    n_classes : int
    mean, std : ndarray of float64, shape (C,)
        Of the training images.
    """

    files: dict[str, tuple[int, int]]
    n_classes: int
    mean: NDArray[np.float64]
    std: NDArray[np.float64]


def assemble(
    folder: Path,
    found: Sequence[SourceFile],
    candidates: Sequence[SourceFile],
    decoded: Decoded,
    *,
    size: int,
    channel_order: str,
    class_names: Sequence[str],
    attributes: dict[str, str],
    gzip_level: int | None,
    progress: Progress,
) -> Made:
    """Write all files of a data set into a folder.

    Parameters
    ----------
    folder : Path
    found : sequence of SourceFile
        Everything, for the report.
    candidates : sequence of SourceFile
        Those that were read; number k is at place k in `decoded`. Those USED have a split.
    decoded : Decoded
    size : int
        Side of the images.
    channel_order : str
    class_names : sequence of str
        Their places are the labels.
    attributes : dict of str to str
        Of each HDF5 file.
    gzip_level : int, optional
    progress : callable
        See `fastprep.cli.progress`.

    Returns
    -------
    Made

    Raises
    ------
    OSError
        If there is no room left, say.
    """
    number = {name: label for label, name in enumerate(class_names)}
    places = {split: [k for k, one in enumerate(candidates) if one.status == USED and one.split == split] for split in SPLITS}
    mean, std = mean_and_std([decoded.records[place] for place in places["train"]], size * size)
    for split, mine in places.items():
        if not mine:
            continue
        write_images(
            folder / f"{split}.h5",
            _pixels(decoded, mine, f"writing {split}.h5", progress),
            [number[candidates[place].label] for place in mine],
            mean=mean,
            std=std,
            channel_order=channel_order,
            class_names=class_names,
            file_names=[candidates[place].shown for place in mine],
            attributes={**attributes, "split": split},
            gzip_level=gzip_level,
        )
    text = json.dumps(dict(zip(channel_order, mean.tolist(), strict=True)))
    with named_if_full(folder / "mean.json"):
        (folder / "mean.json").write_text(text + "\n", encoding="utf-8")
    with named_if_full(folder / "report.csv"):
        write_report(folder / "report.csv", found)
    draw_sizes([(one.width, one.height) for one in candidates if one.status == USED], size, folder / "sizes.png")
    sizes = {split: (len(mine), os.path.getsize(folder / f"{split}.h5")) for split, mine in places.items() if mine}
    return Made(sizes, len(class_names), mean, std)


def mean_and_std(records: Sequence[Record], n_pixels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each channel; exact up to the last division and root.

    Parameters
    ----------
    records : sequence of Record
        At least one.
    n_pixels : int
        Of each image.

    Returns
    -------
    ndarray of float64, shape (C,)
    ndarray of float64, shape (C,)
    """
    n = len(records) * n_pixels
    sums = [sum(values) for values in zip(*(record.sums for record in records), strict=True)]
    squares = [sum(values) for values in zip(*(record.squares for record in records), strict=True)]
    # whole numbers of any length: the difference of the two terms would lose digits in floating point
    variances = [(square * n - total * total) / (n * n) for total, square in zip(sums, squares, strict=True)]
    return np.array([total / n for total in sums]), np.sqrt(variances)


def _pixels(decoded: Decoded, places: Sequence[int], stage: str, progress: Progress) -> Iterator[NDArray[np.uint8]]:
    for done, place in enumerate(places, 1):
        yield decoded.pixels(place)
        progress(stage, done, len(places))
