"""Labels of several classes an image: when labels are such, and what holds for them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from fastprep.dataset import Output, label_rows
from fastprep.errors import InputError
from fastprep.loader import Loader
from fastprep.training.config import Config
from fastprep.training.file_checks import name_file

_ROWS = 4096
_OPTION = "--labels-per-image"


def settled(config: Config, loader: Loader) -> Config:
    """Return a configuration that says whether images have one label or several, by the labels of the training file.

    Parameters
    ----------
    config : Config
    loader : Loader
        All of the training file, because a part of it may by chance have one label for each image.

    Raises
    ------
    InputError
        If the labels leave it open, or an option does not suit what they are.
    """
    wanted = config.labels_per_image
    if wanted == "auto":
        wanted = "several" if has_several(loader) else "one"
    config = dataclasses.replace(config, labels_per_image=wanted)
    where = f"{name_file(loader)}: images have several labels"
    if config.several and config.class_weight != "none":
        raise InputError(f"--class-weight is for one class an image; {where}: say --sample-weight NAME to weight images")
    if config.several and config.sampling == "balanced":
        raise InputError(f"--sampling balanced is for one class an image; {where}: say --sampling NAME for weights of images")
    if not config.several and config.monitor == "auc":
        raise InputError("--monitor auc is for several labels an image: say accuracy or loss")
    return config


def has_several(loader: Loader) -> bool:
    """Tell whether labels are rows of 0 and 1 with several labels for some image.

    Raises
    ------
    InputError
        If no row has more than one 1, and some have none: these may be images without a label, or mistakes in one-hot rows.
    """
    output = loader._dataset.outputs
    rows = label_rows(output.values) if isinstance(output, Output) and not output.are_texts else None
    if rows is None:
        return False
    sums = _sums(rows)
    if sums.max() == 1 and sums.min() == 0:  # if there is no 1 at all, labels were never written
        raise InputError(
            f"{name_file(loader)}: labels are rows of 0 and 1, no image has several, and {int((sums == 0).sum())} have none, "
            f"the first of them sample {int(np.argmin(sums))}: mend one-hot rows, or say {_OPTION} several"
        )
    return bool(sums.max() > 1)


def hint_at_several(loader: Loader) -> str:
    """Return the end of the message about labels that are not one class an image: what to say if they are several."""
    output = loader._dataset.outputs
    are_rows = isinstance(output, Output) and not output.are_texts and label_rows(output.values) is not None
    return f"; the labels of training are one class an image: {_OPTION} several takes both for several labels" if are_rows else ""


def check_rows(loader: Loader, n_classes: int | None = None, hint: str = "") -> NDArray:
    """Return labels as rows of 0 and 1, and check that they are.

    Parameters
    ----------
    loader : Loader
    n_classes : int or None
        Number of the columns that there must be; None for any.
    hint : str
        End of the message if they are not.

    Returns
    -------
    ndarray, shape (N, classes)

    Raises
    ------
    InputError
        If they are not.
    """
    output = loader._dataset.outputs
    columns = "a column for each class" if n_classes is None else f"{n_classes} columns, one for each class of training"
    rule = f"{name_file(loader)}: with several labels an image, labels must be rows of 0 and 1 with {columns}"
    if not isinstance(output, Output) or output.are_texts:
        found = "none" if output is None else "texts" if isinstance(output, Output) else "several outputs"
        raise InputError(f"{rule}, found {found}{hint}")
    rows = label_rows(output.values)
    if rows is None or n_classes not in (None, rows.shape[1]):
        raise InputError(f"{rule}, found {_describe(output.values)}{hint}")
    return rows


def count_rows(config: Config, loader: Loader) -> NDArray[np.int64]:
    """Return the number of training images with each label.

    Raises
    ------
    InputError
        If the labels are not rows, or differ in number from the names of classes, or from `--classes`.
    """
    rows = check_rows(loader)
    n_classes = rows.shape[1]
    if not rows.any():
        raise InputError(f"{name_file(loader)}: labels are zeros, as if they were never written: no image has any")
    if config.classes not in (None, n_classes):
        raise InputError(
            f"--classes {config.classes}: labels of {loader.files[0]!r} have {n_classes} columns, one for each class"
        )
    if loader.class_names and len(loader.class_names) != n_classes:
        problem = f"class_names has {len(loader.class_names)} names, and labels have {n_classes} columns"
        raise InputError(f"{name_file(loader)}: {problem}; mend one of them")
    return counts_of(rows)


def counts_of(rows: NDArray) -> NDArray[np.int64]:
    """Return the number of images with each label."""
    return rows.sum(axis=0, dtype=np.int64)


def label_sets(rows: NDArray, least: float) -> NDArray[np.int64]:
    """Number the sets of labels that images have, to stratify by; sets of fewer images than `least` share one number."""
    _, numbers, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    numbers = numbers.reshape(-1)
    return np.where(counts[numbers] < math.ceil(least), len(counts), numbers)


def notes_on_labels(counts: NDArray[np.int64], n_images: int, word: str, names: tuple[str, ...]) -> list[str]:
    """Return remarks about labels that no image has, or every image; `word` says which images."""
    notes = []
    for found, text in ((counts == 0, f"no {word} image has"), (counts == n_images, f"every {word} image has")):
        labels = [names[k] if names else str(k) for k in np.flatnonzero(found)]
        if labels:
            notes.append(f"{text} the label{'s' * (len(labels) > 1)} {', '.join(labels[:8])}{', ...' * (len(labels) > 8)}")
    return notes


def _sums(rows: NDArray) -> NDArray[np.int64]:
    parts = (rows[first : first + _ROWS] for first in range(0, len(rows), _ROWS))
    return np.concatenate([part.sum(axis=1, dtype=np.int64) for part in parts])


def _describe(values: NDArray) -> str:
    found = f"{values.dtype} {values.shape}"
    if label_rows(values) is None and values[:1].size > 1:
        for first in range(0, len(values), _ROWS):
            part = values[first : first + _ROWS]
            wrong = (part != 0) & (part != 1)
            if wrong.any():
                place = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
                return f"{found} with {part[place]} for sample {first + int(place[0])}"
    return found
