"""Whole numbers of samples, or whole groups of them, for shares: the nearest there are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray


def shared_out(counts: Sequence[int], shares: Sequence[Fraction]) -> list[list[int]]:
    """Share out the samples of each class, and with them all samples, exact to one sample.

    Parameters
    ----------
    counts : sequence of int
        Samples of each class.
    shares : sequence of Fraction
        Share of each part; together 1.

    Returns
    -------
    list of list of int
        Row c has the samples of class c in each part: counts[c] * share, rounded up or down. So are the sums of the columns.

    Notes
    -----
    Such a table exists always. Its samples beyond the floors are a flow from the classes to the parts, whose capacities are
    whole numbers, and the unrounded table is a flow, too. It is found from a first guess, in which each sample goes to the part
    that lacks most so far, by moving samples along paths from parts that have too many to parts that may have more.
    """
    unit = math.lcm(*(share.denominator for share in shares))
    parts = [int(share * unit) for share in shares]
    floors = [[count * part // unit for part in parts] for count in counts]
    rests = [[count * part % unit for part in parts] for count in counts]
    n_more = [sum(row) // unit for row in rests]  # samples of each class beyond the floors
    more = np.zeros((len(counts), len(parts)), bool)
    missing = [0] * len(parts)
    for k, row in enumerate(rests):
        missing = [value + rest for value, rest in zip(missing, row, strict=True)]
        for j in sorted((j for j, rest in enumerate(row) if rest), key=lambda j: (-missing[j], j))[: n_more[k]]:
            more[k, j] = True
            missing[j] -= unit
    _settle_columns(more, np.array(rests, bool), [sum(column) for column in zip(*rests, strict=True)], unit)
    return [[floor + int(extra) for floor, extra in zip(*rows, strict=True)] for rows in zip(floors, more, strict=True)]


def _settle_columns(more: NDArray[np.bool_], allowed: NDArray[np.bool_], sums: Sequence[int], unit: int) -> None:
    """Move samples between the parts, inside their classes, until each part has sums / unit of them, rounded up or down."""
    least, most = [value // unit for value in sums], [-(-value // unit) for value in sums]
    while True:
        have = more.sum(axis=0).tolist()
        above = [j for j, n in enumerate(have) if n > most[j]]
        below = [j for j, n in enumerate(have) if n < least[j]]
        if above:
            path = _path(more, allowed, above[0], [j for j, n in enumerate(have) if n < most[j]])
        elif below:
            path = _path(more ^ allowed, allowed, below[0], [j for j, n in enumerate(have) if n > least[j]])[::-1]
        else:
            return
        for j, k in itertools.pairwise(path):
            row = int(np.argmax(more[:, j] & allowed[:, k] & ~more[:, k]))
            more[row, j], more[row, k] = False, True


def _path(more: NDArray[np.bool_], allowed: NDArray[np.bool_], start: int, goals: Sequence[int]) -> list[int]:
    """Return the shortest path of parts from `start` to one of `goals`, each of which can hand a sample on to the next."""
    came_from = {start: start}
    queue = [start]
    for j in queue:
        if j in goals:
            path = [j]
            while path[-1] != start:
                path.append(came_from[path[-1]])
            return path[::-1]
        movable = (more[:, [j]] & allowed & ~more).any(axis=0)
        for k in np.flatnonzero(movable).tolist():
            if k not in came_from:
                came_from[k] = j
                queue.append(k)
    raise AssertionError("a table with these sums exists")


def whole_groups(
    strata: NDArray[np.int64], groups: NDArray[np.int64], order: NDArray[np.int64], shares: Sequence[Fraction]
) -> NDArray[np.int64]:
    """Place groups into parts, the largest first, each where it leaves the smallest squared error of all classes.

    Parameters
    ----------
    strata : ndarray of int64, shape (N,)
        Class of each sample, 0..K-1.
    groups : ndarray of int64, shape (N,)
        Group of each sample, 0..G-1.
    order : ndarray of int64, shape (G,)
        Order of groups of the same size.
    shares : sequence of Fraction
        Share of each part.

    Returns
    -------
    ndarray of int64, shape (G,)
        Part of each group.

    Notes
    -----
    The error of a class in a part is relative to the number that the part should have, and so is that of the number of all
    samples. Sums are exact or exactly rounded, so that the result does not depend on the machine.
    """
    n_parts, n_groups = len(shares), len(order)
    n_strata = int(strata.max()) + 1
    counts = np.bincount(strata)
    wanted = np.array([[float(count * share) for count in (*counts.tolist(), len(strata))] for share in shares])
    have = np.zeros((n_parts, n_strata + 1))
    sizes = np.bincount(groups, minlength=n_groups)
    by_group = np.lexsort((strata, groups))
    first = np.concatenate([[0], np.cumsum(sizes)])
    part_of = np.empty(n_groups, np.int64)
    for group in order[np.argsort(-sizes[order], kind="stable")].tolist():
        classes, numbers = np.unique(strata[by_group[first[group] : first[group + 1]]], return_counts=True)
        places, added = [*classes.tolist(), n_strata], np.array([*numbers.tolist(), int(sizes[group])], np.float64)
        # the change of (have - wanted)**2 / wanted
        changes = added * (2 * (have[:, places] - wanted[:, places]) + added) / wanted[:, places]
        part = min(range(n_parts), key=lambda j: (math.fsum(changes[j]), j))
        have[part, places] += added
        part_of[group] = part
    return part_of
