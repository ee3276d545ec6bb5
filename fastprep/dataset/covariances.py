"""Covariance of the channels: computed over all pixels, or stored in the files, for `Lighting`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprep.dataset.channels import Channels
from fastprep.dataset.dataset import Dataset
from fastprep.dataset.means import computed_mean, place_of
from fastprep.dataset.paths import Paths
from fastprep.errors import DataError
from fastprep.h5 import Images

_STEP_PIXELS = 1 << 17


class Moments:
    """Sums of pixels and of the products of their channels, over images that are added block by block.

    Sums of integers of 8 bits are exact. All are taken of differences from the mean of the first block, so that little is
    lost of others.
    """

    def __init__(self) -> None:
        self._n = 0
        self._shift = self._sums = self._products = np.zeros(0)

    def add(self, images: NDArray) -> None:
        """Add images, shape (n, H, W, C), finite."""
        pixels = images.reshape(-1, images.shape[-1])
        if not self._n:
            mean = pixels.mean(axis=0, dtype=np.float64)
            self._shift = mean if images.dtype.kind == "f" else np.rint(mean)
            self._sums, self._products = np.zeros(len(mean)), np.zeros((len(mean), len(mean)))
        for first in range(0, len(pixels), _STEP_PIXELS):
            part = pixels[first : first + _STEP_PIXELS].astype(np.float64) - self._shift
            self._sums += part.sum(axis=0)
            self._products += part.T @ part
        self._n += len(pixels)

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Covariance of the channels, divided by the number of pixels: float64, shape (C, C)."""
        mean = self._sums / self._n
        return self._products / self._n - np.outer(mean, mean)


def image_covariance(
    files: Paths,
    images: Images = "images",
    *,
    axes: str | None = None,
    shape: Sequence[int] | None = None,
    channels: Channels | None = None,
    indices: ArrayLike | slice | str | None = None,
) -> NDArray[np.float64]:
    """Compute the covariance of the channels over all pixels of the images, or of a part of them, for `fastprep.Lighting`.

    Parameters
    ----------
    files, images, axes, shape, channels, indices
        As in `image_mean`.

    Returns
    -------
    ndarray of float64, shape (C, C)
        In the channel order of the file, and in the numbers of the images.

    Raises
    ------
    ValueError, OSError, DataError
        As `image_mean`.
    """
    return mean_and_covariance(files, images, axes=axes, shape=shape, channels=channels, indices=indices)[1]


def mean_and_covariance(files: Paths, images: Images, **options: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the mean of each channel and the covariance of the channels, reading the images once; see `image_covariance`."""
    moments = Moments()
    mean, picked = computed_mean(files, images, **options, moments=moments)
    covariance = moments.covariance
    return mean, covariance if picked is None else covariance[np.ix_(picked, picked)]


def stored_covariance(dataset: Dataset) -> NDArray[np.float64]:
    """Return the covariance of the channels that the files of a dataset store.

    Raises
    ------
    DataError
        If it is missing, broken, or not the same in all of them.
    """
    first = dataset.metadata[0].covariance
    for file, facts in zip(dataset.paths, dataset.metadata, strict=True):
        if facts.covariance_problem:
            raise DataError(facts.covariance_problem, file, dataset.images)
        if facts.covariance is None or first is None:
            ways = "pass Lighting(covariance=fastprep.image_covariance(training files))"
            words = ["--mean", "--store", *(["--overwrite"] if facts.mean is not None else [])]
            place = place_of("covariance", file, dataset, ways, words)
            raise DataError(f"no covariance is stored in the file{place}", file, dataset.images)
        if not np.array_equal(facts.covariance, first):
            problem = f"the stored covariance differs from that in {dataset.paths[0]!r}; pass one to Lighting, for all"
            raise DataError(problem, file, dataset.images)
    assert first is not None  # a dataset has a file
    return first
