"""Targets in batches: masks, boxes and points that follow the transform table of their images."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprep._sink import Sink
from fastprep.dataset import BoxValues, Dataset, MaskValues, PointValues, map_outputs, outputs_of
from fastprep.kernels import CropSpec, MaskSpec, WarpSpec
from fastprep.pipeline.operation import sides_of
from fastprep.transforms import Augmentation, TransformTable

_log = logging.getLogger(__name__)


class Made(NamedTuple):
    """Masks of a batch in the making: where they go, and the sink that takes the masks of its samples."""

    out: NDArray
    sink: Sink


class MaskRows:
    """Masks as batches have them.

    Parameters
    ----------
    masks : MaskValues
    augmentation : Augmentation
    n_samples : int
    check_finite : bool
        Whether values that are not finite are an error.

    Attributes
    ----------
    dtype : dtype
    shape : tuple of int
        Of the rows of all samples.

    Raises
    ------
    ValueError
        If the type of the masks does not hold their fill.
    """

    def __init__(self, masks: MaskValues, augmentation: Augmentation, n_samples: int, check_finite: bool) -> None:
        self.masks = masks
        description, size = masks.description, augmentation.size
        arguments = masks.image_shape, masks.dtype
        self._spec: MaskSpec | CropSpec
        with np.errstate(over="ignore"):
            fill = np.asarray(description.fill, masks.dtype if masks.dtype.kind == "f" else np.float64)
        if check_finite and not np.isfinite(fill).all():
            rule = f"fill of a Mask must be finite in the masks' type, {masks.dtype}"
            raise ValueError(f"{rule}, got {description.fill}; check_finite=False lets NaN pass where masks are taken by pixel")
        if description.interpolation == "nearest":
            self._spec = MaskSpec(*arguments, size, description.fill or 0, masks.order, masks.has_sizes)
            self.dtype = masks.dtype
        else:
            self._spec = _bilinear(masks, augmentation, check_finite)
            self.dtype = self._spec.out_dtype
        self.row_shape = (*size, masks.image_shape[2]) if masks.has_channels else size
        self.shape = (n_samples, *self.row_shape)
        self._checks_finite = check_finite and self.dtype.kind == "f" and description.interpolation == "nearest"
        self._made_dtype, self._is_judged = self.dtype, False
        self._classes = None if description.classes is None else ClassNumbers(description.classes)
        if self._classes is not None:
            self.dtype = np.dtype(np.uint8)

    def begin(self, table: TransformTable, n_slots: int) -> Made:
        """Return where the masks of a batch go, and a sink for those of the samples in its slots."""
        table = dataclasses.replace(table, colors=None, erasures=None)
        out = np.empty((len(table), *self._spec.size, self.masks.image_shape[2]), self._made_dtype)
        return Made(out, self._spec.cpu_sink(table, n_slots, out))

    def first_not_finite(self, made: NDArray) -> int | None:
        """Return the number of the first mask of a batch with a value that is not finite, where that is an error."""
        # the sum is not finite then; or else, if it is only too large, all values are looked at
        if not self._checks_finite or np.isfinite(made.sum(dtype=np.float64)):
            return None
        is_finite = np.isfinite(made).reshape(len(made), -1).all(axis=1)
        return None if is_finite.all() else int(np.argmin(is_finite))

    def numbered(self, made: NDArray) -> tuple[NDArray, int | None, str]:
        """Return masks with the numbers of their classes, and the first mask with a number of no class, with what it has."""
        if self._classes is None:
            self._warn_of_black_and_white(made)
            return made, None, ""
        numbers, is_class = self._classes.of(made)
        if is_class.all():
            return numbers, None, ""
        place, classes = np.unravel_index(int(np.argmin(is_class)), is_class.shape), self.masks.description.classes
        return numbers, int(place[0]), f"its mask has {made[place]}, which is none of classes={classes}; name all that masks have"

    def _warn_of_black_and_white(self, made: NDArray) -> None:
        """Warn once of masks that a loss would take for those of class 0 and class 255."""
        if self._is_judged or not made.size:
            return
        self._is_judged = True
        if made.dtype == np.uint8 and np.array_equal(np.unique(made), (0, 255)):
            source = self.masks.description.source
            name = repr(source) if isinstance(source, str) else "array"
            _log.warning(
                "Mask(%s): the masks of a batch have 0 and 255 alone, and losses take numbers of classes from 0 on: "
                "Mask(%s, classes=(0, 255)) makes them 0 and 1; where 255 is to be ignored, the loss needs ignore_class=255",
                name,
                name,
            )

    def rows(self, made: NDArray) -> NDArray:
        """Return the masks of a batch in their shape."""
        return made.reshape(len(made), *self.row_shape)


class ClassNumbers:
    """Numbers that stand in masks, as numbers of classes from 0 on.

    Parameters
    ----------
    classes : sequence of float
        The number of each class in the masks.
    """

    def __init__(self, classes: Sequence[float]) -> None:
        values = np.asarray(classes)
        self._order = np.argsort(values).astype(np.uint8)
        self._sorted = values[self._order]
        self._of_bytes = self._find(np.arange(256))

    def of(self, made: NDArray) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Return the class of each number, and whether it is one."""
        if made.dtype != np.uint8:
            return self._find(made)
        numbers, is_class = self._of_bytes  # looked up, which is faster than a search
        return numbers[made], is_class[made]

    def _find(self, made: NDArray) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        places = np.searchsorted(self._sorted, made).clip(max=len(self._sorted) - 1)
        return self._order[places], self._sorted[places] == made


class MappedRows:
    """Boxes or points as batches have them.

    Parameters
    ----------
    values : BoxValues or PointValues
    augmentation : Augmentation
    n_samples : int

    Attributes
    ----------
    dtype : dtype
    shape : tuple of int
        Of the rows of all samples.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, values: BoxValues | PointValues, augmentation: Augmentation, n_samples: int) -> None:
        self.values, self._size = values, augmentation.size
        self.shape = (n_samples, *values.row_shape)

    def of_batch(self, samples: NDArray[np.int64], table: TransformTable) -> NDArray[np.float32]:
        """Return the boxes or points of a batch of these samples, one in each slot of the table."""
        return self.values.rows(samples, table, self._size)


def target_rows(labels: Any, augmentation: Augmentation, n_samples: int, check_finite: bool) -> Any:
    """Return the labels of a dataset as a source of batches takes them.

    Parameters
    ----------
    labels : ndarray, MaskValues, BoxValues or PointValues, a tuple or dict of such, or None
    augmentation : Augmentation
    n_samples : int
    check_finite : bool
        Whether masks with values that are not finite are an error.

    Returns
    -------
    ndarray, MaskRows or MappedRows, a tuple or dict of such, or None

    Raises
    ------
    ValueError
        If the type of masks does not hold their fill.
    """

    def rows_of(values: Any) -> Any:
        if isinstance(values, MaskValues):
            return MaskRows(values, augmentation, n_samples, check_finite)
        return MappedRows(values, augmentation, n_samples) if isinstance(values, BoxValues | PointValues) else values

    return None if labels is None else map_outputs(rows_of, labels)


class TargetBatch:
    """Targets of one batch: first the sinks of its masks, then the rows of all outputs.

    Parameters
    ----------
    labels : ndarray, MaskRows or MappedRows, a tuple or dict of such, or None
    table : TransformTable
    n_slots : int
        Number of samples.
    """

    def __init__(self, labels: Any, table: TransformTable, n_slots: int) -> None:
        self._table = table
        self._masks = [values for values in outputs_of(labels) if isinstance(values, MaskRows)]
        self._made = [masks.begin(table, n_slots) for masks in self._masks]
        self.sinks = [made.sink for made in self._made]

    def settle(self, dataset: Dataset, samples: NDArray[np.int64], first: int) -> None:
        """Check that masks of floats, which have been read, are finite, and give all masks the numbers of their classes.

        Parameters
        ----------
        dataset : Dataset
        samples : ndarray of int64, shape (n,)
            Samples that were read.
        first : int
            Number of the first mask among all that is read together.

        Raises
        ------
        NotFiniteError
            If one has NaN or infinity, and that is an error.
        DataError
            If one has a number that is none of its classes.
        """
        for number, (masks, made) in enumerate(zip(self._masks, self._made, strict=True)):
            if (row := masks.first_not_finite(made.out)) is not None:
                raise dataset.not_finite(int(samples[self._table.crops[row, 0]]), first + number)
            numbers, row, problem = masks.numbered(made.out)
            if row is not None:
                raise dataset.image_error(int(samples[self._table.crops[row, 0]]), problem, first + number)
            self._made[number] = made._replace(out=numbers)

    def of(self, values: MaskRows | MappedRows, samples: NDArray[np.int64]) -> NDArray:
        """Return the rows of an output for the samples that were read."""
        if isinstance(values, MappedRows):
            return values.of_batch(samples, self._table)
        if not len(samples):  # of a part of a batch that has none
            return np.empty((0, *values.row_shape), values.dtype)
        return values.rows(self._made[self._masks.index(values)].out)


def _bilinear(masks: MaskValues, augmentation: Augmentation, check_finite: bool) -> CropSpec:
    """Return the operation on masks that are resized as images are."""
    shape, own = masks.image_shape, augmentation.of_targets()
    height, width = sides_of(shape, masks.has_sizes)
    if not masks.has_sizes and not own.warps(height, width):
        return CropSpec(shape, masks.dtype.name, own.size, check_finite=check_finite, order=masks.order)
    return WarpSpec(
        shape,
        masks.dtype.name,
        own.size,
        check_finite=check_finite,
        order=masks.order,
        geometry=own.geometry(height, width),
        fill=masks.description.fill or 0,
        has_sizes=masks.has_sizes,
    )
