"""Boxes and points of all samples, in memory, and what becomes of them in a batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastprep.transforms import FLIPPED, MIRRORED, TRANSPOSED, Boxes, Points, TransformTable
from fastprep.transforms.box_formats import from_edges, units_of
from fastprep.transforms.target_geometry import map_boxes, map_points

_NONE = -1.0  # what rows without a box are filled with
_ROUNDING = 1e-4  # of a share; edges in float32 lie beside the image's by less
_LEAST_SIDE = 2.0**-10  # pixels; a box that only touches the output may seem to reach into it by a rounding error


class BoxValues:
    """Boxes of all samples.

    Parameters
    ----------
    description : Boxes
    edges : ndarray of float64, shape (boxes, 4)
        Left, top, right and bottom edge, in pixels, or relative to the image if the format is.
    classes : ndarray of float64, shape (boxes,), or None
    starts : ndarray of int64, shape (N + 1,)
        First box of each sample, and the number of boxes.
    size : (int, int)
        Height and width of the images, in pixels, unless a table has the sizes of its own.
    """

    dtype = np.dtype(np.float32)

    def __init__(
        self,
        description: Boxes,
        edges: NDArray[np.float64],
        classes: NDArray[np.float64] | None,
        starts: NDArray[np.int64],
        size: tuple[int, int],
    ) -> None:
        self.description, self._edges, self._classes, self._starts, self._size = description, edges, classes, starts, size
        most = int(np.diff(starts).max(initial=1))
        self.row_shape = (description.max_boxes or most, 4 if classes is None else 5)

    def rows(self, samples: NDArray[np.int64], table: TransformTable, size: tuple[int, int]) -> NDArray[np.float32]:
        """Return the boxes of a batch.

        Parameters
        ----------
        samples : ndarray of int64, shape (n,)
            Sample in each slot of the table.
        table : TransformTable
        size : (int, int)
            Height and width of the output, in pixels.

        Returns
        -------
        ndarray of float32, shape (n_out, *row_shape)
        """
        of_rows = samples[table.crops[:, 0]]
        firsts, counts = self._starts[of_rows], self._starts[of_rows + 1] - self._starts[of_rows]
        out = np.full((len(of_rows), *self.row_shape), _NONE, np.float32)
        places = np.arange(counts.max(initial=0))
        is_box = places < counts[:, None]
        if not is_box.any():
            return out
        numbers = np.where(is_box, firsts[:, None] + places, 0)
        source = self._size if table.sizes is None else table.sizes.T[..., None]  # of each row, whatever box it is
        edges, share = map_boxes(self._edges[numbers] * units_of(self.description.format, source), table, size)
        has_sides = (edges[:, :, 2:] - edges[:, :, :2] > _LEAST_SIDE).all(axis=2)
        is_kept = is_box & has_sides & (share >= self.description.min_visible - _ROUNDING)
        place_of = np.cumsum(is_kept, axis=1) - 1  # those that are kept move up
        rows, columns = np.nonzero(is_kept & (place_of < self.row_shape[0]))
        to = rows, place_of[rows, columns]
        out[(*to, slice(4))] = from_edges(edges[rows, columns], self.description.format, size)
        if self._classes is not None:
            out[(*to, 4)] = self._classes[numbers[rows, columns]]
        return out

    def take(self, rows: NDArray[np.int64]) -> BoxValues:
        """Return the boxes of some samples."""
        counts = np.diff(self._starts)[rows]
        starts = np.concatenate([[0], np.cumsum(counts)])
        numbers = np.repeat(self._starts[rows] - starts[:-1], counts) + np.arange(starts[-1])
        classes = None if self._classes is None else self._classes[numbers]
        part = BoxValues(self.description, self._edges[numbers], classes, starts, self._size)
        part.row_shape = self.row_shape  # as for all samples
        return part


class PointValues:
    """Points of all samples.

    Parameters
    ----------
    description : Points
    points : ndarray of float64, shape (N, M, 3)
        x and y in pixels, of which pixel k covers k..k+1; and the visibility.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, description: Points, points: NDArray[np.float64]) -> None:
        self.description, self._points = description, points
        self.row_shape = points.shape[1:]

    def rows(self, samples: NDArray[np.int64], table: TransformTable, size: tuple[int, int]) -> NDArray[np.float32]:
        """Return the points of a batch; see `BoxValues.rows`."""
        points = self._points[samples[table.crops[:, 0]]]
        if pairs := self.description.pairs:
            is_mirrored = _is_mirrored(table)
            one, other = (np.array([pair[k] for pair in pairs]) for k in (0, 1))
            swapped = points.copy()
            swapped[:, one], swapped[:, other] = points[:, other], points[:, one]
            points = np.where(is_mirrored[:, None, None], swapped, points)
        mapped = map_points(points[:, :, :2], table, size)
        with np.errstate(invalid="ignore"):  # of a matrix that maps everything to a line
            is_inside = ((mapped >= 0) & (mapped <= (size[1], size[0]))).all(axis=2) & (points[:, :, 2] != 0)
        out = np.zeros(points.shape, np.float32)
        out[is_inside, :2] = mapped[is_inside] - (0.5 - self.description.center)
        out[is_inside, 2] = points[is_inside, 2]
        return out

    def take(self, rows: NDArray[np.int64]) -> PointValues:
        """Return the points of some samples."""
        return PointValues(self.description, self._points[rows])


def _is_mirrored(table: TransformTable) -> NDArray[np.bool_]:
    """Tell which output images show the mirror image of their source, perhaps turned."""
    flags = table.crops[:, 3]
    is_mirrored = ((flags & MIRRORED) != 0) ^ ((flags & FLIPPED) != 0) ^ ((flags & TRANSPOSED) != 0)
    return is_mirrored if table.matrices is None else is_mirrored ^ (np.linalg.det(table.matrices[:, :, :2]) < 0)
