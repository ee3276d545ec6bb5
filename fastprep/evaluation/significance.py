"""How far chance alone may move an accuracy, and whether two models differ by more than chance."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_Z = 1.959963984540054  # of the normal distribution, for 95 %


def interval(n_right: int, n: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share, such as an accuracy.

    Parameters
    ----------
    n_right, n : int
        Number of right answers, and of all; n at least 1.

    Returns
    -------
    float, float
        Lower and upper end, 0..1. Wilson's score interval [1]_, which stays inside 0..1 and also holds for shares near 0 and 1.

    References
    ----------
    .. [1] Edwin B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the American
       Statistical Association 22, 1927, pages 209 to 212.
    """
    share, z2 = n_right / n, _Z * _Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    reach = _Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return (0.0 if n_right == 0 else middle - reach), (1.0 if n_right == n else middle + reach)


class Comparison(NamedTuple):
    """Two models on the same images.

    Attributes
    ----------
    only_first, only_second : int
        Images that one of them has right, and the other one wrong.
    p : float
        Probability, 0..1, of a difference at least as large if the two are equally good.
    """

    only_first: int
    only_second: int
    p: float


def compare(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Comparison:
    """Compare two models by the images that only one of them has right.

    This is McNemar's test [1]_ in its exact, two-sided form. Images that both have right, or both wrong, tell nothing of a
    difference.

    Parameters
    ----------
    first, second : ndarray of bool, shape (N,)
        Whether each image is right.

    Returns
    -------
    Comparison

    References
    ----------
    .. [1] Quinn McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
       Psychometrika 12, 1947, pages 153 to 157.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    n, fewer = only_first + only_second, min(only_first, only_second)
    # of n fair coins, so few or fewer show heads: logarithms, since the numbers of ways overflow
    ways = (math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2) for k in range(fewer + 1))
    return Comparison(only_first, only_second, min(1.0, 2 * math.fsum(map(math.exp, ways))))
