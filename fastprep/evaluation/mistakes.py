"""The mistakes of a network that it was surest of, and where there are no labels what it was least sure of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprep.evaluation import several_labels

MOST = 24
_FEW = 3  # decisions, and labels, of an image that are named


class Claim(NamedTuple):
    """A class of an image, and the probability that the network gives it.

    Attributes
    ----------
    what : str
        "label", "predicted" or "missed".
    number : int
        Class.
    probability : float
    """

    what: str
    number: int
    probability: float


class Mistake(NamedTuple):
    """An image that is not right, or not certain.

    Attributes
    ----------
    row : int
        Its place among the images of the evaluation.
    claims : list of Claim
    """

    row: int
    claims: list[Claim]


def worst_mistakes(
    rows: NDArray[np.float64], labels: NDArray[np.integer], *, several: bool, most: int = MOST
) -> tuple[list[Mistake], int]:
    """Return the worst mistakes, the worst one first, and how many images are not right.

    Parameters
    ----------
    rows : ndarray of float64, shape (N, classes)
        Probabilities.
    labels : ndarray of int, shape (N,), or with several labels an image (N, classes)
    several : bool
        Whether images have several labels.
    most : int
        Number of mistakes, at most.

    Returns
    -------
    list of Mistake
        Images with one class whose label has the lowest probabilities; with several labels an image, those with the decision that
        is furthest from its label. Equal ones in the order of the file.
    int
    """
    if several:
        errors = np.where(several_labels.decided(rows, labels), 0.0, np.abs(rows - (labels != 0)))
        largest = errors.max(axis=1)
        wrong = np.flatnonzero(largest > 0)
        worst = wrong[np.argsort(-largest[wrong], kind="stable")][:most]
        return [Mistake(k, _decisions(rows[k], labels[k], errors[k])) for k in worst.tolist()], len(wrong)
    predicted = rows.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(rows[wrong, labels[wrong]], kind="stable")][:most]
    return [Mistake(k, _classes(rows[k], int(labels[k]), int(predicted[k]))) for k in worst.tolist()], len(wrong)


def least_certain(rows: NDArray[np.float64], *, most: int = MOST) -> list[Mistake]:
    """Return the images whose predicted class has the lowest probability, the lowest first.

    Parameters
    ----------
    rows : ndarray of float64, shape (N, classes)
        Probabilities, of one class an image.
    most : int
        Number of images, at most.
    """
    predicted = rows.argmax(axis=1)
    order = np.argsort(rows.max(axis=1), kind="stable")[:most]
    return [Mistake(k, [Claim("predicted", int(predicted[k]), float(rows[k, predicted[k]]))]) for k in order.tolist()]


def _classes(row: NDArray[np.float64], label: int, predicted: int) -> list[Claim]:
    return [Claim("predicted", predicted, float(row[predicted])), Claim("label", label, float(row[label]))]


def _decisions(row: NDArray[np.float64], labels: NDArray[np.integer], errors: NDArray[np.float64]) -> list[Claim]:
    """Return the worst wrong decisions of an image with several labels."""
    order: Sequence[int] = np.argsort(-errors, kind="stable")[:_FEW].tolist()
    return [Claim("missed" if labels[k] else "predicted", k, float(row[k])) for k in order if errors[k] > 0]
