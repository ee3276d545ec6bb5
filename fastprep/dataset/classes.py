"""Classes of labels: texts as numbers, and the class that labels of any form say of each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fastprep.dataset.label_sources import Source
    from fastprep.dataset.targets import TargetValues

_ROWS = 4096
_MOST_WHOLE = 2**53  # up to which every whole number is a float64


@dataclass(frozen=True, eq=False)
class Output:
    """Labels of all samples for one output of a network.

    Attributes
    ----------
    values : ndarray, shape (N, ...)
        Numbers; for texts, the number of each one's class, int64. Of shape (N, 0) for a target.
    class_names : tuple of str
        Names of the classes in the order of their numbers; empty if they are not known.
    are_texts : bool
        Whether the labels are texts.
    source : Source or None
        Where they come from, for errors; without the array, if it is one.
    target : TargetValues or None
        What follows the geometry of the images: masks, boxes or points.
    """

    values: NDArray
    class_names: tuple[str, ...] = ()
    are_texts: bool = False
    source: Source | None = None
    target: TargetValues | None = None

    @property
    def labels(self) -> NDArray | TargetValues:
        """Values, or the target that stands for them."""
        return self.values if self.target is None else self.target

    def take(self, rows: NDArray[np.int64]) -> Output:
        """Return the labels of some samples, by their numbers."""
        target = None if self.target is None else self.target.take(rows)
        return replace(self, values=self.values[rows], target=target)


class WrongTextError(ValueError):
    """A text that is not the name of a class.

    Attributes
    ----------
    problem : str
    sample : int
    """

    def __init__(self, problem: str, sample: int) -> None:
        super().__init__(problem)
        self.problem, self.sample = problem, sample


def check_class_names(class_names: object) -> tuple[str, ...]:
    """Return names of classes as a tuple.

    Raises
    ------
    ValueError
        If they are not texts, or one of them comes twice.
    """
    names = tuple(class_names) if isinstance(class_names, Sequence) and not isinstance(class_names, str) else ()
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError(f"class_names must be a list of different texts, got {class_names!r:.200}")
    return names


def number_texts(texts: NDArray, class_names: Sequence[str], argument: str) -> Output:
    """Number the classes that texts name.

    Parameters
    ----------
    texts : ndarray of object, shape (N,)
    class_names : sequence of str
        Names in the order of their numbers; empty for the texts that occur, sorted.
    argument : str
        What errors call the labels.

    Returns
    -------
    Output

    Raises
    ------
    WrongTextError
        If a text is not among the names, or is empty.
    ValueError
        If there are several for each image.
    """
    if texts.ndim != 1:
        raise ValueError(f"{argument}: there must be one text for each image, found {texts.shape}")
    found, numbers = np.unique(texts.astype(str), return_inverse=True)
    numbers = numbers.reshape(-1)
    if not class_names:
        if found[0] == "":
            problem = (
                "its label is an empty text, as of one that was never written; class_names=[...] with '' takes it for a class"
            )
            raise WrongTextError(problem, int(np.argmin(numbers)))
        return Output(numbers.astype(np.int64), tuple(found.tolist()), True)
    places = {name: k for k, name in enumerate(class_names)}
    for k, text in enumerate(found.tolist()):
        if text not in places:
            names = ", ".join(list(class_names)[:8]) + ", ..." * (len(class_names) > 8)
            raise WrongTextError(f"its label, {text!r}, is not among class_names: {names}", int(np.argmax(numbers == k)))
    order = np.array([places[text] for text in found.tolist()], np.int64)
    return Output(order[numbers], tuple(class_names), True)


def class_numbers(values: NDArray) -> NDArray[np.integer] | None:
    """Return the number of each image's class.

    Parameters
    ----------
    values : ndarray, shape (N, ...)

    Returns
    -------
    ndarray of int, shape (N,), or None
        Integers as they are; floats if all of them are whole; the place of the 1 in each of one-hot rows. None for anything
        else: numbers to predict, rows with several labels, masks.
    """
    if values[:1].size == 1:
        if values.dtype.kind in "iu":
            return values.reshape(-1)
        return _as_whole(values.reshape(-1))
    rows = label_rows(values)
    if rows is None or not all((part.sum(axis=1) == 1).all() for part in _parts(rows)):
        return None
    return np.concatenate([part.argmax(axis=1) for part in _parts(rows)])


def label_rows(values: NDArray) -> NDArray | None:
    """Return labels as rows of 0 and 1, one column for each class; None if they are anything else.

    Parameters
    ----------
    values : ndarray, shape (N, ...)

    Returns
    -------
    ndarray, shape (N, K), or None
        K is 2 or more.
    """
    long_sides = [side for side in values.shape[1:] if side != 1]
    if len(long_sides) != 1 or len(values) == 0:
        return None
    rows = values.reshape(len(values), -1)
    return rows if all(((part == 0) | (part == 1)).all() for part in _parts(rows)) else None


def describe_not_classes(values: NDArray) -> str:
    """Return why labels are not one class for each image, in words."""
    found = f"{values.dtype} {values.shape}"
    if values.dtype.kind == "f" and values[:1].size == 1:
        flat = values.reshape(-1)
        sample = int(np.argmax(flat != np.rint(flat)))
        return f"{found}, {flat[sample]} for sample {sample}: numbers to predict, as they are not whole"
    if label_rows(values) is not None:
        return f"{found}, rows with several labels, or none, for an image"
    return found


def _as_whole(values: NDArray) -> NDArray[np.int64] | None:
    if values.dtype.kind != "f" or not np.isfinite(values).all() or (np.abs(values) > _MOST_WHOLE).any():
        return None
    whole = values.astype(np.int64)
    return whole if (whole == values).all() else None


def _parts(rows: NDArray) -> list[NDArray]:
    """Return rows in parts, because a mask of all of them may be large."""
    return [rows[first : first + _ROWS] for first in range(0, len(rows), _ROWS)]
