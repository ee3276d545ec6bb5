"""Split of samples into parts, and into folds: stratified by class, with whole groups, and the same on every machine."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprep.sampling import hashing
from fastprep.sampling.checks import check_integer
from fastprep.sampling.order import permute
from fastprep.sampling.rounding import shared_out, whole_groups
from fastprep.sampling.strata import groups_of, strata_of

_log = logging.getLogger(__name__)

_MOST_NAMED = 8  # parts in a warning
_TOLERANCE = 1e-5  # of the sum of the shares, which may be rounded thirds
_SAMPLES, _GROUPS, _CLASSES = (-1, 1), (-1, 2), (-1, 3)  # streams of the draws; those of epochs have a number from 0 on


def split(
    labels: ArrayLike | int,
    shares: Sequence[float],
    *,
    seed: int = 0,
    stratify: bool | ArrayLike = True,
    groups: ArrayLike | None = None,
) -> tuple[NDArray[np.int64], ...]:
    """Split samples into parts of given shares, such as training, validation and test.

    Parameters
    ----------
    labels : array_like of shape (N, ...), or int
        Labels of all samples, as `Loader.labels` has them: integers, texts, or rows such as one-hot ones. An integer is a number
        of samples without labels.
    shares : sequence of float
        Share of each part, above 0; together 1. For example (0.8, 0.1, 0.1).
    seed : int, default 0
        Seed of the draws.
    stratify : bool or array_like of shape (N,), default True
        Whether each class is shared out by itself, so that all parts have the same mixture of classes. An array_like has other
        classes to stratify by. Labels that are not classes, such as measured values, need False.
    groups : array_like of shape (N,), or None, default None
        Group of each sample, such as the patient: integers or texts. All samples of a group go into the same part.

    Returns
    -------
    tuple of ndarray of int64
        Numbers of the samples of each part, ascending, for `Loader(indices=...)`. Each sample is in exactly one part.

    Raises
    ------
    ValueError
        If an argument breaks its rule, or a part would be empty.

    Notes
    -----
    Of the n samples of a class, a part with the share s has n * s, rounded up or down, and so it has of all N samples. The
    remainders are shared out as in a controlled rounding of a table (Cox: "A constructive procedure for unbiased controlled
    rounding", JASA 1987). The arithmetic is exact, and the draws are those of the package, so the result is the same on every
    machine. With groups the shares are as close as whole groups come when they are placed one after another, the largest first,
    each where it leaves the smallest squared error.

    Examples
    --------
    >>> train, val, test = fastprep.split(labels, (0.8, 0.1, 0.1), seed=7)
    >>> loader = fastprep.Loader("galaxies.h5", 128, fastprep.RandomCrop(64), indices=train, shuffle=True)
    """
    n_samples, strata = _checked(labels, stratify, seed, "split")
    fractions = _check_shares(shares)
    if groups is None:
        part = _part_of_samples(strata, fractions, seed)
    else:
        part = _part_of_groups(strata, groups_of(groups, n_samples), fractions, seed)
    parts = tuple(np.flatnonzero(part == number) for number in range(len(fractions)))
    for share, members in zip(shares, parts, strict=True):
        if len(members) == 0:
            found = f"{n_samples} samples" if groups is None else f"{n_samples} samples in {len(np.unique(groups))} groups"
            raise ValueError(f"shares must leave a sample for each part, but {share:g} of {found} is none")
    _warn_of_missing_classes(strata, part, len(parts), "split", "part")
    return parts


def folds(
    labels: ArrayLike | int,
    n_folds: int,
    *,
    seed: int = 0,
    stratify: bool | ArrayLike = True,
    groups: ArrayLike | None = None,
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Divide samples into folds for a cross-validation.

    Parameters
    ----------
    labels : array_like of shape (N, ...), or int
        As for `split`.
    n_folds : int
        Number of folds: 2 and up, at most the number of samples or of groups.
    seed : int, default 0
        Seed of the draws.
    stratify : bool or array_like of shape (N,), default True
        As for `split`.
    groups : array_like of shape (N,), or None, default None
        As for `split`.

    Returns
    -------
    list of (ndarray of int64, ndarray of int64)
        For each fold the samples of training, which are all others, and those of validation. Numbers are ascending. Each sample
        is in the validation of exactly one fold.

    Raises
    ------
    ValueError
        If an argument breaks its rule, or a fold would be empty.

    Notes
    -----
    The numbers of samples of two folds differ by one at most, of each class and of all classes; with `groups`, as much as whole
    groups need.

    Examples
    --------
    >>> for train, val in fastprep.folds(labels, 5, seed=7): ...
    """
    n_samples, strata = _checked(labels, stratify, seed, "folds")
    check_integer("n_folds", n_folds, 2)
    if groups is None:
        if n_folds > n_samples:
            raise ValueError(f"n_folds must be at most the number of samples, {n_samples}, got {n_folds}")
        fold = np.empty(n_samples, np.int64)
        fold[_drawn_order(strata, seed)] = np.arange(n_samples) % n_folds  # deals out class by class, without a new start
    else:
        numbers = groups_of(groups, n_samples)
        if n_folds > (n_groups := int(numbers.max()) + 1):
            raise ValueError(f"n_folds must be at most the number of groups, {n_groups}, got {n_folds}")
        fold = _part_of_groups(strata, numbers, [Fraction(1, int(n_folds))] * int(n_folds), seed)
    pairs = [(np.flatnonzero(fold != number), np.flatnonzero(fold == number)) for number in range(n_folds)]
    if any(len(val) == 0 for _, val in pairs):
        raise ValueError(f"n_folds must leave a group for each fold, but {n_folds} folds of groups so unequal do not: say fewer")
    _warn_of_missing_classes(strata, fold, n_folds, "folds", "fold")
    return pairs


def _checked(labels: ArrayLike | int, stratify: bool | ArrayLike, seed: int, name: str) -> tuple[int, NDArray[np.int64]]:
    """Return the number of samples, and the stratum of each."""
    check_integer("seed", seed)
    if isinstance(labels, int | np.integer) and not isinstance(labels, bool):
        check_integer("labels, as a number of samples,", labels, 1)
        n_samples, classes = int(labels), None
    else:
        if labels is None:
            raise ValueError(f"{name} needs labels, or the number of samples in their place, got None")
        if isinstance(labels, dict) or (isinstance(labels, list | tuple) and any(getattr(part, "ndim", 0) for part in labels)):
            way_out = f"pass one of them to {name}, or rows of one output as one array, such as numpy.stack(labels)"
            raise ValueError(f"labels must be those of one output, got {len(labels)} outputs: {way_out}")
        classes = np.asarray(labels)
        n_samples = len(classes) if classes.ndim else 0
        if n_samples == 0:
            raise ValueError(f"labels must be an array with an entry for each sample, or a number of samples, got {labels!r:.80}")
    if isinstance(stratify, bool | np.bool_):
        if not stratify or classes is None:
            return n_samples, np.zeros(n_samples, np.int64)
        return n_samples, strata_of(classes, "labels", "pass stratify=False to split them without regard to that")
    others = np.asarray(stratify)
    if others.shape[:1] != (n_samples,):
        rule = f"stratify must be True, False, or a class for each of the {n_samples} samples"
        raise ValueError(f"{rule}, got shape {others.shape}")
    return n_samples, strata_of(others, "stratify", "pass True or False, or classes")


def _check_shares(shares: Sequence[float]) -> list[Fraction]:
    """Return the shares as exact fractions, which add up to 1."""
    values = np.asarray(shares)
    is_list = values.ndim == 1 and len(values) >= 2 and values.dtype.kind in "iuf"
    if not is_list or not (np.isfinite(values).all() and (values > 0).all() and abs(float(values.sum()) - 1) < _TOLERANCE):
        raise ValueError(f"shares must be two numbers above 0 or more, which add up to 1, got {shares!r}")
    fractions = [Fraction(repr(float(value))) for value in values]  # what was typed: 0.7 is seven tenths
    total = sum(fractions)
    return [fraction / total for fraction in fractions]


def _drawn_order(strata: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return the samples, one stratum after the other, each in an order that is drawn."""
    drawn = permute(np.arange(len(strata)), len(strata), hashing.key(seed, *_SAMPLES))
    return np.lexsort((drawn, strata))


def _part_of_samples(strata: NDArray[np.int64], shares: list[Fraction], seed: int) -> NDArray[np.int64]:
    counts = np.bincount(strata)
    # in a drawn order, so that no class, and no sample, is favoured where a remainder is given away
    classes = permute(np.arange(len(counts)), len(counts), hashing.key(seed, *_CLASSES))
    table = np.empty((len(counts), len(shares)), np.int64)
    table[classes] = shared_out(counts[classes].tolist(), shares)
    part = np.empty(len(strata), np.int64)
    part[_drawn_order(strata, seed)] = np.concatenate([np.repeat(np.arange(len(shares)), row) for row in table])
    return part


def _part_of_groups(strata: NDArray[np.int64], groups: NDArray[np.int64], shares: list[Fraction], seed: int) -> NDArray[np.int64]:
    n_groups = int(groups.max()) + 1
    order = permute(np.arange(n_groups), n_groups, hashing.key(seed, *_GROUPS))
    return whole_groups(strata, groups, order, shares)[groups]


def _warn_of_missing_classes(strata: NDArray[np.int64], part: NDArray[np.int64], n_parts: int, name: str, noun: str) -> None:
    n_strata = int(strata.max()) + 1
    n_present = np.bincount(np.unique(part * n_strata + strata) // n_strata, minlength=n_parts)
    lacking = np.flatnonzero(n_present < n_strata).tolist()
    if lacking:
        parts = ", ".join(f"{noun} {number} lacks {n_strata - n_present[number]}" for number in lacking[:_MOST_NAMED])
        parts += ", ..." * (len(lacking) > _MOST_NAMED)
        _log.warning("%s: some of the %d classes have too few samples, or groups, for every %s: %s", name, n_strata, noun, parts)
