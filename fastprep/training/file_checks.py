"""Checks that a file has labels of classes, and that it fits the file that a network was trained on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.dataset import Output, class_numbers, describe_not_classes
from fastprep.errors import InputError
from fastprep.loader import Loader


def check_labels(loader: Loader, hint: str = "", class_names: Sequence[str] = ()) -> NDArray[np.integer]:
    """Return the classes of all images, and check that there is one for each.

    Parameters
    ----------
    loader : Loader
    hint : str
        End of the message if there is not.
    class_names : sequence of str
        Names of the classes of training, by which labels that are texts are numbered; empty for the loader's own numbers.

    Returns
    -------
    ndarray of int, shape (N,)
        All 0 or greater.

    Raises
    ------
    InputError
        If there are no labels, or they are not one class for each image, or negative, or texts that training did not know.
    """
    output = loader._dataset.outputs
    labels = None if not isinstance(output, Output) else class_numbers(output.values)
    if labels is None:
        if not isinstance(output, Output):
            found = "none" if output is None else "several outputs"
        else:
            found = describe_not_classes(output.values)
            if output.values.ndim > 2:
                found += "; masks, boxes and points are for Python, fastprep.Loader(..., labels=fastprep.Mask(...))"
        raise InputError(f"{name_file(loader)}: labels must be one integer for each image, found {found}{hint}")
    if labels.min() < 0:
        raise InputError(f"{name_file(loader)}: labels must be 0 and up, found {labels.min()}")
    if isinstance(output, Output) and output.are_texts and class_names:
        return _renumbered(labels, output.class_names, class_names, name_file(loader))
    return labels


def has_class_numbers(loader: Loader) -> bool:
    """Tell whether the labels of a loader are the numbers of classes as they are, so that no other form has to be handed on."""
    output = loader._dataset.outputs
    return not output.are_texts and output.values.dtype.kind in "iu" and output.values[:1].size == 1


def _renumbered(labels: NDArray[np.integer], names: Sequence[str], class_names: Sequence[str], file: str) -> NDArray[np.integer]:
    """Return classes by the numbers that training gave to their names."""
    if unknown := [name for name in names if name not in class_names]:
        raise InputError(f"{file}: label {unknown[0]!r} is not among the classes of training: {join_some(class_names)}")
    return np.array([list(class_names).index(name) for name in names], np.int64)[labels]


def check_highest_label(labels: NDArray[np.integer], n_classes: int, file: str, classes: str) -> None:
    """Check that all labels are below the number of classes.

    Parameters
    ----------
    labels : ndarray of int
    n_classes : int
    file : str
        File of the labels, for the message.
    classes : str
        What the number counts, such as "classes of training".

    Raises
    ------
    InputError
        If a label is too large.
    """
    if (highest := int(labels.max())) >= n_classes:
        raise InputError(f"{file}: label {highest} is not among the {n_classes} {classes}")


def check_metadata(loader: Loader, class_names: Sequence[str] | None, channel_order: str | None, channels: int | None) -> None:
    """Check that a file names the same classes and channels as training, where both name them.

    Parameters
    ----------
    loader : Loader
    class_names : sequence of str, or None
        Names of the classes of training; None or empty if it has none.
    channel_order : str or None
        Channel order of training, such as "RGB"; None if it is not known.
    channels : int or None
        Number of channels of training; None if it is not known.

    Raises
    ------
    InputError
        If they differ.
    """
    if channels is not None and loader.output_shape[2] != channels:
        raise InputError(f"{name_file(loader)}: images have {loader.output_shape[2]} channels; training had {channels}")
    if None not in (loader.channel_order, channel_order) and loader.channel_order != channel_order:
        raise InputError(f"{name_file(loader)}: channel_order is {loader.channel_order!r}; training had {channel_order!r}")
    are_texts = getattr(loader._dataset.outputs, "are_texts", False)  # numbered by the names of training, see `check_labels`
    if loader.class_names and class_names and not are_texts and loader.class_names != tuple(class_names):
        found, trained = join_some(loader.class_names), join_some(class_names)
        raise InputError(f"{name_file(loader)}: class_names are {found}; training had {trained}")


def name_file(loader: Loader) -> str:
    """Return the beginning of a message about the first file of a loader."""
    return f"file {loader.files[0]!r}"


def join_some(values: Iterable[Any]) -> str:
    """Join values by commas, eight at most."""
    texts = [str(value) for value in values]
    return ", ".join(texts if len(texts) <= 8 else [*texts[:7], "..."])
