"""Figures that are returned to a caller and not written: notebooks show them, and names in any script need no setting."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from numpy.typing import NDArray

from fastprep.cli.fonts import LACKS, use_fonts
from fastprep.cli.overlays import Overlay
from fastprep.cli.plots import fill_sheet


class NotebookFigure(Figure):
    """A figure of matplotlib that IPython shows, which it does with others only after pyplot was imported."""

    def draw(self, renderer: Any) -> None:
        """Draw the figure; of characters that no font has the log has told already."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", LACKS)
            super().draw(renderer)

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def sheet_figure(
    images: Sequence[NDArray],
    titles: Sequence[str],
    heading: str,
    overlays: Sequence[Sequence[Overlay]],
    sizes: Sequence[tuple[int, int]],
) -> NotebookFigure:
    """Return a figure of images with titles; see `fastprep.cli.plots.fill_sheet`."""
    figure = NotebookFigure(layout="constrained")
    fill_sheet(figure, images, titles, heading, overlays, sizes, n_columns=min(8, len(images)))
    use_fonts(figure)
    return figure
