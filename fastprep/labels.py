"""What comes with the pictures: labels as they are or one-hot, and a weight for each sample."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fastprep.dataset import Dataset
from fastprep.h5 import DataError


def one_hot(dataset: Dataset, num_classes: int) -> NDArray[np.float32]:
    """Turn integer labels into rows with a single 1.

    Parameters
    ----------
    dataset : Dataset
    num_classes : int
        At least 2.

    Returns
    -------
    ndarray of float32, shape (N, num_classes)

    Raises
    ------
    ValueError
        If there are no labels.
    DataError
        If the labels are not integers 0..num_classes-1.
    """
    classes = _class_labels(dataset, "num_classes")
    if classes.min() < 0 or classes.max() >= num_classes:
        found = f"{classes.min()}..{classes.max()}"
        raise DataError(f"labels must lie in 0..{num_classes - 1} for num_classes={num_classes}, found {found}", dataset.paths[0])
    rows = np.zeros((len(classes), num_classes), np.float32)
    rows[np.arange(len(classes)), classes] = 1
    return rows


def sample_weights(dataset: Dataset, class_weight: Mapping[int, float]) -> NDArray[np.float32]:
    """Give each sample the weight of its class, 1 for classes that have none.

    Parameters
    ----------
    dataset : Dataset
    class_weight : mapping of int to float

    Returns
    -------
    ndarray of float32, shape (N,)

    Raises
    ------
    ValueError
        If there are no labels, or a weight is negative or not finite.
    DataError
        If the labels are not integers.
    """
    classes = _class_labels(dataset, "class_weight")
    weights = np.ones(len(classes), np.float32)
    for number, weight in class_weight.items():
        if not np.isfinite(weight) or weight < 0:
            raise ValueError(f"class_weight must be finite and not negative, got {weight!r} for class {number!r}")
        weights[classes == number] = weight
    return weights


def _class_labels(dataset: Dataset, purpose: str) -> NDArray[np.integer]:
    labels = dataset.labels
    if labels is None:
        raise ValueError(f"{purpose} needs labels, but labels=None")
    if labels.dtype.kind in "iu" and labels[:1].size == 1:
        return labels.reshape(-1)
    found = f"{labels.dtype} {labels.shape}"
    raise DataError(f"{purpose} needs integer labels, one for each picture, found {found}", dataset.paths[0])
