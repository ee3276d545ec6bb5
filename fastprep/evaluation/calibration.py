"""How far probabilities are the shares of right answers that they claim to be."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

N_BINS = 15
_AT_ONCE = 2**20  # predictions, so that those of many labels take no memory as large as their own


class Bin(NamedTuple):
    """Predictions of about the same probability.

    Attributes
    ----------
    low, high : float
        Probabilities above `low` and up to `high`; in the first bin from 0 on.
    n : int
        Number of predictions.
    claimed, right : float
        Mean of their probabilities, and share of those that are right; 0 if there are none.
    """

    low: float
    high: float
    n: int
    claimed: float
    right: float


class Calibration(NamedTuple):
    """Calibration of predictions.

    Attributes
    ----------
    error : float
        Expected calibration error, 0..1.
    bins : list of Bin
    """

    error: float
    bins: list[Bin]


def calibration(probabilities: NDArray[np.float64], right: NDArray[np.bool_], n_bins: int = N_BINS) -> Calibration:
    """Compare probabilities with the shares of predictions that are right.

    Parameters
    ----------
    probabilities : ndarray of float64, shape (N,)
        What each prediction claims, 0..1; N at least 1.
    right : ndarray of bool, shape (N,)
        Whether it is so.
    n_bins : int
        Number of bins of equal width.

    Returns
    -------
    Calibration
        The expected calibration error [1]_ is the mean over the predictions of the difference, without its sign, between the two
        numbers of their bin. Bins are those of [2]_, which has 15 of them.

    References
    ----------
    .. [1] Mahdi Pakdaman Naeini, Gregory F. Cooper and Milos Hauskrecht, "Obtaining well calibrated probabilities using Bayesian
       binning", AAAI Conference on Artificial Intelligence, 2015.
    .. [2] Chuan Guo, Geoff Pleiss, Yu Sun and Kilian Q. Weinberger, "On calibration of modern neural networks", International
       Conference on Machine Learning, 2017, section 2.
    """
    edges = np.arange(n_bins + 1) / n_bins
    counts, claims, hits = np.zeros(n_bins, np.int64), np.zeros(n_bins), np.zeros(n_bins)
    for first in range(0, len(probabilities), _AT_ONCE):
        some = probabilities[first : first + _AT_ONCE]
        places = np.clip(np.searchsorted(edges, some, side="left") - 1, 0, n_bins - 1)
        counts += np.bincount(places, minlength=n_bins)
        claims += np.bincount(places, some, n_bins)
        hits += np.bincount(places, right[first : first + _AT_ONCE], n_bins)
    at_least_one = np.maximum(counts, 1)
    claimed, shares = claims / at_least_one, hits / at_least_one
    error = float((counts * np.abs(claimed - shares)).sum() / len(probabilities))
    columns = (edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), claimed.tolist(), shares.tolist())
    return Calibration(error, [Bin(*values) for values in zip(*columns, strict=True)])
