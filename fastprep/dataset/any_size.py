"""Images of different sizes: whether a loader takes them, and that what is read together has one size for each sample."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fastprep.dataset.nested import outputs_of
from fastprep.errors import DataError
from fastprep.h5 import SizeSink
from fastprep.transforms import Crop, fitted

if TYPE_CHECKING:
    from fastprep.dataset.dataset import Dataset

_N_LOOKED_AT = 64  # images, to judge what lies in them


def takes_any_size(dataset: Dataset, crop: Crop | None) -> bool:
    """Tell whether images may have different sizes: they are encoded, and their crops have one size, whatever theirs is.

    All inputs and masks that are read with them have to be encoded, too; others have the size of the first image.
    """
    parts = [*outputs_of(dataset.each_input), *dataset.masks]
    return all(part.is_encoded for part in parts) and fitted(crop, *dataset.image_shape[:2]) == crop


def check_one_size(dataset: Dataset) -> None:
    """Check that inputs and masks that are encoded have the size of the images, where all images have one.

    Raises
    ------
    DataError
        If they have another one.
    """
    parts = [*outputs_of(dataset.each_input), *dataset.masks]
    wanted = parts[0].image_shape[:2]
    for number, part in enumerate(parts[1:], 1):
        if part.image_shape[:2] != wanted:
            index = dataset.parts[number].first_index  # of an encoded part: others were compared when they were opened
            raise DataError(_other_size(dataset, number, part.image_shape[:2], wanted), index.file, index.dataset)


def check_same_sizes(dataset: Dataset, samples: NDArray[np.int64], sizes: Sequence[NDArray[np.int64]]) -> None:
    """Check that what is read together for a sample has one size.

    Parameters
    ----------
    dataset : Dataset
    samples : ndarray of int64, shape (n,)
    sizes : sequence of ndarray of int64, shape (n, 2)
        Height and width of each part of the dataset, see `Dataset.parts`.

    Raises
    ------
    DataError
        If it has not; it names the sample and both sizes.
    """
    for number, own in enumerate(sizes[1:], 1):
        differs = (own != sizes[0]).any(axis=1)
        if differs.any():
            k = int(np.argmax(differs))
            problem = _other_size(dataset, number, tuple(own[k].tolist()), tuple(sizes[0][k].tolist()))
            raise dataset.image_error(int(samples[k]), f"{problem}, or leave it out by indices=", number)


def _other_size(dataset: Dataset, number: int, size: tuple[int, int], wanted: tuple[int, int]) -> str:
    """Return what is wrong with a part that has another size than the first one, and the way out."""
    inputs = list(dataset.each_input) if isinstance(dataset.each_input, dict) else []
    pixels = f"has {size[0]}x{size[1]} pixels"
    if number < len(inputs):
        first = f"images[{inputs[0]!r}] {wanted[0]}x{wanted[1]}"
        problem = f"images[{inputs[number]!r}] {pixels}, and {first}; all inputs share one crop: store both in one size"
    else:
        problem = f"the mask {pixels}, and the image that it follows {wanted[0]}x{wanted[1]}; store both in one size"
    if size == wanted[::-1]:
        problem += "; height and width are exchanged, and images are turned as their EXIF data say: turn the other like that"
    return problem


def some_sizes(dataset: Dataset) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return images by which it is judged what lies in them, and their sizes.

    Parameters
    ----------
    dataset : Dataset

    Returns
    -------
    samples : ndarray of int64, shape (n,)
        Ascending: all of them; or 64 from the whole dataset where each has to be asked, without those whose header can't be read.
    sizes : ndarray of int64, shape (n, 2)
        Height and width, in pixels.
    """
    n = dataset.n_samples
    if not dataset.is_encoded:
        return np.arange(n), np.broadcast_to(np.array(dataset.image_shape[:2]), (n, 2))
    samples, sizes = [], []
    for sample in np.unique(np.linspace(0, n - 1, min(n, _N_LOOKED_AT)).astype(np.int64)):
        sink = SizeSink(1)
        with contextlib.suppress(DataError):  # reported where the image is asked for
            dataset.image_files.read(np.array([sample]), np.zeros(1, np.int64), sink)
            samples.append(sample)
            sizes.append(sink.found[0])
    return np.array(samples, np.int64), np.array(sizes, np.int64).reshape(-1, 2)
