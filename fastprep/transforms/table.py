"""The transform table of a batch: one row for each output image says everything that happens to it. Kernels only execute it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Geometry = Literal["crop", "box", "matrix"]

FARTHEST = 2.0**30
"""Pixels from which matrices may take a pixel at most: positions are 64-bit multiples of 2**-32."""

MIRRORED = 1
FLIPPED = 2
TRANSPOSED = 4


@dataclass(frozen=True, eq=False)
class TransformTable:
    """What happens to the images of a batch, in this order: geometry, colour, mean and scale, erasing.

    Parameters
    ----------
    crops : ndarray of int32, shape (n_out, 4)
        Source slot, y, x and flags of each output image. Flags are the sum of `TRANSPOSED` (rows and columns change places,
        first), `FLIPPED` (top-bottom) and `MIRRORED` (left-right). y and x are pixels of the source; they are 0 where a box or a
        matrix stands in their place.
    boxes : ndarray of float64, shape (n_out, 4), optional
        y, x, height and width, in pixels of the source, of the part that is resized to the output image. A box lies inside the
        image, and its edges may lie inside pixels; pixel k covers k..k+1.
    matrices : ndarray of float64, shape (n_out, 2, 3), optional
        Source position (x, y) = matrix @ (column, row, 1) of each position of the output image before the flags, in pixels; the
        centre of a pixel is at one half. `TRANSPOSED` does not go with it.
    colors : ndarray of float32, shape (n_out, C, C + 1), optional
        Linear map of the channels of each pixel, the last column is added. Before mean and scale.
    erasures : ndarray of int32, shape (n_out, 4), optional
        y, x, height and width, in pixels of the output image, of the rectangle that is filled with a constant; of height 0 for
        none.
    sizes : ndarray of int64, shape (n_out, 2), optional
        Height and width of the source of each output image, in pixels, where they differ from image to image. None: all have
        the size that the operation says.
    """

    crops: NDArray[np.int32]
    boxes: NDArray[np.float64] | None = None
    matrices: NDArray[np.float64] | None = None
    colors: NDArray[np.float32] | None = None
    erasures: NDArray[np.int32] | None = None
    sizes: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """Count the output images."""
        return len(self.crops)

    @property
    def geometry(self) -> Geometry:
        """What says where the pixels come from."""
        return "box" if self.boxes is not None else "matrix" if self.matrices is not None else "crop"


@dataclass(frozen=True, eq=False)
class BlendTable:
    """What is blended after all output images of a batch are made: image k with its partner, image n - 1 - k.

    Parameters
    ----------
    weights : ndarray of float32, shape (n,)
        Share of image k itself in its labels, and, where it has no rectangle, in its pixels: a multiple of 2**-16 in 0..1 there.
    rectangles : ndarray of int32, shape (n, 4)
        y, x, height and width, in pixels of the output image, of what is taken from the partner as it is; of height 0 to mix all
        pixels.
    """

    weights: NDArray[np.float32]
    rectangles: NDArray[np.int32]
