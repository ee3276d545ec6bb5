"""What the four numbers of a box are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ABSOLUTE = ("xyxy", "yxyx", "xywh", "center_xywh")
FORMATS = (*_ABSOLUTE, *(f"rel_{name}" for name in _ABSOLUTE))
"""Names as in Keras; "rel_" is for numbers relative to width and height of the image."""


def to_edges(boxes: NDArray[np.float64], name: str, size: tuple[int, int]) -> NDArray[np.float64]:
    """Return left, top, right and bottom edge of boxes, in pixels.

    Parameters
    ----------
    boxes : ndarray of float64, shape (..., 4)
    name : str
        Their format, one of `FORMATS`.
    size : (int, int)
        Height and width of the image, in pixels.

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
    return edges * _units(name, size)


def from_edges(edges: NDArray[np.float64], name: str, size: tuple[int, int]) -> NDArray[np.float64]:
    """Return boxes in a format, of which the edges are given; see `to_edges`."""
    left, top, right, bottom = np.moveaxis(edges / _units(name, size), -1, 0)
    kind = name.removeprefix("rel_")
    if kind == "yxyx":
        return np.stack([top, left, bottom, right], axis=-1)
    if kind == "xywh":
        return np.stack([left, top, right - left, bottom - top], axis=-1)
    if kind == "center_xywh":
        return np.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], axis=-1)
    return np.stack([left, top, right, bottom], axis=-1)


def _units(name: str, size: tuple[int, int]) -> NDArray[np.float64]:
    height, width = size if name.startswith("rel_") else (1, 1)
    return np.array([width, height, width, height], np.float64)
