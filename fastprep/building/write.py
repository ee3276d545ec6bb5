"""Files of a data set, written from decoded images: train.h5, val.h5, test.h5, mean.json, report.csv, sizes.png."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastprep.building.decode_cache import Cache, Decoded, Record
from fastprep.building.encoded_cache import EncodedImages
from fastprep.building.report import write_report
from fastprep.building.scan import USED, SourceFile
from fastprep.building.split import SPLITS
from fastprep.cli.plots import draw_sizes
from fastprep.h5 import write_encoded, write_images
from fastprep.system import Progress
from fastprep.system.atomic import named_if_full

NAMES = (*(f"{split}.h5" for split in SPLITS), "mean.json", "report.csv", "sizes.png")
"""Names of all possible files."""

_Image = TypeVar("_Image")


@dataclass(frozen=True)
class Made:
    """Files that were made, and facts about them.

    Attributes
    ----------
    files : dict of str to (int, int)
        Number of images and size in bytes of each split that has images.
    n_classes : int
    mean, std : ndarray of float64, shape (C,), or None
        Mean and standard deviation of the training images, by channel; None if there are none.
    """

    files: dict[str, tuple[int, int]]
    n_classes: int
    mean: NDArray[np.float64] | None
    std: NDArray[np.float64] | None


def assemble(
    folder: Path,
    found: Sequence[SourceFile],
    candidates: Sequence[SourceFile],
    decoded: Cache,
    *,
    size: int | None,
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
        All files, for the report.
    candidates : sequence of SourceFile
        Files that were read, in the order of their numbers in `decoded`. Those with status USED have a split.
    decoded : Cache
        Pixels, or encoded images.
    size : int or None
        Height and width of the images in pixels; None if each has its own.
    channel_order : str
    class_names : sequence of str
        Names in the order of the labels; empty for images without labels.
    attributes : dict of str to str
        Attributes of each HDF5 file.
    gzip_level : int, optional
    progress : callable
        See `fastprep.system.Progress`.

    Returns
    -------
    Made

    Raises
    ------
    OSError
        If the files can't be written, for example because the disk is full.
    """
    label_of = {name: label for label, name in enumerate(class_names)}
    numbers = {split: [k for k, file in enumerate(candidates) if file.status == USED and file.split == split] for split in SPLITS}
    mean = std = covariance = None
    if numbers["train"]:
        n_pixels = sum(decoded.n_pixels(number) for number in numbers["train"])
        mean, covariance = mean_and_covariance([decoded.records[number] for number in numbers["train"]], n_pixels)
        std = np.sqrt(covariance.diagonal())
    for split, mine in numbers.items():
        if not mine:
            continue
        path, stage = folder / f"{split}.h5", f"writing {split}.h5"
        labels = [label_of[candidates[number].label] for number in mine] if class_names else None
        facts: dict[str, Any] = {
            "std": std,
            "covariance": covariance,
            "channel_order": channel_order,
            "class_names": class_names,
            "file_names": [candidates[number].shown for number in mine],
            "attributes": {**attributes, "split": split},
            "writer": "build",
        }
        if isinstance(decoded, EncodedImages):
            write_encoded(path, _in_order(decoded.data, mine, stage, progress), labels, mean=mean, **facts)
        else:
            assert isinstance(decoded, Decoded)
            images = _in_order(decoded.pixels, mine, stage, progress)
            write_images(path, images, labels, mean="none" if mean is None else mean, gzip_level=gzip_level, **facts)
    if mean is not None:
        text = json.dumps(dict(zip(channel_order, mean.tolist(), strict=True)))
        with named_if_full(folder / "mean.json"):
            (folder / "mean.json").write_text(text + "\n", encoding="utf-8")
    with named_if_full(folder / "report.csv"):
        write_report(folder / "report.csv", found)
    draw_sizes([(file.width, file.height) for file in candidates if file.status == USED], size, folder / "sizes.png")
    sizes = {split: (len(mine), os.path.getsize(folder / f"{split}.h5")) for split, mine in numbers.items() if mine}
    return Made(sizes, len(class_names), mean, std)


def mean_and_covariance(records: Sequence[Record], n_pixels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of each channel and the covariance of the channels, exact but for the last division.

    Parameters
    ----------
    records : sequence of Record
        At least one record.
    n_pixels : int
        Number of pixels of all of them.

    Returns
    -------
    ndarray of float64, shape (C,)
    ndarray of float64, shape (C, C)
    """
    n = n_pixels
    sums, squares, products = (
        [sum(values) for values in zip(*lists, strict=True)]
        for lists in zip(*((record.sums, record.squares, record.products) for record in records), strict=True)
    )
    covariance = np.empty((len(sums), len(sums)))
    pairs = [*((k, k) for k in range(len(sums))), *itertools.combinations(range(len(sums)), 2)]
    # in integers of any length, because the difference of the two terms would lose digits in floating point
    for (one, other), total in zip(pairs, [*squares, *products], strict=True):
        covariance[one, other] = covariance[other, one] = (total * n - sums[one] * sums[other]) / (n * n)
    return np.array([total / n for total in sums]), covariance


def _in_order(read: Callable[[int], _Image], numbers: Sequence[int], stage: str, progress: Progress) -> Iterator[_Image]:
    for done, number in enumerate(numbers, 1):
        yield read(number)
        progress(stage, done, len(numbers))
