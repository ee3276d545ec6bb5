"""Checks of arguments, in the words of a user."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_sampling(batch_size: object, shuffle_window: object, seed: object, shard: object) -> None:
    """Check the arguments that decide which samples a batch has.

    Raises
    ------
    ValueError
        If one of them breaks its rule.
    """
    check_integer("batch_size", batch_size, 1)
    if shuffle_window is not None:
        check_integer("shuffle_window", shuffle_window, 0)
    check_integer("seed", seed)
    check_shard(shard)


def check_integer(name: str, value: object, least: int | None = None) -> None:
    """Check that an argument is an integer.

    Raises
    ------
    ValueError
        If it is not an integer, or is below `least`.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or (least is not None and value < least):
        rule = "" if least is None else f" of at least {least}"
        raise ValueError(f"{name} must be an integer{rule}, got {value!r}")


def check_flag(name: str, value: object) -> None:
    """Check that an argument is True or False; 1 and 0 are these, too, as in many files of settings.

    Raises
    ------
    ValueError
        If it is anything else, such as the text "no", which Python takes for true.
    """
    if not isinstance(value, bool | np.bool_ | int | np.integer) or value not in (0, 1):
        raise ValueError(f"{name} must be True or False, got {value!r}")


def check_shard(shard: Any) -> None:
    """Check that an argument is a pair (rank, world).

    Raises
    ------
    ValueError
        If it is not a pair of integers with 0 <= rank < world.
    """
    pair = isinstance(shard, tuple | list) and len(shard) == 2 and all(isinstance(k, int | np.integer) for k in shard)
    if not pair or not 0 <= shard[0] < shard[1]:
        raise ValueError(f'shard must be integers (rank, world) with 0 <= rank < world, or "auto", got {shard!r}')
