"""Rows of x as they are looked at: pixels, titles, and what lies over them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprep.cli.overlays import Overlay
from fastprep.dataset import map_outputs, outputs_of
from fastprep.presentation.pixels import Range, as_bytes, shrunk
from fastprep.presentation.titles import titles_of
from fastprep.transforms import Boxes, Mask, Points, Target
from fastprep.transforms.box_formats import to_edges


class Seen(NamedTuple):
    """One row of x.

    Attributes
    ----------
    images : dict of str to ndarray of uint8, shape (h, w, 1 or 3)
        By the name of the input, which is "" where there is one; they may be smaller than in the batch.
    size : (int, int)
        Height and width in the batch, in pixels.
    title : str
    overlays : tuple of Overlay
        Masks, boxes and points, in pixels of the batch.
    """

    images: dict[str, NDArray[np.uint8]]
    size: tuple[int, int]
    title: str
    overlays: tuple[Overlay, ...]


class Row(NamedTuple):
    """One row of x before it is known what white is; see `Seen`."""

    images: dict[str, NDArray[np.float32]]
    size: tuple[int, int]
    title: str
    overlays: tuple[Overlay, ...]


def rows_of(
    pixels: Mapping[str, NDArray[np.float32]], y: Any, kinds: Any, class_names: Any, untitled: Sequence[str], side: int
) -> Iterator[Row]:
    """Yield the rows of a batch.

    Parameters
    ----------
    pixels : mapping of str to ndarray of float32, shape (rows, h, w, 1 or 3)
        Of each input, in the channels that are drawn.
    y : ndarray, tuple or dict of such, or None
    kinds : Target or any object, tuple or dict of such, or None
        What is drawn of y, in its structure: targets; anything else is told in words.
    class_names : tuple of str, or tuple or dict of such
    untitled : sequence of str
        Titles where there are no labels in words.
    side : int
        Pixels of the longer side of an image, at most.
    """
    height, width = next(iter(pixels.values())).shape[1:3]
    words = None if y is None else map_outputs(_unless_drawn, kinds, y)
    titles = titles_of(words, class_names) or untitled
    drawn = [
        own
        for kind, values in zip(outputs_of(kinds), outputs_of(y), strict=False)
        if (own := _drawn(kind, values, (height, width)))
    ]
    for row, title in enumerate(titles):
        images = {name: shrunk(own[row], side) for name, own in pixels.items()}
        yield Row(images, (height, width), title, tuple(own[row] for own in drawn))


def seen_in(rows: Sequence[Row], spans: Mapping[str, Range]) -> list[Seen]:
    """Return rows as they are drawn, by the numbers that are black and white in each input."""
    return [
        Seen({name: as_bytes(image, spans[name]) for name, image in row.images.items()}, row.size, row.title, row.overlays)
        for row in rows
    ]


def _unless_drawn(kind: Any, values: Any) -> Any:
    """Return labels that are told in words; None for a target."""
    return None if isinstance(kind, Target) else values


def _drawn(kind: Any, values: Any, size: tuple[int, int]) -> list[Overlay]:
    """Return a target of each row as it is drawn; empty for other labels."""
    if not isinstance(kind, Target):
        return []
    rows = np.asarray(values)
    if isinstance(kind, Mask):
        return [Overlay(masks=row) for row in rows]
    if isinstance(kind, Boxes):
        edges = to_edges(rows[..., :4].astype(np.float64), kind.format, size)
        return [Overlay(boxes=row) for row in np.concatenate([edges, rows[..., 4:]], axis=-1)]
    assert isinstance(kind, Points)
    shift = np.array([0.5 - kind.center, 0.5 - kind.center, 0])
    return [Overlay(points=row + shift) for row in rows]
