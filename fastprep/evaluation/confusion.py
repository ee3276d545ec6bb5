"""Confusion matrices and tables by class in a report, of bounded size for any number of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.evaluation.significance import interval
from fastprep.reports.markup import Html, element, joined, name, scrolling, table
from fastprep.reports.pictures import data_uri

_MOST_CELLS = 20  # classes up to which cells have their numbers
_MOST_PIXELS = 512  # classes up to which there is a map of the matrix, with a pixel for each cell
_MOST_PAIRS = 20
_MOST_ROWS = 100  # of the table by class
_DARKEST = 0.6  # opacity of a cell with all images of its class, on which the number can still be read
_SHORT = 16  # characters of a name over a column


def confusion_part(confusion: NDArray[np.int64], names: Sequence[str]) -> Html:
    """Return a confusion matrix: with numbers, or as a map if there are many classes, and the pairs that are confused most often.

    Parameters
    ----------
    confusion : ndarray of int64, shape (classes, classes)
        Rows are labels, columns are predictions.
    names : sequence of str
    """
    n = len(confusion)
    if n <= _MOST_CELLS:
        return _cells(confusion, names)
    return joined((_map(confusion) if n <= _MOST_PIXELS else Html(), _pairs(confusion, names)))


def classes_part(by_class: Sequence[dict[str, Any]], names: Sequence[str], file: str) -> Html:
    """Return the table by class, with the intervals of recall and precision.

    Parameters
    ----------
    by_class : sequence of dict
        Result of `metrics.by_class` or `several_labels.by_class`.
    names : sequence of str
    file : str
        Name of the file that has all classes.
    """
    order, note = list(range(len(by_class))), Html()
    if len(by_class) > _MOST_ROWS:
        order = sorted((k for k in order if by_class[k]["images"]), key=lambda k: by_class[k]["recall"])[:_MOST_ROWS]
        note = element("p", f"The {len(order)} classes of the lowest recall; {file} has all {len(by_class):,}.", class_="note")
    more = [key for key in ("auc", "average_precision") if key in by_class[0]]
    titles = {"auc": "AUC", "average_precision": "AP"}
    header = ["class", "images", "recall", "95% interval", "predicted", "precision", "95% interval", "F1"]
    rows = (
        [
            name(names[k]),
            *_share(by_class[k], "images", "recall"),
            *_share(by_class[k], "predicted", "precision"),
            f"{by_class[k]['f1']:.3f}",
            *(f"{by_class[k][key]:.4f}" if by_class[k][key] != "" else "" for key in more),
        ]
        for k in order
    )
    return joined((note, table([*header, *(titles[key] for key in more)], rows, "Table by class")))


def _share(row: dict[str, Any], of: str, key: str) -> list[str]:
    """Return a number of images, and the share of them that is right with its interval, if there are any."""
    n = row[of]
    if not n:
        return ["0", "", ""]
    low, high = interval(round(row[key] * n), n)
    return [f"{n:,}", f"{row[key]:.1%}", f"{low:.1%}-{high:.1%}"]


def _cells(confusion: NDArray[np.int64], names: Sequence[str]) -> Html:
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    head = element("tr", element("th", "label \\ predicted", class_="l"), *(element("th", name(each, _SHORT)) for each in names))
    rows = [
        element(
            "tr",
            element("th", name(names[k]), scope="row", class_="l"),
            *map(_cell, confusion[k], shares[k], _diagonal(k, names)),
        )
        for k in range(len(names))
    ]
    content = element("table", element("thead", head), element("tbody", *rows), class_="matrix")
    note = element(
        "p", "Rows are labels, columns are predictions; the stronger the colour, the larger the share of its row.", class_="note"
    )
    return joined((scrolling(content, "Confusion matrix"), note))


def _diagonal(row: int, names: Sequence[str]) -> list[bool]:
    return [column == row for column in range(len(names))]


def _cell(count: np.int64, share: np.float64, is_right: bool) -> Html:
    colour = "9,105,218" if is_right else "207,34,46"
    style = f"background:rgba({colour},{_DARKEST * share:.2f})" if count else None
    return element("td", f"{count:,}", class_="right" if is_right else None, style=style)


def _map(confusion: NDArray[np.int64]) -> Html:
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    pixels = np.rint(255 * (1 - np.sqrt(shares)[..., None] * np.array([0.95, 0.6, 0.15]))).astype(np.uint8)
    n = len(confusion)
    alt = f"Confusion matrix of {n} classes"
    image = element("img", src=data_uri(pixels, lossless=True), width=n, height=n, class_="map", alt=alt)
    said = "Rows are labels from the top, columns are predictions"
    note = f"{said}; the stronger the colour, the larger the share of its row (its square root)."
    return joined((image, element("p", note, class_="note")))


def _pairs(confusion: NDArray[np.int64], names: Sequence[str]) -> Html:
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    n_pairs = min(_MOST_PAIRS, int(np.count_nonzero(wrong)))
    if not n_pairs:
        return Html()
    order = np.argsort(-wrong, axis=None, kind="stable")[:n_pairs]
    totals = confusion.sum(axis=1)
    rows = []
    for label, predicted in zip(*np.unravel_index(order, wrong.shape), strict=True):
        count = int(wrong[label, predicted])
        rows.append([name(names[label]), name(names[predicted]), f"{count:,}", f"{count / totals[label]:.1%}"])
    header = ["label", "predicted as", "images", "of the label"]
    return joined((element("h3", "Confused most often"), table(header, rows, "Pairs that are confused most often", left=2)))
