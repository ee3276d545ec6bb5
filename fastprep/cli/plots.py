"""Plots of data sets, runs and evaluations: sizes of images, contact sheets, learning curves, confusion matrices.

matplotlib is imported when something is drawn.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprep.cli.drawing_mark import drawing_mark
from fastprep.cli.fonts import begins_from_right, draw_with_fonts
from fastprep.cli.matplotlib_startup import start_matplotlib
from fastprep.cli.overlays import Overlay, draw_overlay, limits_of
from fastprep.system import printable, whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NUMBERS, MOST_NAMES = 20, 60  # classes up to which cells have their numbers, and axes their names
_DPI = 120
_TALLEST = 2.0  # height to width of the cells of a sheet, at most
_LEFT_TO_RIGHT = "\u200e"  # a mark without a glyph, behind which a text begins at the left; else it would turn around a name
_TITLE_LENGTH = 22  # characters over an image of a sheet; longer titles would run into each other


def draw_sizes(sizes: Sequence[tuple[int, int]], size: int | None, path: str | os.PathLike[str]) -> None:
    """Draw the sizes of the source images: shorter sides and proportions.

    Parameters
    ----------
    sizes : sequence of (int, int)
        Width and height of each image.
    size : int or None
        Height and width in pixels to which they are reduced; None if they keep their own.
    path : str or path
        PNG to write.
    """
    start_matplotlib(path)
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    width, height = np.array(sizes, np.float64).T
    shorter = np.minimum(width, height)
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    low, high = (min(shorter.min(), size), max(shorter.max(), size)) if size else (shorter.min(), shorter.max())
    left.hist(shorter, bins=np.geomspace(low * 0.95, high * 1.05, 31), color="tab:blue")
    n_small = int((shorter < size).sum()) if size else 0
    title = f"{n_small:,} of {len(sizes):,} are enlarged" if size else f"{len(sizes):,} images, none resized"
    left.set(title=f"Shorter side; {title}", xlabel="pixels", ylabel="images")
    left.set_xscale("log")
    for axes in (left, right):
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    _plain_ticks(left, low, high)
    if size:
        left.axvline(size, color="tab:red", label=f"--size {size}")
        left.legend()
    ratio = width / height
    widest = max(2.0, ratio.max(), 1 / ratio.min()) * 1.05
    right.hist(ratio, bins=np.geomspace(1 / widest, widest, 32), color="tab:blue")
    right.axvline(1, color="tab:red", linewidth=1)
    title = "Width / height; at 1 nothing is cut off" if size else "Width / height"
    right.set(title=title, xlabel="width / height", ylabel="images")
    right.set_xscale("log")
    _plain_ticks(right, 1 / widest, widest)
    _save(figure, path)


def draw_sheet(
    images: Sequence[NDArray], titles: Sequence[str], heading: str, path: str | os.PathLike[str], n_columns: int = 8
) -> None:
    """Draw images in rows, each with a title.

    Parameters
    ----------
    images : sequence of ndarray of uint8, shape (H, W, 1 or 3)
        Channels in the order RGB. They may have different sizes.
    titles : sequence of str
        Title of each image.
    heading : str
        Heading over all images.
    path : str or path
        PNG to write.
    n_columns : int
    """
    start_matplotlib(path)
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    fill_sheet(figure, images, titles, heading, n_columns=n_columns)
    _save(figure, path)


def fill_sheet(
    figure: Figure,
    images: Sequence[NDArray],
    titles: Sequence[str],
    heading: str,
    overlays: Sequence[Sequence[Overlay]] = (),
    sizes: Sequence[tuple[int, int]] = (),
    n_columns: int = 8,
) -> None:
    """Put images in rows into an empty figure, which gets the size that they need.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    images, titles, heading, n_columns
        As in `draw_sheet`.
    overlays : sequence of sequence of Overlay
        What lies over each image; empty for nothing.
    sizes : sequence of (int, int)
        Height and width, in pixels, by which overlays count; empty for those of the images.
    """
    n_rows = -(-len(images) // n_columns)
    shape = max(image.shape[0] / image.shape[1] for image in images)
    figure.set_size_inches(1.5 * n_columns, (1.5 * min(shape, _TALLEST) + 0.25) * n_rows + 0.4)
    figure.suptitle(_plain(heading), fontsize=10)
    grid = figure.subplots(n_rows, n_columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    limits = limits_of(overlay for own in overlays for overlay in own)
    for k, (axes, image, title) in enumerate(zip(grid.flat, images, titles, strict=False)):
        _show(axes, image, title, sizes[k] if sizes else None)
        for overlay in overlays[k] if overlays else ():
            draw_overlay(axes, overlay, limits)


class CropRow(NamedTuple):
    """A row of crops in a drawing.

    Attributes
    ----------
    caption : str
    images : sequence of ndarray of uint8, shape (h, w, 1 or 3)
        Channels in the order RGB.
    titles : sequence of str
        Title of each image.
    overlays : sequence of Overlay
        What lies over each image; empty for nothing.
    """

    caption: str
    images: Sequence[NDArray]
    titles: Sequence[str]
    overlays: Sequence[Overlay] = ()


def draw_crops(rows: Sequence[CropRow], heading: str, path: str | os.PathLike[str]) -> None:
    """Draw rows of crops, each row with a caption and with a title for each crop.

    Parameters
    ----------
    rows : sequence of CropRow
    heading : str
        Heading over all images.
    path : str or path
        PNG to write.
    """
    start_matplotlib(path)
    from matplotlib.figure import Figure

    n_columns = max(len(row.images) for row in rows)
    limits = limits_of(overlay for row in rows for overlay in row.overlays)
    figure = Figure(figsize=(1.4 * n_columns, 2.0 * len(rows) + 0.4), layout="constrained")
    figure.suptitle(_plain(heading), fontsize=10)
    for part, row in zip(np.atleast_1d(figure.subfigures(len(rows), 1)), rows, strict=True):
        part.suptitle(_plain(row.caption), fontsize=9)
        grid = part.subplots(1, n_columns, squeeze=False)
        for axes in grid.flat:
            axes.axis("off")
        for axes, image, title in zip(grid.flat, row.images, row.titles, strict=False):
            _show(axes, image, title)
        for axes, overlay in zip(grid.flat, row.overlays, strict=False):
            draw_overlay(axes, overlay, limits)
    _save(figure, path)


def draw_curves(history: dict[str, list[float]], path: Path) -> None:
    """Draw loss and accuracy over the epochs.

    Parameters
    ----------
    history : dict of str to list of float
        Lists loss, accuracy, val_loss and val_accuracy, one value for each epoch, and auc and val_auc if there are such.
    path : Path
        PNG to write.
    """
    start_matplotlib(path)
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter

    titles = {"loss": "Loss", "accuracy": "Accuracy", "auc": "Area under the ROC curve"}
    drawn = {name: title for name, title in titles.items() if name in history}
    figure = Figure(figsize=(5 * len(drawn), 4), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(1, len(drawn)), drawn.items(), strict=True):
        for prefix, label in (("", "training, random crops"), ("val_", "validation, centre")):
            values = history[prefix + name]
            axes.plot(range(1, len(values) + 1), values, marker="o", markersize=3, label=label)
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
        axes.legend()
        if name != "loss":
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        else:
            axes.set_yscale("log")  # the first epochs, before batch normalisation has its averages, may be off by hundreds
            low, high = axes.get_ylim()
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("{x:g}" if high < 10 * low else NullFormatter())
    _save(figure, path)


def draw_confusion(confusion: NDArray[np.int64], names: list[str], title: str, path: Path) -> None:
    """Draw a confusion matrix with rows as shares of their classes, and the recall of each class beside it.

    Parameters
    ----------
    confusion : ndarray of int64, shape (classes, classes)
        Rows are labels, columns are predictions.
    names : list of str
        Names of the classes.
    title : str
    path : Path
        PNG to write.
    """
    start_matplotlib(path)
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    n = len(confusion)
    totals = confusion.sum(axis=1)
    shares = confusion / np.maximum(totals, 1)[:, None]
    side = min(16.0, 3.5 + 0.34 * n)
    figure = Figure(figsize=(side * 1.6 + 1, side), layout="constrained")
    matrix, bars = figure.subplots(1, 2, width_ratios=(2, 1), sharey=True)
    image = matrix.imshow(shares, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    figure.colorbar(image, ax=matrix, format=PercentFormatter(1), fraction=0.05)
    matrix.set(title=_plain(title), xlabel="predicted", ylabel="label")
    if n <= MOST_NUMBERS:
        for row, column in np.ndindex(n, n):
            colour = "white" if shares[row, column] > 0.5 else "black"
            matrix.text(column, row, str(confusion[row, column]), ha="center", va="center", color=colour, fontsize=8)
    if n <= MOST_NAMES:
        rotation = 0 if max(map(len, names)) * n < 40 else 90
        matrix.set_xticks(range(n), map(_plain, names), rotation=rotation)
        matrix.set_yticks(range(n), [_with_number(name, total) for name, total in zip(names, totals, strict=True)])
    bars.barh(range(n), np.diagonal(shares), color="tab:blue")
    bars.tick_params(left=False)
    bars.set(title="recall of each class", xlim=(0, 1))
    bars.xaxis.set_major_formatter(PercentFormatter(1))
    bars.grid(axis="x", alpha=0.3)
    bars.set_axisbelow(True)
    _save(figure, path)


def _show(axes: Axes, image: NDArray, title: str, size: tuple[int, int] | None = None) -> None:
    """Show an image in the pixels of its size, which may be larger."""
    (height, width), grey = image.shape[:2] if size is None else size, image.shape[2] == 1
    axes.axis("on")  # a frame, without which white images have no edges
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color("silver")
    edges = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(image[..., 0] if grey else image, cmap="gray" if grey else None, vmin=0, vmax=255, extent=edges)
    axes.set_title(_plain(title if len(title) <= _TITLE_LENGTH else f"{title[: _TITLE_LENGTH - 1]}…"), fontsize=7, pad=2)


def _plain(text: str) -> str:
    shown = printable(text).replace("$", r"\$")  # a bare $ would begin a formula, and one that can't be parsed is an error
    return f"{_LEFT_TO_RIGHT}{shown}" if begins_from_right(shown) else shown


def _with_number(name: str, number: int) -> str:
    """Return a name with a number behind it, at its right, even if the name ends in letters that are read from the right."""
    mark = _LEFT_TO_RIGHT if begins_from_right(name[::-1]) else ""
    return f"{_plain(name)}{mark} ({number})"


def _plain_ticks(axes: Axes, low: float, high: float) -> None:
    """Label a logarithmic axis with plain numbers inside its limits."""
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator, StrMethodFormatter

    steps = [number * 10.0**power for power in range(-3, 7) for number in (1, 2, 5)]
    inside = [step for step in steps if low * 0.95 <= step <= high * 1.05]
    axes.xaxis.set_major_locator(FixedLocator(inside))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.6g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _save(figure: Figure, path: str | os.PathLike[str]) -> None:
    with whole_file(path) as temporary:
        mark = {"Software": drawing_mark()}
        draw_with_fonts(figure, lambda: figure.savefig(temporary, dpi=_DPI, format="png", metadata=mark))
