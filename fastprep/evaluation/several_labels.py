"""Quality of predictions of several labels an image: right decisions, areas under curves, and a table by class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.evaluation.metrics import log

THRESHOLD = 0.5
"""Probability above which a label is predicted, as in the accuracy of training."""


def scores(rows: NDArray[np.float64], labels: NDArray[np.integer]) -> dict[str, float | None]:
    """Return the quality of predictions.

    Parameters
    ----------
    rows : ndarray of float64, shape (N, classes)
        Probabilities.
    labels : ndarray of int, shape (N, classes)
        0 and 1.

    Returns
    -------
    dict
        accuracy, the share of right decisions, of which there are N times classes; exact, the share of images whose labels are
        all right; auc and average_precision, means over the classes that have both kinds of images, or None if no class has;
        loss, the mean binary cross-entropy.
    """
    right = decided(rows, labels)
    pairs = list(zip(rows.T, labels.T, strict=True))
    return {
        "accuracy": float(right.mean()),
        "exact": float(right.all(axis=1).mean()),
        "auc": _mean([area_under_roc(*pair) for pair in pairs]),
        "average_precision": _mean([average_precision(*pair) for pair in pairs]),
        "loss": float(-np.where(labels != 0, log(rows), log(1 - rows)).mean()),
    }


def decided(rows: NDArray[np.float64], labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Tell of each decision, shape (N, classes), whether it is right."""
    return (rows > THRESHOLD) == (labels != 0)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def usual_answers(labels: NDArray[np.integer]) -> dict[str, float | None]:
    """Return the quality of saying of all images, for each class, what is true of most of them."""
    usual = labels.mean(axis=0) > 0.5
    right = (labels != 0) == usual
    return {"accuracy": float(right.mean()), "exact": float(right.all(axis=1).mean())}


def area_under_roc(probabilities: NDArray[np.float64], labels: NDArray[np.integer]) -> float | None:
    """Return the share of pairs, of an image with the label and one without, of which the first has the higher probability.

    Equal ones count half, as in the U statistic of Mann and Whitney. None if there is no such pair.
    """
    positive = labels != 0
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return None
    _, places, counts = np.unique(probabilities, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]  # equal ones share the mean of their ranks
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def average_precision(probabilities: NDArray[np.float64], labels: NDArray[np.integer]) -> float | None:
    """Return the mean precision over the images with the label, each with its own probability as the threshold.

    None unless there are images with the label, and images without it.
    """
    positive = labels != 0
    if positive.all() or not positive.any():
        return None
    values, places = np.unique(-probabilities, return_inverse=True)
    found = np.cumsum(np.bincount(places, minlength=len(values)))
    right = np.cumsum(np.bincount(places[positive], minlength=len(values)))
    return float((right / found)[places[positive]].mean())


def by_class(rows: NDArray[np.float64], labels: NDArray[np.integer]) -> list[dict[str, Any]]:
    """Return a row for each class.

    Returns
    -------
    list of dict
        images (with the label); predicted (how often); recall, precision and f1, which are 0 where they would divide by 0; auc
        and average_precision, which are empty for a class that no image has, or each.
    """
    lines = []
    for p, y in zip(rows.T, labels.T, strict=True):
        decided, true = p > THRESHOLD, y != 0
        n, said, right = int(true.sum()), int(decided.sum()), int((true & decided).sum())
        areas = {"auc": area_under_roc(p, y), "average_precision": average_precision(p, y)}
        lines.append(
            {
                "images": n,
                "predicted": said,
                "recall": right / n if n else 0.0,
                "precision": right / said if said else 0.0,
                "f1": 2 * right / (n + said) if n + said else 0.0,
                **{name: "" if value is None else value for name, value in areas.items()},
            }
        )
    return lines
