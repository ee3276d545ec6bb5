"""The argument `transform`: a function of the user's own that each batch goes through on the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.sampling import hashing
from fastprep.transforms.draws import Stream

Transform = Callable[[Any, np.random.Generator], Any]


class HostTransform:
    """A function that is called with x of each batch, and what is checked of its result.

    Parameters
    ----------
    function : callable
        Takes x and a `numpy.random.Generator`. It changes x in place and returns None, or returns another array; a dict of arrays
        where a network has several inputs.
    check_finite : bool
        Whether values that are not finite are an error.

    Raises
    ------
    ValueError
        If it is not callable.
    """

    def __init__(self, function: Transform, check_finite: bool) -> None:
        if not callable(function):
            raise ValueError(f"transform must be a function of x and a random generator, or None, got {function!r}")
        self.function, self.check_finite = function, check_finite

    def apply(self, x: Any, numbers: NDArray[np.int64], seed: int, epoch: int) -> None:
        """Replace x by what the function makes of it.

        Parameters
        ----------
        x : ndarray, shape (rows, h, w, C) or (rows, C, h, w), or dict of str to such
        numbers : ndarray of int64
            The random numbers follow from these, the numbers of the samples, and from `seed` and `epoch`.
        seed, epoch : int

        Raises
        ------
        ValueError
            If the result is not None and not an array of the shape and type of x, or is not finite.
        """
        key = hashing.key(seed, epoch, Stream.FUNCTION)
        rng = np.random.default_rng([key, *hashing.mix64(numbers.astype(np.uint64))])
        if not isinstance(x, dict):
            self._take(x, self.function(x, rng), "")
            return
        made = self.function(dict(x), rng)
        if made is not None and (not isinstance(made, dict) or made.keys() != x.keys()):
            found = f"a dict of {', '.join(map(repr, made))}" if isinstance(made, dict) else repr(made)[:80]
            raise ValueError(f"transform must return None or a dict with the names of x, {', '.join(map(repr, x))}, got {found}")
        for name, own in x.items():
            self._take(own, None if made is None else made[name], f" for {name!r}")

    def _take(self, x: NDArray, made: Any, where: str) -> None:
        if made is not None and made is not x:
            if not isinstance(made, np.ndarray) or made.shape != x.shape or made.dtype != x.dtype:
                what = f"{made.dtype} {made.shape}" if isinstance(made, np.ndarray) else repr(made)[:80]
                rule = f"transform must return None or an array of x's type and shape{where}, {x.dtype} {x.shape}"
                raise ValueError(f"{rule}, got {what}")
            x[...] = made
        if self.check_finite and not np.isfinite(x).all():
            raise ValueError(f"transform made NaN or infinity{where}; mend it, or pass check_finite=False to get such values")


def host_device(device: str, why: str) -> str:
    """Return "cpu" for a device on which a batch can be made in memory of the host.

    Parameters
    ----------
    device : str
        Argument of a loader.
    why : str
        Why it has to be made there, for an error.

    Raises
    ------
    ValueError
        If `device` asks for a CUDA device.
    """
    if device not in ("auto", "cpu"):
        raise ValueError(f'{why}: device must be "auto" or "cpu", got {device!r}')
    return "cpu"
