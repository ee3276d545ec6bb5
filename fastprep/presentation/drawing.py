"""Figures of batches, by matplotlib."""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastprep.presentation.facts import mean_in_words
from fastprep.presentation.preview import Preview
from fastprep.presentation.rows import Seen
from fastprep.sampling import check_integer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fastprep.presentation.presented import Presented

SIDE = 512
"""Pixels of the longer side of an image, at most: more than a figure has for it."""


def draw_batch(loader: Presented, n: int, epoch: int | None, step: int | None) -> Figure:
    """Return a figure of rows of x; see `fastprep.loader.Loader.show`."""
    check_integer("n", n, 1)
    preview = Preview(loader._source, SIDE)
    if epoch is None:
        next_epoch, next_step = preview.next_place()
        epoch, step = next_epoch, next_step if step is None else step
    check_integer("epoch", epoch, 0)
    epoch, step = int(epoch), operator.index(step or 0)
    seen = preview.rows(epoch, step, int(n))
    is_one = len(loader.files) == 1
    files, them = (os.path.basename(loader.files[0]), "it") if is_one else (f"{len(loader.files):,} files", "them")
    place = f"epoch {epoch}, from step {step} of {len(loader)} on"
    return figure_of(seen, f"{files} as a training sees {them}, {place}; {mean_in_words(loader)}")


def figure_of(seen: Sequence[Seen], heading: str) -> Figure:
    """Return a figure of rows, each with an image of each input.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    try:
        from fastprep.cli.notebook_figure import sheet_figure
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        text = "batches are drawn with matplotlib, which is not installed: pip install matplotlib"
        raise ModuleNotFoundError(text, name=error.name) from None
    images, titles, overlays, sizes = [], [], [], []
    for row in seen:
        for name, image in row.images.items():
            images.append(image)
            titles.append(f"{name}: {row.title}" if name else row.title)
            overlays.append(row.overlays)
            sizes.append(row.size)
    return sheet_figure(images, titles, heading, overlays, sizes)
