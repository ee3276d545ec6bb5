"""Labels as batches have them, one-hot or as they are stored, and the weight of each sample; for each output of a network."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.dataset.classes import Output, class_numbers, describe_not_classes, label_rows
from fastprep.dataset.dataset import Dataset
from fastprep.dataset.label_errors import label_error
from fastprep.dataset.label_files import is_of_other_file
from fastprep.dataset.label_sources import names_of_columns
from fastprep.dataset.masks import MaskValues
from fastprep.dataset.nested import by_output, map_outputs, names_of, outputs_of
from fastprep.sampling import check_integer
from fastprep.transforms import Augmentation, geometry_of

_ROWS = 4096


def one_hot(dataset: Dataset, num_classes: Any) -> Any:
    """Turn labels of classes into one-hot rows.

    Parameters
    ----------
    dataset : Dataset
    num_classes : int, or int or None for each output
        Number of classes, at least 2. None leaves the labels of an output as they are.

    Returns
    -------
    ndarray of float32, shape (N, num_classes)
        In the structure of the labels. Rows of 0 and 1 that have this length already stay rows.

    Raises
    ------
    ValueError
        If `num_classes` is not an integer of at least 2, or there are no labels.
    DataError
        If the labels are not classes 0..num_classes-1.
    """
    wanted = _for_each(dataset, num_classes, "num_classes", None)
    return map_outputs(
        lambda output, number, name: output.labels if number is None else _one_hot(dataset, output, number, name),
        dataset.outputs,
        wanted,
        names_of(dataset.outputs, "num_classes"),
    )


def _one_hot(dataset: Dataset, output: Output, num_classes: int, argument: str) -> NDArray[np.float32]:
    check_integer(argument, num_classes, 2)
    _check_no_target(output, argument)
    rows = label_rows(output.values)
    if rows is not None and rows.shape[1] == num_classes:
        return rows.astype(np.float32)
    classes = _class_labels(dataset, output, argument)
    wrong = (classes < 0) | (classes >= num_classes)
    if wrong.any():
        sample = int(np.argmax(wrong))
        problem = f"labels must lie in 0..{num_classes - 1} for {argument}={num_classes}, found {classes[sample]}"
        raise dataset.error_of(sample, problem, output.source)
    one_hot_rows = np.zeros((len(classes), num_classes), np.float32)
    one_hot_rows[np.arange(len(classes)), classes] = 1
    return one_hot_rows


def sample_weights(dataset: Dataset, class_weight: Any, has_sample_weight: bool) -> Any:
    """Return the weight of each sample: its own, that of its class, or the product of both.

    Parameters
    ----------
    dataset : Dataset
        It has read the weights of the samples themselves.
    class_weight : mapping of int or str to float, such a mapping for each output, or None
        Weight of each class; 1 for a class that is not named.
    has_sample_weight : bool
        Whether samples have weights of their own.

    Returns
    -------
    ndarray of float32, shape (N,), (N, 1) or (N, 1, ..., 1), in the structure of the labels, or None
        None if neither is given. For masks (N, 1, 1), and for boxes and points (N, 1), because losses have as many axes and would
        be multiplied along another one. For other labels with more than two axes, as many axes as these.

    Raises
    ------
    ValueError
        If there are no labels, if a key is not a label that occurs, if a weight is negative or not finite, or if all are 0.
    DataError
        If classes have weights, but labels are not classes.
    """
    if class_weight is None and not has_sample_weight:
        return None
    if dataset.outputs is None:
        raise ValueError(f"{'sample_weight' if class_weight is None else 'class_weight'} needs labels, but labels=None")
    by_class = _for_each(dataset, class_weight, "class_weight", None)
    own = dataset.weights if dataset.weights is not None else map_outputs(lambda output: None, dataset.outputs)
    weights = map_outputs(
        lambda output, weights, values, name: _in_axes(output, _weights(dataset, output, weights, values, name)),
        dataset.outputs,
        by_class,
        own,
        names_of(dataset.outputs, "class_weight"),
    )
    if not any(part.any() for part in outputs_of(weights)):
        names = " times ".join(["sample_weight"] * has_sample_weight + ["class_weight"] * (class_weight is not None))
        raise ValueError(f"{names} must give a sample a weight above 0, got 0 for all of them")
    return weights


def _in_axes(output: Output, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the weights of the samples with the axes that losses of an output have."""
    if output.target is not None:
        n_axes = 2 if isinstance(output.target, MaskValues) else 1
    else:
        n_axes = output.values.ndim - 1 if output.values.ndim > 2 else 0
    return weights.reshape(len(weights), *(1,) * n_axes)


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
    for output in outputs_of(dataset.outputs):
        _check_finite(dataset, output)


def _check_finite(dataset: Dataset, output: Output) -> None:
    labels = output.values
    if labels.dtype.kind != "f":
        return
    for first in range(0, len(labels), _ROWS):  # in parts, because a mask of all of them may be large
        part = labels[first : first + _ROWS]
        if not np.isfinite(part).all():
            sample = first + int(np.argmin(np.isfinite(part).reshape(len(part), -1).all(axis=1)))
            problem = "its label has NaN or infinity; mend the file, or pass check_finite=False to get such labels"
            raise dataset.error_of(sample, problem, output.source)


def check_masks(dataset: Dataset, labels: Any, augmentation: Augmentation) -> None:
    """Check that labels are not masks which would have to be turned, cropped or mirrored with their images.

    Parameters
    ----------
    dataset : Dataset
    labels : object
        The argument of this name of a loader.
    augmentation : Augmentation

    Raises
    ------
    DataError
        If labels have the width and height of images that are stored so, and turned; or height and width, and the crop is not
        the whole image as it is, or a policy moves its pixels.
    """
    _check_not_turned(dataset, labels)
    sides = dataset.image_shape[:2]
    for output in outputs_of(dataset.outputs):
        shape = output.values.shape
        if sides in itertools.pairwise(shape[1:]) and (change := _change_of_images(augmentation, *sides)):
            height, width = sides
            problem = (
                f"labels have the shape {shape}, with the height and width of the images, {height}x{width}, like masks; "
                f"{change}. labels=Mask(...) has them follow their images; or crop=None, and no operations of a policy but "
                "colours, takes both whole"
            )
            raise label_error(problem, output.source, dataset.paths)


def _check_not_turned(dataset: Dataset, labels: Any) -> None:
    """Check that no labels lie beside images as these are stored, while the images are turned. What arrays hold was chosen."""
    names = outputs_of(names_of_columns(labels))
    if dataset.order.index("H") < dataset.order.index("W"):
        return
    height, width = dataset.image_shape[:2]
    for name, output in zip(names, outputs_of(dataset.outputs), strict=False):
        shape = output.values.shape
        is_turned = name is not None and (width, height) in itertools.pairwise(shape[1:])
        if is_turned and (height != width or not is_of_other_file(name)):
            problem = (
                f"labels have the shape {shape}, like masks with the width and height of the images in the file, whose axes the "
                f"loader turns to {height}x{width}; labels stay as they are stored, so turn them, too: pass an array, such as "
                "labels=masks.swapaxes(1, 2)"
            )
            raise label_error(problem, output.source, dataset.paths)


def _change_of_images(augmentation: Augmentation, height: int, width: int) -> str:
    """Return what moves pixels, in any of so many draws that no chance of mirroring is missed; empty if images stay whole."""
    crop, policy = augmentation.crop, augmentation.policy
    if policy is not None and policy.has_geometry:
        return f"{policy} would turn and shift the images, but not them"
    is_whole = crop.n_crops == 1 and crop.height_width == (height, width) and geometry_of(crop, height, width) == "crop"
    if is_whole and not crop.table(height, width, np.arange(256, dtype=np.int64), 0, 0)[:, 1:].any():
        return ""
    return f"{crop} would crop or mirror the images, but not them"


def _for_each(dataset: Dataset, values: Any, argument: str, default: Any) -> Any:
    """Return what an argument says of each output, in the structure of the labels."""
    if dataset.outputs is None:
        raise ValueError(f"{argument} needs labels, but labels=None")
    wanted = by_output(values, dataset.outputs, argument, default) if values is not None else None
    return map_outputs(lambda output: values, dataset.outputs) if wanted is None else wanted


def _weights(
    dataset: Dataset, output: Output, class_weight: Mapping[Any, float] | None, own: NDArray | None, argument: str
) -> NDArray[np.float32]:
    by_class = None if class_weight is None else _class_weights(dataset, output, class_weight, argument)
    if own is None:
        return np.ones(len(output.values), np.float32) if by_class is None else by_class
    weights = np.asarray(own, np.float32)
    if by_class is None:
        return weights
    with np.errstate(over="ignore"):
        weights = weights * by_class
    if not np.isfinite(weights).all():
        sample = int(np.argmin(np.isfinite(weights)))
        raise ValueError(f"sample_weight times {argument} must be finite as float32, which it is not for sample {sample}")
    return weights


def balanced_weights(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the weight of each class that has samples, by their numbers: as scikit-learn's class_weight="balanced"."""
    return counts.sum() / (len(counts) * counts)


def _class_weights(dataset: Dataset, output: Output, class_weight: Mapping[Any, float], argument: str) -> NDArray[np.float32]:
    _check_no_target(output, argument)
    classes = _class_labels(dataset, output, argument)
    if isinstance(class_weight, str) and class_weight == "balanced":
        counts = np.unique_counts(classes)
        return balanced_weights(counts.counts)[np.searchsorted(counts.values, classes)].astype(np.float32)
    if not isinstance(class_weight, Mapping):
        raise ValueError(f'{argument} must map labels to weights, or be "balanced", got {class_weight!r}')
    weights, named = np.ones(len(classes), np.float32), dict[int, Any]()
    for key, weight in class_weight.items():
        number = output.class_names.index(key) if isinstance(key, str) and key in output.class_names else key
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or not (members := classes == number).any():
            raise ValueError(f"{argument} must have labels that occur for its keys, got {key!r}")
        if int(number) in named:
            raise ValueError(f"{argument} must name each class once, got {named[int(number)]!r} and {key!r}, which are one class")
        named[int(number)] = key
        if not isinstance(weight, int | float | np.number) or not np.isfinite(weight) or not 0 <= weight < 2.0**128:
            raise ValueError(f"{argument} must be finite as float32 and not negative, got {weight!r} for class {key!r}")
        weights[members] = weight
    return weights


def _check_no_target(output: Output, argument: str) -> None:
    """Check that an argument about one class for each image is not for masks, boxes or points."""
    if output.target is None:
        return
    kind, (name, _, of_output) = type(output.target.description).__name__, argument.partition("[")
    if of_output:
        way_out = f"name the other outputs alone, as in {name}={{...}}"
    elif name == "class_weight":
        way_out = "leave it out; weight the classes in the loss, or the samples by sample_weight="
    elif kind == "Mask":
        way_out = "leave it out; a loss such as SparseCategoricalCrossentropy takes masks of class numbers as they are"
    else:
        way_out = "leave it out"
    raise ValueError(f"{argument} is for labels of one class for each image, and these are {kind}: {way_out}")


def _class_labels(dataset: Dataset, output: Output, purpose: str) -> NDArray[np.integer]:
    classes = class_numbers(output.values)
    if classes is None:
        rule = f"{purpose} needs integer labels, one for each image, or texts, or one-hot rows"
        raise label_error(f"{rule}, found {describe_not_classes(output.values)}", output.source, dataset.paths)
    return classes
