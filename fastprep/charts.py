"""Pictures of a run and of an evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter
from numpy.typing import NDArray

from fastprep.atomic import whole_file

MOST_NUMBERS, MOST_NAMES = 20, 60  # classes up to which cells have their numbers, and axes their names


def draw_curves(history: dict[str, list[float]], path: Path) -> None:
    """Draw loss and accuracy over the epochs.

    Parameters
    ----------
    history : dict of str to list of float
        Lists loss, accuracy, val_loss and val_accuracy, one value for each epoch.
    path : Path
        Of the PNG.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, name, title in zip(figure.subplots(1, 2), ("loss", "accuracy"), ("Loss", "Accuracy"), strict=True):
        for prefix, label in (("", "training, random patches"), ("val_", "validation, centre")):
            values = history[prefix + name]
            axes.plot(range(1, len(values) + 1), values, marker="o", markersize=3, label=label)
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
        axes.legend()
        if name == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        else:
            axes.set_yscale("log")  # the first epochs, before batch normalisation has its averages, may be off by hundreds
            low, high = axes.get_ylim()
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("{x:g}" if high < 10 * low else NullFormatter())
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=120)


def draw_confusion(confusion: NDArray[np.int64], names: list[str], title: str, path: Path) -> None:
    """Draw a confusion matrix, each row in shares of its class, and beside it what share of each class was found.

    Parameters
    ----------
    confusion : ndarray of int64, shape (classes, classes)
        Rows are labels, columns are predictions.
    names : list of str
        Of the classes.
    title : str
    path : Path
        Of the PNG.
    """
    n = len(confusion)
    totals = confusion.sum(axis=1)
    shares = confusion / np.maximum(totals, 1)[:, None]
    side = min(16.0, 3.5 + 0.34 * n)
    figure = Figure(figsize=(side * 1.6 + 1, side), layout="constrained")
    matrix, bars = figure.subplots(1, 2, width_ratios=(2, 1), sharey=True)
    image = matrix.imshow(shares, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    figure.colorbar(image, ax=matrix, format=PercentFormatter(1), fraction=0.05)
    matrix.set(title=title, xlabel="predicted", ylabel="label")
    if n <= MOST_NUMBERS:
        for row, column in np.ndindex(n, n):
            colour = "white" if shares[row, column] > 0.5 else "black"
            matrix.text(column, row, str(confusion[row, column]), ha="center", va="center", color=colour, fontsize=8)
    if n <= MOST_NAMES:
        rotation = 0 if max(map(len, names)) * n < 40 else 90
        matrix.set_xticks(range(n), names, rotation=rotation)
        matrix.set_yticks(range(n), [f"{name} ({total})" for name, total in zip(names, totals, strict=True)])
    bars.barh(range(n), np.diagonal(shares), color="tab:blue")
    bars.tick_params(left=False)
    bars.set(title="found, of each class", xlim=(0, 1))
    bars.xaxis.set_major_formatter(PercentFormatter(1))
    bars.grid(axis="x", alpha=0.3)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=120)
