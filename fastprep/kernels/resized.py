"""Whole images resized by a loader's kernel, and rounded to uint8: what `convert --size` writes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastprep.kernels.apply import warp
from fastprep.transforms import CenterCrop, Resize
from fastprep.transforms.geometry import rows_of


class Resized:
    """Function that makes images of one size, as a loader with a crop makes them; any number of threads may call it.

    Parameters
    ----------
    crop : CenterCrop or Resize
        Which part of an image there is, and its size; a `Resize` names both sides.

    Attributes
    ----------
    size : (int, int)
        Height and width of its results, in pixels.
    """

    def __init__(self, crop: CenterCrop | Resize) -> None:
        self._crop = crop
        self.size = crop.height_width

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a resized image.

        Parameters
        ----------
        image : ndarray of uint8, shape (H, W, C)

        Returns
        -------
        ndarray of uint8, shape (h, w, C)
            What a loader has in a batch of float32 without mean and scale, rounded to the nearest whole number, ties to even.

        Raises
        ------
        ValueError
            If the crop is larger than the image.
        """
        height, width, _ = image.shape
        table = rows_of(self._crop, height, width, np.zeros(1, np.int64), 0, 0)
        (pixels,) = warp(image[None], table, self.size)
        return np.rint(pixels).astype(np.uint8)
