"""Stateless random numbers: integer hashes of (seed, epoch, sample), the same on every machine and with every numpy."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_GOLDEN_GAMMA = 0x9E3779B97F4A7C15  # 2**64 / golden ratio, odd
_MASK = 0xFFFFFFFFFFFFFFFF


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
    state = 0
    for part in parts:
        mixed = mix64(np.array([(state + _GOLDEN_GAMMA + (int(part) & _MASK)) & _MASK], np.uint64))
        state = int(mixed[0])
    return state


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
    return ((_bits(stream, counters) >> np.uint64(32)) * np.asarray(n_values, np.uint64) >> np.uint64(32)).astype(np.int64)


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
    return (_bits(stream, counters) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _bits(stream: int, counters: NDArray[np.integer]) -> NDArray[np.uint64]:
    return mix64(mix64(np.asarray(counters).astype(np.uint64) * np.uint64(_GOLDEN_GAMMA) + np.uint64(stream)))
