"""Are a contender's pixels right? Each delivered crop must be one of the image it claims to be, minus the mean.

Where the crop was taken is not told but found, so contenders need not agree in how they draw.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import boxes
import h5py
import numpy as np

SIZE = 227
MEANS = np.array([106.1, 116.0, 125.0], np.float32)
TOLERANCE = 1e-4  # of values up to 255: room for an own order of operations, not for another way to round


class WrongPixels(Exception):
    """What was delivered is not what was asked for."""


def check(
    batches: Iterable[tuple[Any, Sequence[int]]],
    path: str,
    mirror: bool,
    ten: bool,
    resized: bool = False,
    most_off: float = boxes.MOST_OFF_WAVE,
) -> float:
    """Check an epoch; return the largest difference from float32 arithmetic, or of `boxes.find` for random-resized crops.

    Raises
    ------
    WrongPixels
        If an image is missing or comes twice; if a crop is not of its image; if crops are at too few places, or if other than
        about half of them are mirrored.
    """
    worst, numbers_seen, mirrored, found = 0.0, [], [], []
    size = boxes.SIZE if resized else SIZE
    with h5py.File(path, "r") as file:
        dataset = file["images"]
        sides = dataset.shape[1:3]
        for x, numbers in batches:
            numbers = np.asarray(numbers).ravel().tolist()
            crops = _channels_last(np.asarray(x), len(numbers), 10 if ten else 1, size)
            places = set()
            for number, of_image in zip(numbers, crops, strict=True):
                if ten:
                    error = _ten(dataset[number], of_image)
                elif resized:
                    box, is_mirrored, error = _box(of_image[0], number, sides, mirror, most_off)
                    places.add(tuple(np.rint(box)))
                    mirrored.append(is_mirrored)
                    found.append(box)
                else:
                    y, x_, is_mirrored, error = _find(dataset[number], of_image[0], mirror, number)
                    places.add((y, x_))
                    mirrored.append(is_mirrored)
                worst = max(worst, error)
            if not ten and len(places) < len(numbers) // 4:
                raise WrongPixels(f"the {len(numbers)} crops of a batch are at {len(places)} places only")
            numbers_seen += numbers
        if sorted(numbers_seen) != list(range(len(dataset))):
            raise WrongPixels(f"not every image once: {len(numbers_seen)} came, of {len(dataset)} in the file")
    if len(found) >= 64:
        _spread(np.array(found), sides)
    if mirror and len(mirrored) >= 64 and not 0.25 < np.mean(mirrored) < 0.75:
        raise WrongPixels(f"{np.mean(mirrored):.0%} of the crops are mirrored, not about half")
    return worst


def check_loosely(batches: Iterable[tuple[Any, Sequence[int]]], path: str) -> None:
    """Check an epoch of random-resized crops of JPEG files, where decoders and filters differ: numbers, shape, type and range.

    Raises
    ------
    WrongPixels
        If an image is missing or comes twice, or if results can't be images of photographs minus the mean.
    """
    seen, vary = [], []
    with h5py.File(path, "r") as file:
        n_images = len(file["images"])
    for x, numbers in batches:
        numbers = np.asarray(numbers).ravel().tolist()
        pixels = _channels_last(np.asarray(x), len(numbers), 1, boxes.SIZE) + MEANS
        if not (pixels.min() > -1 and pixels.max() < 256):
            raise WrongPixels(f"pixels without the mean lie in {pixels.min():.1f} .. {pixels.max():.1f}")
        vary += (pixels.std(axis=(1, 2, 3)) > 1).tolist()
        seen += numbers
    if sorted(seen) != list(range(n_images)):
        raise WrongPixels(f"not every image once: {len(seen)} came, of {n_images} in the file")
    if np.mean(vary) < 0.9:  # one of the photographs has a black sky, of which a crop may be all
        raise WrongPixels(f"{1 - np.mean(vary):.0%} of the crops do not vary")


def _channels_last(x: np.ndarray, n: int, n_crops: int, size: int) -> np.ndarray:
    """Return shape (n, n_crops, size, size, 3)."""
    if x.dtype != np.float32:
        raise WrongPixels(f"dtype must be float32, got {x.dtype}")
    if x.shape[-3:] == (3, size, size):
        x = np.moveaxis(x, -3, -1)
    if x.shape[-3:] != (size, size, 3) or x.size != n * n_crops * size * size * 3:
        raise WrongPixels(f"{n} images, {n_crops} crops each, came in shape {x.shape}")
    return x.reshape(n, n_crops, size, size, 3)


def _box(
    result: np.ndarray, number: int, sides: tuple[int, int], mirror: bool, most_off: float
) -> tuple[tuple[float, ...], bool, float]:
    try:
        return boxes.find(result + MEANS, number, sides, mirror, most_off)
    except boxes.WrongBox as error:
        raise WrongPixels(f"{error}") from None


def _spread(found: np.ndarray, sides: tuple[int, int]) -> None:
    try:
        boxes.check_spread(found, sides)
    except boxes.WrongBox as error:
        raise WrongPixels(f"{error}") from None


def _find(image: np.ndarray, crop: np.ndarray, mirror: bool, number: int) -> tuple[int, int, bool, float]:
    """Return y, x, mirrored, and the largest difference."""
    for is_mirrored in (False, True) if mirror else (False,):
        straight = crop[:, ::-1] if is_mirrored else crop
        pixels = np.rint(straight + MEANS)
        bottom, right = (side - SIZE for side in image.shape[:2])
        for y, x in np.argwhere((image[: bottom + 1, : right + 1] == pixels[0, 0]).all(axis=-1)).tolist():
            source = image[y : y + SIZE, x : x + SIZE]
            if np.array_equal(source, pixels):
                return y, x, is_mirrored, _difference(straight, source)
    raise WrongPixels(f"a crop is none of image {number}, whose number came with it")


def _ten(image: np.ndarray, crops: np.ndarray) -> float:
    """Return the largest difference of ten crops in the order of the tutorial or of torchvision."""
    bottom, right = (side - SIZE for side in image.shape[:2])
    y, x = bottom // 2, right // 2
    tutorial = [(0, 0), (0, right), (bottom, right), (bottom, 0), (y, x)]
    torchvision = [(0, 0), (0, right), (bottom, 0), (bottom, right), (round(bottom / 2), round(right / 2))]
    orders = [tutorial + tutorial, torchvision + [(y, right - x) for y, x in torchvision]]
    differences = []
    for places in orders:
        sources = [image[y : y + SIZE, x : x + SIZE] for y, x in places]
        sources[5:] = [source[:, ::-1] for source in sources[5:]]
        if all(np.array_equal(source, np.rint(crop + MEANS)) for source, crop in zip(sources, crops, strict=True)):
            differences += map(_difference, crops, sources)
    if not differences:
        raise WrongPixels("ten crops that are neither the tutorial's nor torchvision's")
    return max(differences)


def _difference(crop: np.ndarray, source: np.ndarray) -> float:
    difference = float(np.abs(crop - (source.astype(np.float32) - MEANS)).max())
    if difference > TOLERANCE:
        raise WrongPixels(f"off by {difference} from source minus mean")
    return difference
