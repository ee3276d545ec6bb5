"""Where a transform table sends positions of the source, and from where its matrices take each output pixel."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprep.transforms.table import FLIPPED, MIRRORED, TRANSPOSED, TransformTable

Size = tuple[int, int]

_FIXED = 2.0**32  # positions of a matrix are whole multiples of 1 / _FIXED pixels


class Steps(NamedTuple):
    """The source position (x, y) of each output pixel's centre, in whole multiples of 2**-32 pixels.

    That of output pixel (i, j) of image k is `start[k] + right[k] * j + down[k] * i`, and its pixel the floor of that.

    Attributes
    ----------
    start, right, down : ndarray of int64, shape (n_out, 2)
    """

    start: NDArray[np.int64]
    right: NDArray[np.int64]
    down: NDArray[np.int64]


def steps(table: TransformTable, size: Size) -> Steps:
    """Return the source positions of the output's pixels, for a table of matrices.

    Parameters
    ----------
    table : TransformTable
        Its matrices keep within 2**30 pixels.
    size : (int, int)
        Height and width of the output, in pixels.

    Returns
    -------
    Steps
        Flags are in them: they change the start and turn the steps round.
    """
    assert table.matrices is not None
    matrices, (h, w) = np.asarray(table.matrices, np.float64), size
    right_, down_, offset = (matrices[:, :, column] for column in range(3))
    start = np.rint((right_ * 0.5 + down_ * 0.5 + offset) * _FIXED).astype(np.int64)
    right, down = np.rint(right_ * _FIXED).astype(np.int64), np.rint(down_ * _FIXED).astype(np.int64)
    is_flipped, is_mirrored = ((table.crops[:, 3:] & flag) != 0 for flag in (FLIPPED, MIRRORED))
    start = start + np.where(is_flipped, down * (h - 1), 0) + np.where(is_mirrored, right * (w - 1), 0)
    return Steps(start, np.where(is_mirrored, -right, right), np.where(is_flipped, -down, down))


def map_points(points: NDArray[np.float64], table: TransformTable, size: Size) -> NDArray[np.float64]:
    """Map positions of the source images to positions of the output images.

    Parameters
    ----------
    points : ndarray of float64, shape (n_out, M, 2)
        x and y of each point of each output image's source, in pixels; pixel k covers k..k+1.
    table : TransformTable
    size : (int, int)
        Height and width of the output, in pixels.

    Returns
    -------
    ndarray of float64, shape (n_out, M, 2)
        x and y, which may lie outside of the output.
    """
    flags, (h, w) = table.crops[:, 3:], size
    is_turned = (flags & TRANSPOSED) != 0
    x, y = points[:, :, 0], points[:, :, 1]
    if table.matrices is not None:
        matrices = np.asarray(table.matrices, np.float64)
        x, y = x - matrices[:, 0, 2:], y - matrices[:, 1, 2:]
        a, b, d, e = (matrices[:, row, column, None] for row in (0, 1) for column in (0, 1))
        determinant = a * e - b * d
        with np.errstate(all="ignore"):  # of a matrix that maps everything to a line: the results are not finite
            x, y = (x * e - b * y) / determinant, (a * y - d * x) / determinant
    elif table.boxes is not None:
        top, left, height, width = np.hsplit(np.asarray(table.boxes, np.float64), 4)
        x = (x - left) * np.where(is_turned, h, w) / width
        y = (y - top) * np.where(is_turned, w, h) / height
    else:
        x, y = x - table.crops[:, 2:3], y - table.crops[:, 1:2]
    x, y = np.where(is_turned, y, x), np.where(is_turned, x, y)
    return np.stack([np.where((flags & MIRRORED) != 0, w - x, x), np.where((flags & FLIPPED) != 0, h - y, y)], axis=2)


def map_boxes(edges: NDArray[np.float64], table: TransformTable, size: Size) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Map upright boxes of the source images to upright boxes of the output images.

    Parameters
    ----------
    edges : ndarray of float64, shape (n_out, M, 4)
        Left, top, right and bottom edge of each box of each output image's source, in pixels.
    table : TransformTable
    size : (int, int)
        Height and width of the output, in pixels.

    Returns
    -------
    edges : ndarray of float64, shape (n_out, M, 4)
        Edges of the boxes around the mapped corners, clipped to the output.
    share : ndarray of float64, shape (n_out, M)
        Share of the area of the box around the mapped corners that lies in the output, 0..1; 0 for a box without an area.
    """
    n, m = edges.shape[:2]
    corners = edges[:, :, [0, 1, 2, 1, 0, 3, 2, 3]].reshape(n, 4 * m, 2)
    mapped = map_points(corners, table, size).reshape(n, m, 4, 2)
    low, high = mapped.min(axis=2), mapped.max(axis=2)
    limits = np.array([size[1], size[0]], np.float64)
    inside_low, inside_high = np.clip(low, 0, limits), np.clip(high, 0, limits)
    area, inside = (high - low).prod(axis=2), (inside_high - inside_low).prod(axis=2)
    share = np.divide(inside, area, out=np.zeros_like(area), where=area > 0)
    return np.concatenate([inside_low, inside_high], axis=2), share
