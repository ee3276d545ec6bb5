"""Masks, boxes and points drawn over images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GREYS = (14, 15)  # of matplotlib's map tab20, which nobody would see over a grey image
_OPACITY = 0.5


@dataclass(frozen=True)
class Overlay:
    """What lies over an image.

    Attributes
    ----------
    masks : ndarray of numbers, shape (h, w) or (h, w, C), or None
        Integers are classes, of which 0 is not drawn; floats are a quantity. Of several channels, the number from 1 on of the
        largest one that is above 0.
    boxes : ndarray of float, shape (M, 4) or (M, 5), or None
        Left, top, right and bottom edge in pixels, and perhaps a class.
    points : ndarray of float, shape (M, 3), or None
        x and y in pixels, and whether the point is drawn.
    """

    masks: NDArray | None = None
    boxes: NDArray | None = None
    points: NDArray | None = None


Limits = tuple[float, float] | None
"""Least and largest quantity of a drawing; None if it has none."""


def limits_of(overlays: Iterable[Overlay]) -> Limits:
    """Return the limits of all masks that are quantities."""
    quantities = [mask for overlay in overlays if (mask := _flat(overlay.masks)) is not None and mask.dtype.kind == "f"]
    finite = [mask[np.isfinite(mask)] for mask in quantities]
    finite = [values for values in finite if values.size]
    return (min(float(values.min()) for values in finite), max(float(values.max()) for values in finite)) if finite else None


def draw_overlay(axes: Axes, overlay: Overlay, limits: Limits) -> None:
    """Draw masks, boxes and points over the image that axes show.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Its image is drawn so that the centre of the first pixel is at 0.
    overlay : Overlay
    limits : (float, float) or None
        Of the quantities in all masks of the drawing.
    """
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Rectangle

    colours = ListedColormap([colour for k, colour in enumerate(colormaps["tab20"].colors) if k not in _GREYS])
    mask = _flat(overlay.masks)
    if mask is not None and mask.dtype.kind == "f":
        low, high = limits or (0.0, 1.0)
        axes.imshow(mask, cmap="viridis", alpha=_OPACITY, vmin=low, vmax=high)
    elif mask is not None:
        axes.imshow(np.ma.masked_where(mask == 0, mask % colours.N), cmap=colours, alpha=_OPACITY, vmin=0, vmax=colours.N - 1)
    for left, top, right, bottom, *classes in () if overlay.boxes is None else overlay.boxes.tolist():
        if right > left and bottom > top:
            colour = colours(int(classes[0]) % colours.N if classes else 6)  # red
            axes.add_patch(
                Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, edgecolor=colour, clip_on=False)
            )
    if overlay.points is not None:
        x, y, _ = overlay.points[overlay.points[:, 2] != 0].T
        axes.plot(x - 0.5, y - 0.5, ".", color="yellow", markersize=4, markeredgecolor="black", markeredgewidth=0.4)


def _flat(mask: NDArray | None) -> NDArray | None:
    """Return a mask with a number for each pixel."""
    if mask is None or mask.ndim == 2:
        return mask
    return mask[..., 0] if mask.shape[2] == 1 else np.where(mask.max(axis=2) > 0, mask.argmax(axis=2) + 1, 0)
