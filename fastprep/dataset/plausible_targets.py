"""Warnings of boxes and points that can be read, but lie as if they had another format or another unit."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from fastprep.transforms.box_formats import FORMATS, to_edges

_log = logging.getLogger(__name__)

_MOST = 0.05  # share of boxes or points that may lie in unlikely places; files have some
_BEYOND = 0.1  # of a side of the image, up to which they may reach beyond it
_RELATIVE = 1.5  # no number of relative ones is much larger than 1


def warn_of_boxes(
    boxes: NDArray[np.float64], format: str, sizes: NDArray[np.int64], place: str, may_have_classes: bool = False
) -> None:
    """Warn of boxes that seem to have another format.

    Parameters
    ----------
    boxes : ndarray of float64, shape (boxes, 4)
        As they are stored. NaN, and four equal numbers, are rows that are filled up.
    format : str
    sizes : ndarray of int64, shape (boxes, 2)
        Height and width of the image of each, in pixels.
    place : str
        What the warning calls them.
    may_have_classes : bool
        Whether their number allows for five numbers each.
    """
    is_box = ~np.isnan(boxes).any(axis=1) & (boxes != boxes[:, :1]).any(axis=1)
    boxes, sizes = boxes[is_box], sizes[is_box]
    n_wrong = _n_implausible(boxes, format, sizes)
    if n_wrong <= _MOST * len(boxes):
        return
    problem = f"{n_wrong:,} of {len(boxes):,} boxes have no area, lie far beyond the image, or within its first pixel"
    others = [name for name in FORMATS if _n_implausible(boxes, name, sizes) <= _MOST * len(boxes)]
    if may_have_classes:
        way_out = "flat rows have four numbers for each box; where a class is the fifth, give classes= or a list of arrays (M, 5)"
    elif others:
        way_out = f"as format={others[0]!r}, --box-format {others[0]} of show, they would lie in it"
    else:
        way_out = "look at them with `python -m fastprep.show FILE --crops PNG --boxes NAME`"
    _log.warning("%s: %s by format=%r, of images of %s; %s", place, problem, format, _in_words(sizes), way_out)


def warn_of_points(points: NDArray[np.float64], sizes: NDArray[np.int64], place: str) -> None:
    """Warn of points that seem to be relative to the image, or to have y before x.

    Parameters
    ----------
    points : ndarray of float64, shape (N, M, 3)
        x, y and visibility, as they are stored.
    sizes : ndarray of int64, shape (N, 2)
        Height and width of each image, in pixels.
    place
        As in `warn_of_boxes`.
    """
    every = points.reshape(-1, 3)
    is_point = ~np.isnan(every).any(axis=1) & (every[:, 2] != 0) & (every[:, :2] != 0).any(axis=1)
    places, sides = every[is_point, :2], sizes.repeat(points.shape[1], axis=0)[is_point, ::-1]
    if not len(places):
        return
    is_one_size = (sides == sides[0]).all()
    if np.abs(places).max() <= _RELATIVE < sides.min() / 2:
        _log.warning(
            "%s: points are in pixels, and no number of these %s is larger than %.3g, as of points relative to the image: "
            "multiply x by its width%s, and y by its height%s",
            place,
            f"{len(places):,}",
            np.abs(places).max(),
            *(f", {side}" if is_one_size else "" for side in sides[0]),
        )
    elif (n_beyond := _n_beyond(places, sides)) > _MOST * len(places):
        is_turned = _n_beyond(places[:, ::-1], sides) <= _MOST * len(places)
        way_out = (
            "with x and y exchanged they would lie in it" if is_turned else "points are x and y in pixels of the file's images"
        )
        found = f"{n_beyond:,} of {len(places):,} points lie far beyond the images of {_in_words(sizes)}"
        _log.warning("%s: %s; %s", place, found, way_out)


def _n_beyond(places: NDArray[np.float64], sides: NDArray[np.int64]) -> int:
    return int(((places < -_BEYOND * sides) | (places > (1 + _BEYOND) * sides)).any(axis=1).sum())


def _in_words(sizes: NDArray[np.int64]) -> str:
    is_one_size = (sizes == sizes[0]).all()
    return f"{sizes[0, 0]}x{sizes[0, 1]} pixels" if is_one_size else "different sizes, some of which were looked at"


def _n_implausible(boxes: NDArray[np.float64], format: str, sizes: NDArray[np.int64]) -> int:
    """Return how many boxes would have no area, lie far beyond the image or, with relative numbers as pixels, in a corner."""
    with np.errstate(over="ignore", invalid="ignore"):
        edges, sides = to_edges(boxes, format, sizes.T), sizes[:, ::-1]
        is_likely = (edges[:, 2:] > edges[:, :2]).all(axis=1)
        is_likely &= (edges[:, :2] >= -_BEYOND * sides).all(axis=1) & (edges[:, 2:] <= (1 + _BEYOND) * sides).all(axis=1)
        if not format.startswith("rel_") and len(sides) and sides.min() / 2 > _RELATIVE:
            is_likely &= np.abs(boxes).max(axis=1) > _RELATIVE
    return int((~is_likely).sum())
