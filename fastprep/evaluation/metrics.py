"""Quality of predictions: averages over crops and models, top-k accuracy, cross-entropy, confusion matrix, table by class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fastprep.loader import Loader
from fastprep.pipeline import ImageIterator

if TYPE_CHECKING:
    import keras

Average = Literal["probs", "logits"]


def predict_crops(
    model: keras.Model,
    loader: Loader,
    *,
    logits: bool,
    average: Average,
    several: bool = False,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.float64]:
    """Predict every sample of a loader, in file order, averaged over the crops of each image.

    The average is taken batch by batch, so one row for each image is kept, however many crops it has.

    Parameters
    ----------
    model : keras.Model
        A model with one output, a number for each class.
    loader : Loader
        Not shuffled, not sharded, nothing dropped.
    logits : bool
        Whether the model gives logits; otherwise it gives probabilities.
    average : {"probs", "logits"}
        Quantity that is averaged.
    several : bool
        Whether the model gives the probability of each of several labels by itself, and not of one class among all.
    progress : callable, optional
        Called with the number of images that are done.

    Returns
    -------
    ndarray of float64, shape (N, classes)
        Average probabilities, or average logits (up to a constant for each image); see `probabilities`.

    Raises
    ------
    ValueError
        If the loader would not give every sample in file order, or the model's output is not finite.
    """
    from fastprep.adapters.keras_base import to_backend
    from fastprep.adapters.predict import check_file_order

    check_file_order(loader)
    rows: list[NDArray[np.float64]] = []
    loader.set_epoch(loader.next_epoch)  # from the start, wherever an earlier pass ended
    for batch in ImageIterator(loader._source):
        (whole,) = batch.parts
        out = np.asarray(model.predict_on_batch(to_backend(whole, loader.dtype)), np.float64)
        if not np.isfinite(out).all():  # no comparison with NaN holds, so each would count as right
            raise ValueError(f"the model's output for images {sum(map(len, rows))} and on is not finite")
        if logits:
            out = sigmoid(out) if several else softmax(out)
        if average == "logits":
            out = logit(out) if several else log(out)
        rows.append(out.reshape(-1, loader.crop.n_crops, out.shape[-1]).mean(axis=1))
        if progress is not None:
            progress(sum(map(len, rows)))
    return np.concatenate(rows)


def probabilities(averages: Sequence[NDArray[np.float64]], average: Average, *, several: bool = False) -> NDArray[np.float64]:
    """Average the results of `predict_crops` over several models.

    Parameters
    ----------
    averages : sequence of ndarray of float64, shape (N, classes)
        Result for each model.
    average : {"probs", "logits"}
        Quantity that these are averages of.
    several : bool
        As for `predict_crops`.

    Returns
    -------
    ndarray of float64, shape (N, classes)
        Probabilities. For "logits", the mean of the logarithms of probabilities makes them the geometric mean, scaled to sum 1.
    """
    mean = np.mean(averages, axis=0)
    if average == "probs":
        return mean
    return sigmoid(mean) if several else softmax(mean)


def softmax(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn each row of logits into probabilities."""
    powers = np.exp(rows - rows.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def sigmoid(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn logits into probabilities, each by itself."""
    powers = np.exp(-np.abs(rows))
    return np.where(rows >= 0, 1, powers) / (1 + powers)


def logit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logits of probabilities, as far as those of float32 reach, so that no model can veto all others."""
    return log(rows) - log(1 - rows)


def log(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithms of probabilities, at least that of the smallest float32, so that no model can veto all others."""
    return np.log(np.maximum(rows, np.finfo(np.float32).tiny))


def hits(rows: NDArray[np.float64], labels: NDArray[np.integer], k: int) -> NDArray[np.bool_]:
    """Tell for each image whether its label is among the k likeliest classes; classes of equal probability rank by number."""
    own = rows[np.arange(len(rows)), labels][:, None]
    before = (rows > own) | ((rows == own) & (np.arange(rows.shape[1]) < labels[:, None]))
    return before.sum(axis=1) < k


def cross_entropy(rows: NDArray[np.float64], labels: NDArray[np.integer]) -> float:
    """Return the mean of -log of the probability of the label."""
    return float(-log(rows[np.arange(len(rows)), labels]).mean())


def confusion_matrix(labels: NDArray[np.integer], predicted: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """Count images by label (rows) and prediction (columns)."""
    return np.bincount(labels.astype(np.int64) * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def by_class(confusion: NDArray[np.int64]) -> list[dict[str, float]]:
    """Return a row for each class.

    Returns
    -------
    list of dict
        images; predicted (how often); recall, precision and f1, which are 0 where they would divide by 0.
    """
    right, images, predicted = np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    return [
        {
            "images": int(n),
            "predicted": int(p),
            "recall": float(r / n) if n else 0.0,
            "precision": float(r / p) if p else 0.0,
            "f1": float(2 * r / (n + p)) if n + p else 0.0,
        }
        for r, n, p in zip(right, images, predicted, strict=True)
    ]
