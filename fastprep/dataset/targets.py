"""Targets of all samples, out of what the files have and what the caller gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprep.dataset.any_size import some_sizes
from fastprep.dataset.box_values import BoxValues, PointValues
from fastprep.dataset.label_errors import label_error
from fastprep.dataset.label_files import images_of_each
from fastprep.dataset.label_sources import Source, named_source
from fastprep.dataset.masked import check_unmasked
from fastprep.dataset.masks import MaskValues, open_masks
from fastprep.dataset.nested import map_outputs
from fastprep.dataset.plausible_targets import warn_of_boxes, warn_of_points
from fastprep.h5 import read_rows, warn_of_unwritten_in
from fastprep.transforms import Boxes, Mask, Points
from fastprep.transforms.box_formats import to_edges

if TYPE_CHECKING:
    from fastprep.dataset.dataset import Dataset

TargetValues = MaskValues | BoxValues | PointValues
"""Masks, boxes or points of all samples."""


def described(labels: Any) -> Any:
    """Return labels with the description of each target in its place."""

    def describe(values: Any) -> Any:
        return values.description if isinstance(values, TargetValues) else values

    return None if labels is None else map_outputs(describe, labels)


def target_values(dataset: Dataset, source: Source) -> TargetValues:
    """Return what a target has for all samples of a dataset.

    Parameters
    ----------
    dataset : Dataset
        Its images are open.
    source : Source
        With a target.

    Raises
    ------
    ValueError
        If an array, or the number of files, does not fit the images.
    OSError, DataError
        If a file of targets can't be read, or does not fit the images.
    """
    target = source.target
    if isinstance(target, Mask):
        return open_masks(dataset, source)
    samples, sizes = some_sizes(dataset)
    if isinstance(target, Points):
        points = _points(dataset, source, target)
        warn_of_points(points[samples], sizes, _place(dataset, source))
        return PointValues(target, _from_edges_of_pixels(points, target.center))
    assert isinstance(target, Boxes)
    boxes, counts, may_have_classes = _boxes(dataset, source, target)
    classes = boxes[:, 4] if boxes.shape[1] == 5 else None
    if target.classes is not None:
        classes = _classes(dataset, source, target, counts, classes)
    owner = np.repeat(np.arange(len(counts)), counts)
    is_judged = np.isin(owner, samples)
    sizes_of_boxes = sizes[np.searchsorted(samples, owner[is_judged])]
    warn_of_boxes(boxes[is_judged, :4], target.format, sizes_of_boxes, _place(dataset, source), may_have_classes)
    edges = to_edges(boxes[:, :4], target.format, (1, 1))  # relative ones become pixels where the size of their image is known
    with np.errstate(invalid="ignore"):
        is_box = np.isfinite(edges).all(axis=1) & (edges[:, 2] > edges[:, 0]) & (edges[:, 3] > edges[:, 1])
    if classes is not None:
        _check_classes(dataset, source, classes, is_box, owner)
    starts = np.concatenate([[0], np.cumsum(np.bincount(owner[is_box], minlength=len(counts)))]).astype(np.int64)
    return BoxValues(target, edges[is_box], None if classes is None else classes[is_box], starts, dataset.image_shape[:2])


def _boxes(dataset: Dataset, source: Source, target: Boxes) -> tuple[NDArray[np.float64], NDArray[np.int64], bool]:
    """Return all boxes, shape (boxes, 4) or (boxes, 5), how many each sample has, and whether flat rows may have classes."""
    may_have_classes = False
    rows = _rows(dataset, source, target.source)
    rule = "boxes must be rows of shape (N, M, 4), (N, M, 5) with a class in the last column, or of four numbers for each box"
    if isinstance(rows, np.ndarray):
        values = rows[:, None] if rows.ndim == 2 else rows
        if values.ndim != 3 or values.shape[2] not in (4, 5):
            raise _error(dataset, source, f"{rule}, found {rows.dtype} {rows.shape}")
        counts = np.full(len(values), values.shape[1], np.int64)
        boxes = values.reshape(-1, values.shape[2]).astype(np.float64)
    else:
        parts = [row.reshape(-1, 4) if row.ndim == 1 and row.size % 4 == 0 else row for row in rows]
        wrong = next((k for k, part in enumerate(parts) if part.ndim != 2 or part.shape[1] not in (4, 5)), None)
        given = {row.shape[1] for row in rows if row.ndim == 2 and row.shape[1] in (4, 5)}  # of images without boxes as well
        widths = {part.shape[1] for part in parts if part.ndim == 2 and part.size} or given
        if wrong is not None:
            found = f"found a row of shape {rows[wrong].shape} for sample {wrong}"
            if rows[wrong].ndim == 1:
                found += "; flat rows have no classes: give those as Boxes(..., classes=...), or a list of arrays (M, 5)"
            raise _error(dataset, source, f"{rule}, {found}")
        if len(widths) > 1:
            raise _error(dataset, source, f"{rule}, found boxes with a class and boxes without; give all of them one")
        may_have_classes = all(row.ndim == 1 and row.size % 5 == 0 for row in rows)
        width = widths.pop() if widths else 4
        counts = np.array([len(part) for part in parts], np.int64)
        boxes = np.concatenate([part.reshape(-1, width) for part in parts if part.size] or [np.empty((0, width))])
        boxes, counts = boxes.astype(np.float64), np.where([part.size > 0 for part in parts], counts, 0)
    if (are_infinite := np.isinf(boxes).any(axis=1)).any():
        sample = int(np.searchsorted(np.cumsum(counts), np.argmax(are_infinite), side="right"))
        raise _error(dataset, source, f"boxes must be finite, or NaN for none, found infinity for sample {sample}")
    return boxes, counts, may_have_classes


def _check_classes(
    dataset: Dataset, source: Source, classes: NDArray[np.float64], is_box: NDArray[np.bool_], owner: NDArray[np.int64]
) -> None:
    with np.errstate(invalid="ignore", over="ignore"):
        is_wrong = is_box & ~((classes >= 0) & (classes < 2**24 + 1))
    if is_wrong.any():
        first = int(np.argmax(is_wrong))
        rule = "classes of boxes must lie in 0..16777216, which float32 holds; -1 marks rows without a box"
        raise _error(dataset, source, f"{rule}, found {classes[first]:g} for a box of sample {owner[first]}")


def _classes(
    dataset: Dataset, source: Source, target: Boxes, counts: NDArray[np.int64], column: NDArray | None
) -> NDArray[np.float64]:
    argument = f"classes of Boxes in {source.argument}"
    own = named_source(target.classes, argument, dataset.paths) if isinstance(target.classes, str) else Source(argument)
    if column is not None:
        raise _error(dataset, source, "boxes have a class in the last column, so that Boxes(classes=) says it twice")
    rows = [row.reshape(-1) for row in _rows(dataset, own, target.classes)]
    if [len(row) for row in rows] != counts.tolist():
        sample = next(k for k, (row, n) in enumerate(zip(rows, counts.tolist(), strict=True)) if len(row) != n)
        found = f"found {len(rows[sample])} for the {counts[sample]} boxes of sample {sample}"
        raise _error(dataset, own, f"there must be a class for each box, {found}; for rows of boxes that are filled up, as well")
    return np.concatenate(rows).astype(np.float64)


def _points(dataset: Dataset, source: Source, target: Points) -> NDArray[np.float64]:
    rows = _rows(dataset, source, target.source)
    values = rows
    if isinstance(rows, np.ndarray) and rows.ndim == 2 and rows.shape[1] % 2 == 0:
        n, width = rows.shape
        if width % 3 == 0 and np.isin(rows[:, 2::3], (0, 1, 2)).all():
            found = f"every third number of the rows of {width} is 0, 1 or 2, like a visibility"
            shapes = f"({n}, {width // 3}, 3), or x and y as ({n}, {width // 2}, 2)"
            raise _error(dataset, source, f"flat rows of points are x and y, but {found}: pass an array of shape {shapes}")
        values = rows.reshape(n, -1, 2)
    if not isinstance(values, np.ndarray) or values.ndim != 3 or values.shape[2] not in (2, 3) or not values.size:
        found = f"{rows.dtype} {rows.shape}" if isinstance(rows, np.ndarray) else "rows of several lengths"
        rule = "points must have the shape (N, M, 2), (N, M, 3), or (N, 2 * M) for flat rows of x and y"
        if isinstance(rows, np.ndarray) and rows.ndim == 2 and rows.shape[1] and rows.shape[1] % 3 == 0:
            n, width = rows.shape
            found += f"; if these are x, y and a visibility, pass an array of shape ({n}, {width // 3}, 3)"
        raise _error(dataset, source, f"{rule}, found {found}")
    points = np.ones((*values.shape[:2], 3))
    points[:, :, : values.shape[2]] = values
    if np.isinf(points).any():
        raise _error(dataset, source, "points must be finite, or NaN for those that are not labelled, found infinity")
    if target.pairs and (most := max(map(max, target.pairs))) >= points.shape[1]:
        raise ValueError(f"pairs of Points must be numbers in 0..{points.shape[1] - 1}, got {most}")
    return points


def _from_edges_of_pixels(points: NDArray[np.float64], center: float) -> NDArray[np.float64]:
    """Return points with positions of which pixel k covers k..k+1, and 0 for those that are not labelled."""
    moved = points.copy()
    moved[:, :, :2] += 0.5 - center
    moved[np.isnan(points).any(axis=2)] = 0
    return moved


def _rows(dataset: Dataset, source: Source, given: Any) -> NDArray | list[NDArray]:
    """Return the rows of all samples: an array, or a list of arrays where they have several lengths."""
    if source.column is not None:
        return _stored_rows(dataset, source)
    n, argument = dataset.n_samples, source.argument
    check_unmasked(given, argument)
    try:
        if isinstance(given, list | tuple) and (len({np.shape(row) for row in given}) > 1 or not np.size(given)):
            rows: NDArray | list[NDArray] = [np.asarray(row) for row in given]
            others = [row.dtype for row in rows if row.dtype.kind not in "iufb"]
        else:
            rows = np.array(given)
            others = [] if rows.dtype.kind in "iufb" else [rows.dtype]
    except ValueError:
        rule = "must be numbers, an array for each image, all rows of which are of one length"
        raise ValueError(f"{argument} {rule}: found rows of several lengths for one image") from None
    if others:
        raise ValueError(f"{argument} must be numbers, or a dataset's name, got an array of {others[0]}")
    if len(rows) != n:
        raise ValueError(f"{argument} must have a row for each of the {n} images of the files, got {len(rows)}")
    return rows


def _stored_rows(dataset: Dataset, source: Source) -> NDArray | list[NDArray]:
    assert source.column is not None
    paths = source.files or tuple(dataset.paths)
    sizes = images_of_each(source.argument, "labels", len(paths), dataset.file_sizes)
    is_one = dataset.first_index.axes.n_axis is None and not dataset.first_index.members  # a file is a row
    parts = [read_rows(path, source.column, source.argument, n, is_one) for path, n in zip(paths, sizes, strict=True)]
    for path, n, part in zip(paths, sizes, parts, strict=True):
        if isinstance(part, np.ndarray):  # a row of variable length may be empty because nothing is in its image
            warn_of_unwritten_in(path, source.column, n, "labels")
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if len(arrays) == len(parts) and len({array.shape[1:] for array in arrays}) == 1:
        return np.concatenate(arrays)
    return [row for part in parts for row in part]


def _place(dataset: Dataset, source: Source) -> str:
    """Return what a warning calls a source: its argument, and the file and the dataset, if it is one."""
    if source.column is None:
        return source.argument
    return f"{(source.files or dataset.paths)[0]}, dataset {source.column!r}"


def _error(dataset: Dataset, source: Source, problem: str) -> ValueError:
    if source.column is None:
        return ValueError(f"{source.argument}: {problem}")
    return label_error(problem, source, dataset.paths)
