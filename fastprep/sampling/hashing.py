"""Stateless random numbers: integer hashes of (seed, epoch, sample), the same on every machine and with every numpy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fastprep.sampling import _hashes


def mix64(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix the bits of 64-bit integers: the finaliser of SplitMix64.

    A bijection of the 64-bit integers whose output bits each depend on all input bits.

    Parameters
    ----------
    values : ndarray of uint64, any shape

    Returns
    -------
    ndarray of uint64, same shape

    References
    ----------
    Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014 (variant 13 of Stafford's mixers).
    """
    z = np.asarray(values, np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@lru_cache(maxsize=1024)
def key(*parts: int) -> int:
    """Fold integers (a seed, an epoch, the name of a stream) into one 64-bit key.

    Parameters
    ----------
    *parts : int
        Any integers; only their low 64 bits count. Their order matters.

    Returns
    -------
    int in 0..2**64-1
    """
    return _hashes.key(int(part) for part in parts)


def draw(stream: int, counters: NDArray[np.integer], n_values: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """Draw an integer for each counter, uniform in 0..n_values-1.

    Parameters
    ----------
    stream : int
        Key of the stream, from `key`.
    counters : ndarray of integers, shape (n,)
        Sample ids, for example. The same counter always gets the same number.
    n_values : int, or ndarray of int64, shape (n,)
        1..2**32, for all counters or for each.

    Returns
    -------
    ndarray of int64, shape (n,)

    Notes
    -----
    The upper 32 bits of the hash are scaled by multiplication (Lemire, "Fast random integer generation in an interval",
    ACM TOMACS 2019), without the rejection step of that paper: the bias is at most n_values / 2**32.
    """
    return _hashes.draw(stream, _numbers(counters), _numbers(n_values))


def draw_rows(counters: NDArray[np.integer], draws: Sequence[tuple[int, int, int | NDArray[np.int64], int]]) -> NDArray[np.int32]:
    """Return rows of four numbers, the first of which is the row's own, with integers of several streams added to the others.

    Parameters
    ----------
    counters : ndarray of integers, shape (n,)
    draws : sequence of tuple
        The column to which integers are added, the key of the stream, the number of values, as in `draw`, and what each integer
        is multiplied by.

    Returns
    -------
    ndarray of int32, shape (n, 4)
    """
    return _hashes.draw_rows(_numbers(counters), [(column, key, _numbers(n), times) for column, key, n, times in draws])


def uniform(stream: int, counters: NDArray[np.integer]) -> NDArray[np.float64]:
    """Draw a number for each counter, uniform in 0..1 without 1: a multiple of 2**-53.

    Parameters
    ----------
    stream : int
        Key of the stream, from `key`.
    counters : ndarray of integers, shape (n,)

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    return uniforms([stream], counters)[0]


def uniforms(streams: Sequence[int], counters: NDArray[np.integer]) -> NDArray[np.float64]:
    """Draw a number for each counter on each of some streams, as `uniform` does: float64, shape (streams, n)."""
    return _hashes.uniform(streams, _numbers(counters))


def _numbers(values: int | NDArray[np.integer]) -> NDArray[np.int64]:
    return np.ascontiguousarray(values, np.int64)
