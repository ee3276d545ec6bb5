"""What the four numbers of a box are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_ABSOLUTE = ("xyxy", "yxyx", "xywh", "center_xywh")
FORMATS = (*_ABSOLUTE, *(f"rel_{name}" for name in _ABSOLUTE))
"""Names as in Keras; "rel_" is for numbers relative to width and height of the image."""


def to_edges(boxes: NDArray[np.float64], name: str, size: Any) -> NDArray[np.float64]:
    """Return left, top, right and bottom edge of boxes, in pixels.

    Parameters
    ----------
    boxes : ndarray of float64, shape (..., 4)
    name : str
        Their format, one of `FORMATS`.
    size : (int, int), or two arrays that go with the boxes
        Height and width of the image, in pixels, or of the image of each box.

    Returns
    -------
    ndarray of float64, shape (..., 4)
    """
    a, b, c, d = np.moveaxis(boxes, -1, 0)
    kind = name.removeprefix("rel_")
    if kind == "yxyx":
        edges = np.stack([b, a, d, c], axis=-1)
    elif kind == "xywh":
        edges = np.stack([a, b, a + c, b + d], axis=-1)
    elif kind == "center_xywh":
        edges = np.stack([a - c / 2, b - d / 2, a + c / 2, b + d / 2], axis=-1)
    else:
        edges = np.stack([a, b, c, d], axis=-1)
    return edges * units_of(name, size)


def from_edges(edges: NDArray[np.float64], name: str, size: tuple[int, int]) -> NDArray[np.float64]:
    """Return boxes in a format, of which the edges are given; see `to_edges`."""
    left, top, right, bottom = np.moveaxis(edges / units_of(name, size), -1, 0)
    kind = name.removeprefix("rel_")
    if kind == "yxyx":
        return np.stack([top, left, bottom, right], axis=-1)
    if kind == "xywh":
        return np.stack([left, top, right - left, bottom - top], axis=-1)
    if kind == "center_xywh":
        return np.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], axis=-1)
    return np.stack([left, top, right, bottom], axis=-1)


def units_of(name: str, size: Any) -> NDArray[np.float64]:
    """Return the pixels that 1 is for each edge, in the order left, top, right, bottom: 1, or the sides for a relative format.

    Parameters
    ----------
    name : str
        The format.
    size : (int, int), or two ndarray, shape (...)
        Height and width of the image, or of each.

    Returns
    -------
    ndarray of float64, shape (..., 4)
    """
    height, width = size if name.startswith("rel_") else (1, 1)
    return np.stack([width, height, width, height], axis=-1).astype(np.float64)
