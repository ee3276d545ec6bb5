"""Where the pixels of an output image come from: what crops say of it, and the tables of resized and turned crops."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from fastprep.sampling import check_flag
from fastprep.transforms.draws import Draws, Stream
from fastprep.transforms.table import FLIPPED, MIRRORED, TRANSPOSED, Geometry, TransformTable

_QUARTER_TURNS = np.array([0, TRANSPOSED | FLIPPED, MIRRORED | FLIPPED, TRANSPOSED | MIRRORED], np.int32)
"""Flags of turns by 0, 90, 180 and 270 degrees against the clock, as `numpy.rot90` counts them."""

Size = int | tuple[int, int]

Side = int | NDArray[np.int64]
"""Height or width of the source images in pixels: of all of them, or of each, in an array of shape (n,)."""


def geometry_of(crop: Any, height: Side, width: Side) -> Geometry:
    """Return what the rows of a crop's table say of where the pixels of images of this size come from.

    Parameters
    ----------
    crop : Crop
        One that has no `geometry` of its own cuts pixels out as they are.
    height, width : int or ndarray of int64, shape (n,)
        Size of the source images in pixels. Where each has its own, those that need not be resized have boxes, too.

    Raises
    ------
    ValueError
        If the crop can't be made of such images.
    """
    return crop.geometry(height, width) if hasattr(crop, "geometry") else "crop"


def turns(crop: Any) -> bool:
    """Tell whether a crop may turn images by a quarter."""
    return bool(getattr(crop, "turn", False))


def is_drawn(crop: Any) -> bool:
    """Tell whether a crop is another one in another epoch. One of a user's own is so if it has `is_random`, and that is true."""
    return bool(getattr(crop, "is_random", False))


def rows_of(crop: Any, height: Side, width: Side, samples: NDArray[np.int64], seed: int, epoch: int) -> TransformTable:
    """Return the geometry of a batch: a table with crops, and boxes or matrices where the crop resizes or maps images.

    Parameters
    ----------
    crop : Crop
    height, width : int or ndarray of int64, shape (n,)
        Size of the source images in pixels: of all of them, or of each.
    samples : ndarray of int64, shape (n,)
        Sample ids. The image of `samples[k]` is in slot k.
    seed, epoch : int

    Returns
    -------
    TransformTable
        With the sizes of the images where each has its own.

    Raises
    ------
    ValueError
        If the crop does not fit.
    """
    if not hasattr(crop, "rows"):
        return TransformTable(crop.table(height, width, samples, seed, epoch))
    table: TransformTable = crop.rows(height, width, samples, seed, epoch)
    if not has_sizes(height):
        return table
    return dataclasses.replace(table, sizes=of_rows(np.stack([height, width], axis=1), len(table)))


def has_sizes(height: Side) -> TypeGuard[NDArray[np.int64]]:
    """Tell whether each image has a size of its own."""
    return isinstance(height, np.ndarray)


def of_rows(values: NDArray, n_rows: int) -> NDArray:
    """Return the values of each image for the rows of its table, as many for each image."""
    return values.repeat(n_rows // len(values), axis=0)


def first_rows(n: int) -> NDArray[np.int32]:
    """Return the crop table of n images, one row for each: int32, shape (n, 4), with the slots, and zeros."""
    rows = np.zeros((n, 4), np.int32)
    rows[:, 0] = np.arange(n)
    return rows


def drawn_rows(
    crop: Any, samples: NDArray[np.int64], seed: int, epoch: int, last: tuple[Side, Side] | None = None
) -> NDArray[np.int32]:
    """Return a crop table with one row for each sample, and the flags that are drawn for it: int32, shape (n, 4).

    Parameters
    ----------
    crop : object
        With `mirror`, `flip` and `turn`.
    samples : ndarray of int64, shape (n,)
        Sample ids. The image of `samples[k]` is in slot k.
    seed, epoch : int
    last : (int, int), or two ndarray of int64, shape (n,), optional
        Largest y and x, of all samples or of each. They are drawn from 0 on; None: both are 0.
    """
    draws, columns = Draws(samples, seed, epoch), []
    if last is not None:
        columns += [(1, Stream.Y, last[0] + 1, 1), (2, Stream.X, last[1] + 1, 1)]
    if crop.mirror:
        columns.append((3, Stream.MIRROR, 2, MIRRORED))
    if crop.flip:
        columns.append((3, Stream.FLIP, 2, FLIPPED))
    rows = draws.rows(columns)
    if turns(crop):
        rows[:, 3] ^= _QUARTER_TURNS[draws.integers(Stream.TURN, 4)]
    return rows


def check_flags(crop: Any) -> None:
    """Check that `mirror`, `flip` and `turn` of a crop, as far as it has them, are True or False.

    Raises
    ------
    ValueError
        If one of them is anything else.
    """
    for name in ("mirror", "flip", "turn"):
        check_flag(name, getattr(crop, name, False))


def check_turn(turn: bool, size: tuple[int, int]) -> None:
    """Check that crops of a size can be turned by a quarter.

    Raises
    ------
    ValueError
        If they are to be turned and are not square.
    """
    if turn and size[0] != size[1]:
        raise ValueError(f"turn=True needs square crops, got {size[0]}x{size[1]}")


def resized_size(resize: Size, height: Side, width: Side) -> tuple[Side, Side]:
    """Return height and width of a resized image.

    Parameters
    ----------
    resize : int or (int, int)
        Its height and width; or the length of its shorter side. The longer one is then in proportion, rounded down as in
        `torchvision.transforms.Resize`.
    height, width : int or ndarray of int64, shape (n,)
        Size of the image in pixels, or of each of n images.

    Returns
    -------
    (int, int), or two ndarray of int64, shape (n,)
    """
    if isinstance(resize, tuple):
        return resize
    if has_sizes(height):
        longer_sides = (resize * np.maximum(height, width) / np.minimum(height, width)).astype(np.int64)
        is_wide = height <= width
        return np.where(is_wide, resize, longer_sides), np.where(is_wide, longer_sides, resize)
    longer = int(resize * max(height, width) / min(height, width))
    return (resize, longer) if height <= width else (longer, resize)


def boxes_of(
    crops: NDArray[np.int32], size: tuple[int, int], resized: tuple[Side, Side], height: Side, width: Side
) -> TransformTable:
    """Return the table of crops of resized images: each becomes a box of the source, so that it is resized in one pass.

    Parameters
    ----------
    crops : ndarray of int32, shape (n_out, 4)
        Crop table of the resized images. Crops that are turned by a quarter are square.
    size : (int, int)
        Height and width of the crops.
    resized : (int, int), or two ndarray of int64, shape (n,)
        Height and width of the resized images: of all of them, or of each.
    height, width : int or ndarray of int64, shape (n,)
        Size of the source images.

    Returns
    -------
    TransformTable
        With edges of boxes at (y, x) * source size / resized size. Output pixels then have the centres, and the filter, that they
        have in the resized image. A first edge and a length never add up to more than the side, in float64 either: their sum is
        off by half of the last bit at most, and a side is even in that bit.
    """
    source, sides = np.stack([height, width], axis=-1).astype(np.float64), np.stack(np.broadcast_arrays(*resized), axis=-1)
    if has_sizes(height):
        source = of_rows(source, len(crops))
    if sides.ndim == 2:
        sides = of_rows(sides, len(crops))
    starts = crops[:, 1:3].astype(np.float64)
    first, last = starts * source / sides, (starts + size) * source / sides
    rows = crops.copy()
    rows[:, 1:3] = 0
    return TransformTable(rows, np.concatenate([first, last - first], axis=1))


def compose_positions(outer: NDArray[np.float64], inner: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the maps of positions that apply `inner` and then `outer`, each of shape (n, 2, 3).

    Products are added in one order, so that the bits are the same on every machine.
    """
    product = outer[:, :, :1] * inner[:, :1] + outer[:, :, 1:2] * inner[:, 1:]
    product[:, :, 2] += outer[:, :, 2]
    return product


def as_matrices(table: TransformTable, size: tuple[int, int]) -> NDArray[np.float64]:
    """Return where each position of the output images lies in the source, flags included.

    Parameters
    ----------
    table : TransformTable
        Of any geometry.
    size : (int, int)
        Height and width of the output, in pixels.

    Returns
    -------
    ndarray of float64, shape (n_out, 2, 3)
        Source position (x, y) = matrix @ (column, row, 1), in pixels.
    """
    (h, w), flags = size, table.crops[:, 3]
    is_mirrored, is_flipped, is_turned = ((flags & flag) != 0 for flag in (MIRRORED, FLIPPED, TRANSPOSED))
    before_flags = np.zeros((len(table), 2, 3))
    before_flags[:, 0, 0], before_flags[:, 0, 2] = np.where(is_mirrored, -1, 1), np.where(is_mirrored, w, 0)
    before_flags[:, 1, 1], before_flags[:, 1, 2] = np.where(is_flipped, -1, 1), np.where(is_flipped, h, 0)
    before_flags[is_turned] = before_flags[is_turned, ::-1]
    if table.matrices is not None:
        return compose_positions(table.matrices, before_flags)
    source = np.zeros((len(table), 2, 3))
    if table.boxes is not None:
        tops, lefts, heights, widths = table.boxes.T
        source[:, 0, 0], source[:, 0, 2] = widths / np.where(is_turned, h, w), lefts
        source[:, 1, 1], source[:, 1, 2] = heights / np.where(is_turned, w, h), tops
    else:
        source[:, 0, 0] = source[:, 1, 1] = 1
        source[:, 0, 2], source[:, 1, 2] = table.crops[:, 2], table.crops[:, 1]
    return compose_positions(source, before_flags)


def moved(table: TransformTable, size: tuple[int, int], positions: NDArray[np.float64]) -> TransformTable:
    """Return the table of output images whose pixels are then moved, which has matrices and no flags.

    Parameters
    ----------
    table : TransformTable
        Of any geometry.
    size : (int, int)
        Height and width of the output, in pixels.
    positions : ndarray of float64, shape (n_out, 2, 3)
        Where each position of the moved image lies in the output.
    """
    rows = np.zeros_like(table.crops)
    rows[:, 0] = table.crops[:, 0]
    return TransformTable(rows, matrices=compose_positions(as_matrices(table, size), positions), sizes=table.sizes)
