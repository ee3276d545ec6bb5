"""One-hot labels, and the weight of each sample."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprep.dataset.dataset import Dataset
from fastprep.errors import DataError
from fastprep.h5 import are_weights
from fastprep.sampling import check_integer
from fastprep.transforms import Crop

_ROWS = 4096


def one_hot(dataset: Dataset, num_classes: int) -> NDArray[np.float32]:
    """Turn integer labels into one-hot rows.

    Parameters
    ----------
    dataset : Dataset
    num_classes : int
        Number of classes, at least 2.

    Returns
    -------
    ndarray of float32, shape (N, num_classes)

    Raises
    ------
    ValueError
        If `num_classes` is not an integer of at least 2, or there are no labels.
    DataError
        If the labels are not integers 0..num_classes-1.
    """
    check_integer("num_classes", num_classes, 2)
    classes = _class_labels(dataset, "num_classes")
    wrong = (classes < 0) | (classes >= num_classes)
    if wrong.any():
        sample = int(np.argmax(wrong))
        problem = f"labels must lie in 0..{num_classes - 1} for num_classes={num_classes}, found {classes[sample]}"
        raise DataError(problem, dataset.path_of(sample), sample=sample)
    rows = np.zeros((len(classes), num_classes), np.float32)
    rows[np.arange(len(classes)), classes] = 1
    return rows


def sample_weights(
    dataset: Dataset, class_weight: Mapping[int, float] | None, sample_weight: ArrayLike | str | None
) -> NDArray[np.float32] | None:
    """Return the weight of each sample: its own, that of its class, or the product of both.

    Parameters
    ----------
    dataset : Dataset
    class_weight : mapping of int to float, or None
        Weight of each class; 1 for a class that is not named.
    sample_weight : array_like of shape (N,), str or None
        Weights, or the name of the dataset of weights that `dataset` has read.

    Returns
    -------
    ndarray of float32, shape (N,), or None
        None if neither is given.

    Raises
    ------
    ValueError
        If there are no labels, if a key is not a label that occurs, if the number of weights is not that of samples, or if a
        weight is negative or not finite.
    DataError
        If classes have weights, but labels are not integers.
    """
    by_class = None if class_weight is None else _class_weights(dataset, class_weight)
    if sample_weight is None:
        return by_class
    if dataset.labels is None:
        raise ValueError("sample_weight needs labels, but labels=None")
    own = dataset.weights if isinstance(sample_weight, str) else _checked(sample_weight, dataset.n_samples)
    weights = np.asarray(own, np.float32)
    if by_class is None:
        return weights
    with np.errstate(over="ignore"):
        weights = weights * by_class
    if not np.isfinite(weights).all():
        sample = int(np.argmin(np.isfinite(weights)))
        raise ValueError(f"sample_weight times class_weight must be finite as float32, which it is not for sample {sample}")
    return weights


def check_labels_finite(dataset: Dataset) -> None:
    """Check that labels are finite.

    Parameters
    ----------
    dataset : Dataset

    Raises
    ------
    DataError
        If a label has NaN or infinity.
    """
    labels = dataset.labels
    if labels is None or labels.dtype.kind != "f":
        return
    for first in range(0, len(labels), _ROWS):  # in parts, because a mask of all of them may be large
        part = labels[first : first + _ROWS]
        if not np.isfinite(part).all():
            sample = first + int(np.argmin(np.isfinite(part).reshape(len(part), -1).all(axis=1)))
            problem = "its label has NaN or infinity; mend the file, or pass check_finite=False to get such labels"
            raise dataset.error_of(sample, problem)


def check_no_masks(dataset: Dataset, crop: Crop) -> None:
    """Check that labels are not masks which would have to be cropped and mirrored with their images.

    Parameters
    ----------
    dataset : Dataset
    crop : Crop

    Raises
    ------
    DataError
        If labels have the height and width of the images, and the crop is not the whole image as it is.
    """
    sides, labels = dataset.image_shape[:2], dataset.labels
    if labels is None or sides not in zip(labels.shape[1:], labels.shape[2:], strict=False) or _keeps_images(crop, *sides):
        return
    height, width = sides
    raise DataError(
        f"labels have the shape {labels.shape}, with the height and width of the images, {height}x{width}, like masks; {crop} "
        "would crop or mirror the images, but not them. crop=None takes both whole; or cut images and masks to size beforehand",
        dataset.paths[0],
        dataset.labels_name,
    )


def _keeps_images(crop: Crop, height: int, width: int) -> bool:
    """Tell whether a crop is the whole image as it is, for any of so many draws that no chance of mirroring is missed."""
    if crop.n_crops != 1 or crop.height_width != (height, width):
        return False
    return not crop.table(height, width, np.arange(256, dtype=np.int64), 0, 0)[:, 1:].any()


def _checked(sample_weight: ArrayLike, n_samples: int) -> NDArray:
    weights = np.asarray(sample_weight)
    if weights.dtype.kind not in "iufb" or weights.shape != (n_samples,):
        rule = f"sample_weight must be a dataset's name, or {n_samples} numbers, one for each sample"
        raise ValueError(f"{rule}, got {weights.dtype} {weights.shape}")
    if (wrong := ~are_weights(weights)).any():
        sample = int(np.argmax(wrong))
        raise ValueError(f"sample_weight must not be negative, and finite as float32, got {weights[sample]} for sample {sample}")
    return weights


def _class_weights(dataset: Dataset, class_weight: Mapping[int, float]) -> NDArray[np.float32]:
    classes = _class_labels(dataset, "class_weight")
    if not isinstance(class_weight, Mapping):
        raise ValueError(f"class_weight must map labels to weights, got {class_weight!r}")
    weights = np.ones(len(classes), np.float32)
    for number, weight in class_weight.items():
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or not (members := classes == number).any():
            raise ValueError(f"class_weight must have labels that occur for its keys, got {number!r}")
        if not isinstance(weight, int | float | np.number) or not np.isfinite(weight) or not 0 <= weight < 2.0**128:
            raise ValueError(f"class_weight must be finite as float32 and not negative, got {weight!r} for class {number!r}")
        weights[members] = weight
    return weights


def _class_labels(dataset: Dataset, purpose: str) -> NDArray[np.integer]:
    labels = dataset.labels
    if labels is None:
        raise ValueError(f"{purpose} needs labels, but labels=None")
    if labels.dtype.kind in "iu" and labels[:1].size == 1:
        return labels.reshape(-1)
    found = f"{labels.dtype} {labels.shape}"
    raise DataError(f"{purpose} needs integer labels, one for each image, found {found}", dataset.paths[0])
