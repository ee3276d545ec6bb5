"""Random-resized crops: what their file holds, how boxes are drawn by hand, and whether a contender's pixels are right.

No two libraries resize with the same bits, so pixels can't be compared exactly. But in the file of this job the first channel
rises with x, the second with y, and the third is a wave that the image's number shifts. So each result tells its box and
whether it is mirrored, and the wave whether it is the image that it claims to be, and interpolated at that box.
"""

from __future__ import annotations

import math

import numpy as np

SIZE = 224
SCALE = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)
TRIES = 10
PERIOD = 16
"""Of the wave, in pixels: long, so that no filter for a reduction to 224 pixels weakens it much."""

MOST_OFF_LINE = 2.0  # rounding to 8 bits, perhaps twice, and the half pixel by which filters for areas are off
MOST_SHIFTED = 0.7  # pixels by which the wave may be elsewhere than the lines say, which rounding moves
MOST_OFF_WAVE = 5.0  # levels of 100, mean over a result; in trials filters were off by up to 3.6, the nearest pixel by 5.9
MOST_OFF_BLOCKY = 7.5  # for who enlarges with OpenCV's INTER_AREA, which is off by up to 6.4
MARGIN = 8  # results near the edges depend on what a filter does there


class WrongBox(Exception):
    """What was delivered is no random-resized crop of its image."""


def gradients(number: int, height: int = 256, width: int = 256) -> np.ndarray:
    """Return an image of the file: uint8, shape (height, width, 3)."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, np.rint(127.5 + 100 * np.sin(_phases(y, x, number)))], axis=-1).astype(np.uint8)


def _phases(y: np.ndarray, x: np.ndarray, number: int) -> np.ndarray:
    return 2 * np.pi * ((x + y) / PERIOD + 0.618 * number % 1)  # neighbours are far from each other


def draw(generator: np.random.Generator, height: int, width: int) -> tuple[int, int, int, int]:
    """Return y, x, height and width of a box, as torchvision draws it."""
    for _ in range(TRIES):
        area = height * width * generator.uniform(*SCALE)
        ratio = math.exp(generator.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        h, w = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < h <= height and 0 < w <= width:
            return int(generator.integers(height - h + 1)), int(generator.integers(width - w + 1)), h, w
    return 0, 0, height, width  # of square images, which are all that there are here


def find(
    result: np.ndarray, number: int, sides: tuple[int, int], mirror: bool, most_off: float = MOST_OFF_WAVE
) -> tuple[tuple[float, ...], bool, float]:
    """Return the box (y, x, height, width) of a result, whether it is mirrored, and how far its wave is off on average.

    Parameters
    ----------
    result : ndarray
        Shape (SIZE, SIZE, 3), with the mean added again.

    Raises
    ------
    WrongBox
        If it has none, or one outside the limits.
    """
    x, w, off_x = _line(result[..., 0])
    y, h, off_y = _line(result[..., 1].T)
    if max(off_x, off_y) > MOST_OFF_LINE:
        raise WrongBox(f"a result is no upright box of image {number}: {max(off_x, off_y):.1f} off a straight line")
    if h < 0 or (w < 0 and not mirror):
        raise WrongBox(f"a result of image {number} is {'upside down' if h < 0 else 'mirrored, which nobody asked for'}")
    shift, off_wave = _shift(result[..., 2], (y, x, h, w), number)
    if abs(shift) > MOST_SHIFTED or off_wave > most_off:
        found = f"wave is shifted by {shift:.2f} pixels and off by {off_wave:.1f} levels"
        raise WrongBox(f"a result is not of image {number}, whose number came with it, or not interpolated: {found}")
    box = y, min(x, x + w), h, abs(w)
    if min(box[:2]) < -1 or box[0] + h > sides[0] + 1 or box[1] + box[3] > sides[1] + 1:
        raise WrongBox(f"a box reaches out of image {number}: {_text(box)}")
    area, ratio = h * box[3] / (sides[0] * sides[1]), box[3] / h
    if not (SCALE[0] * 0.95 <= area <= SCALE[1] * 1.02 and RATIO[0] * 0.96 <= ratio <= RATIO[1] * 1.04):
        raise WrongBox(f"a box of image {number} has area {area:.3f} and ratio {ratio:.2f}: {_text(box)}")
    return box, w < 0, off_wave


def _line(channel: np.ndarray) -> tuple[float, float, float]:
    """Return where the box begins along the second axis, its length, below 0 if mirrored, and the largest distance of a value."""
    inner = channel[MARGIN:-MARGIN, MARGIN:-MARGIN]
    at = np.arange(MARGIN, SIZE - MARGIN) + 0.5
    slope, start = np.polyfit(at, inner.mean(axis=0), 1)
    return start + 0.5, slope * SIZE, float(np.abs(inner - (start + slope * at)).max())


def _shift(channel: np.ndarray, box: tuple[float, ...], number: int) -> tuple[float, float]:
    """Return by how many pixels a result's wave is shifted, and how far its values are off on average."""
    y, x, h, w = box
    at = (np.arange(SIZE) + 0.5)[MARGIN:-MARGIN] / SIZE
    phases = _phases(y - 0.5 + h * at[:, None], x - 0.5 + w * at, number).ravel()
    terms = np.stack([np.sin(phases), np.cos(phases), np.ones_like(phases)], axis=1)
    values = channel[MARGIN:-MARGIN, MARGIN:-MARGIN].ravel()
    shape = np.linalg.solve(terms.T @ terms, terms.T @ values)
    off = np.abs(values - terms @ shape).mean() + abs(shape[2] - 127.5) + max(0, 80 - np.hypot(*shape[:2]))
    return float(np.arctan2(shape[1], shape[0]) / (2 * np.pi) * PERIOD), float(off)


def check_spread(boxes: np.ndarray, sides: tuple[int, int]) -> None:
    """Refuse boxes that are not drawn over all areas, ratios and places.

    Parameters
    ----------
    boxes : ndarray
        Of 64 results or more, float64, shape (n, 4).

    Raises
    ------
    WrongBox
        If so.
    """
    areas = boxes[:, 2] * boxes[:, 3] / (sides[0] * sides[1])
    ratios = np.log(boxes[:, 3] / boxes[:, 2])
    if not (0.3 < areas.mean() < 0.65 and areas.std() > 0.15):
        raise WrongBox(f"areas are not drawn from all that are allowed: {areas.mean():.2f} +- {areas.std():.2f}")
    if not (abs(ratios.mean()) < 0.1 and ratios.std() > 0.1):
        raise WrongBox(f"ratios are not drawn from all that are allowed: log is {ratios.mean():.2f} +- {ratios.std():.2f}")
    for axis in range(2):
        room = sides[axis] - boxes[:, 2 + axis]
        places = (boxes[:, axis] / np.maximum(room, 1))[room > 16]
        if not (0.3 < places.mean() < 0.7 and places.std() > 0.15):
            raise WrongBox(
                f"places along {'yx'[axis]} are not drawn evenly: {places.mean():.2f} +- {places.std():.2f} of the room"
            )


def _text(box: tuple[float, ...]) -> str:
    return "y {:.1f}, x {:.1f}, height {:.1f}, width {:.1f}".format(*box)
