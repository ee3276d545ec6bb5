"""Weights of classes in the training loss, as --class-weight says them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastprep.dataset import balanced_weights
from fastprep.errors import InputError
from fastprep.training.file_checks import join_some


def class_weights(wanted: str, counts: NDArray[np.int64], names: tuple[str, ...]) -> dict[int, float] | None:
    """Return the weight of each class.

    Parameters
    ----------
    wanted : str
        "none", "balanced", or weights by name or number, such as "cat:1,dog:2.5".
    counts : ndarray of int64, shape (classes,)
        Images of each class.
    names : tuple of str
        Names of the classes; empty if they have none.

    Returns
    -------
    dict of int to float, or None
        None for "none". Classes without images are left out.

    Raises
    ------
    InputError
        If `wanted` has another form, or a weight is not finite or negative.
    """
    present = np.flatnonzero(counts)
    if wanted == "none":
        return None
    if wanted == "balanced":
        return dict(zip(present.tolist(), balanced_weights(counts[present]).tolist(), strict=True))
    weights = {}
    for part in wanted.split(","):
        name, _, number = part.rpartition(":")
        label = names.index(name.strip()) if name.strip() in names else name.strip()
        try:
            label, weight = int(label), float(number)
        except ValueError:
            rule = "--class-weight must be none, balanced, or CLASS:WEIGHT, separated by commas"
            raise InputError(f"{rule}; classes are {join_some(names) or f'0..{len(counts) - 1}'}; got {part!r}") from None
        if label not in present:
            raise InputError(f"--class-weight: the training file has no images of class {name.strip()!r}")
        if not (np.isfinite(weight) and weight >= 0):
            raise InputError(f"--class-weight must be finite and not negative, got {part!r}")
        weights[label] = weight
    return weights
