"""Checks of a loader's arguments, before a file is opened."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_integer(name: str, value: object, least: int | None = None) -> None:
    """Check that an argument is an integer.

    Raises
    ------
    ValueError
        If it is none, or below `least`.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or (least is not None and value < least):
        rule = "" if least is None else f" of at least {least}"
        raise ValueError(f"{name} must be an integer{rule}, got {value!r}")


def check_shard(shard: Any) -> None:
    """Check that an argument is a share of the samples.

    Raises
    ------
    ValueError
        If it is not (rank, world).
    """
    pair = isinstance(shard, tuple | list) and len(shard) == 2 and all(isinstance(k, int | np.integer) for k in shard)
    if not pair or not 0 <= shard[0] < shard[1]:
        raise ValueError(f"shard must be integers (rank, world) with 0 <= rank < world, got {shard!r}")


def check_crop(crop: object) -> None:
    """Check that an argument says how to crop.

    Raises
    ------
    ValueError
        If it is no crop, or a class of crops, and not None either.
    """
    if crop is not None and (isinstance(crop, type) or not hasattr(crop, "height_width")):
        raise ValueError(f"crop must be like RandomCrop(227), CenterCrop(227), TenCrop(227), or None, got {crop!r}")
