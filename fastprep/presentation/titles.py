"""Labels of a batch in words: the names of classes, or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.dataset import label_rows

_FEW = 3  # classes, or numbers, of an image that are named
_LEAST_SHARE = 0.005  # of a class in a blended label that is named


def titles_of(labels: Any, class_names: Any) -> list[str]:
    """Return a text for each row of a batch.

    Parameters
    ----------
    labels : ndarray, shape (rows, ...), tuple or dict of such, or None
        Without the targets that are drawn; for these and for None there is no text.
    class_names : tuple of str, or tuple or dict of such
        In the structure of the labels.

    Returns
    -------
    list of str
        As many as rows; none if there are no labels.
    """
    if labels is None:
        return []
    if isinstance(labels, dict | tuple):
        items = list(labels.items()) if isinstance(labels, dict) else list(enumerate(labels))
        texts = [
            [f"{name} {text}" if isinstance(labels, dict) else text for text in titles_of(values, class_names[name])]
            for name, values in items
        ]
        return [", ".join(parts) for parts in zip(*(own for own in texts if own), strict=True)]
    values = np.asarray(labels)
    return _texts_of(values, tuple(class_names) if isinstance(class_names, list | tuple) else ())


def name_of(number: int, class_names: Sequence[str]) -> str:
    """Return the name of a class, or its number if it has none."""
    return class_names[number] if 0 <= number < len(class_names) else str(number)


def _texts_of(values: NDArray, names: tuple[str, ...]) -> list[str]:
    rows = values.reshape(len(values), -1)
    if rows.dtype.kind in "OSU":
        return [", ".join(map(_text, row.tolist())) for row in rows]
    if rows.shape[1] == 1:
        return [_number(row[0], names) for row in rows]
    classes = label_rows(values)
    if classes is not None:
        return [_several(np.flatnonzero(row), names) for row in classes]
    if rows.dtype.kind == "f" and rows.min() >= 0 and np.allclose(rows.sum(axis=1), 1, atol=1e-3):
        return [_shares(row, names) for row in rows]
    return [", ".join(f"{value:.4g}" for value in row[:_FEW].tolist()) + ", …" * (len(row) > _FEW) for row in rows]


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _number(value: Any, names: tuple[str, ...]) -> str:
    if names and float(value).is_integer():
        return name_of(int(value), names)
    return f"{value:.4g}" if np.asarray(value).dtype.kind not in "iub" else str(int(value))


def _several(numbers: NDArray, names: tuple[str, ...]) -> str:
    few = ", ".join(name_of(int(number), names) for number in numbers[:_FEW])
    return few + ", …" * (len(numbers) > _FEW) if len(numbers) else "none"


def _shares(row: NDArray, names: tuple[str, ...]) -> str:
    largest = [number for number in np.argsort(-row, kind="stable")[:_FEW].tolist() if row[number] >= _LEAST_SHARE]
    return " + ".join(f"{row[number]:.0%} {name_of(number, names)}" for number in largest)
