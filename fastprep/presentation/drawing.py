"""Figures of batches, by matplotlib."""

from __future__ import annotations

import operator
import os
from typing import TYPE_CHECKING

from fastprep.presentation.facts import mean_in_words
from fastprep.presentation.preview import Preview
from fastprep.sampling import check_integer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fastprep.presentation.presented import Presented

_SIDE = 512  # pixels of the longer side of an image, at most: more than a figure has for it


def draw_batch(loader: Presented, n: int, epoch: int | None, step: int | None) -> Figure:
    """Return a figure of rows of x; see `fastprep.loader.Loader.show`."""
    try:
        from fastprep.cli.notebook_figure import sheet_figure
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        text = "loader.show() draws with matplotlib, which is not installed: pip install matplotlib"
        raise ModuleNotFoundError(text, name=error.name) from None
    check_integer("n", n, 1)
    preview = Preview(loader._source, _SIDE)
    if epoch is None:
        next_epoch, next_step = preview.next_place()
        epoch, step = next_epoch, next_step if step is None else step
    check_integer("epoch", epoch, 0)
    epoch, step = int(epoch), operator.index(step or 0)
    seen = preview.rows(epoch, step, int(n))
    images, titles, overlays, sizes = [], [], [], []
    for row in seen:
        for name, image in row.images.items():
            images.append(image)
            titles.append(f"{name}: {row.title}" if name else row.title)
            overlays.append(row.overlays)
            sizes.append(row.size)
    files = os.path.basename(loader.files[0]) if len(loader.files) == 1 else f"{len(loader.files):,} files"
    place = f"epoch {epoch}, from step {step} of {len(loader)} on"
    heading = f"{files} as a training sees it, {place}; {mean_in_words(loader)}"
    return sheet_figure(images, titles, heading, overlays, sizes)
