"""Classes of samples as numbers from 0, of whatever kind the labels are, and their groups."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def strata_of(labels: NDArray, argument: str, way_out: str) -> NDArray[np.int64]:
    """Number the classes of samples.

    Parameters
    ----------
    labels : ndarray, shape (N, ...)
        Integers, bools, texts, floats that are whole numbers, or rows of these. Two samples are of the same class if their rows
        are equal, as one-hot rows are.
    argument : str
        Name of the labels in errors.
    way_out : str
        End of the message if they are not classes.

    Returns
    -------
    ndarray of int64, shape (N,)
        Numbers 0..K-1 in the order of the sorted classes; each occurs.

    Raises
    ------
    ValueError
        If they are not classes.
    """
    rows = labels.reshape(len(labels), -1) if labels.ndim > 1 else labels
    rows = rows[:, 0] if rows.ndim == 2 and rows.shape[1] == 1 else rows
    found = f"{argument} must be classes to be balanced or stratified by, found {labels.dtype} {labels.shape}"
    if labels.ndim > 2 and rows.ndim > 1:
        raise ValueError(f"{found}; {way_out}")
    if rows.dtype.kind == "O" and all(isinstance(value, str | bytes) for value in rows.reshape(-1)):
        rows = rows.astype(np.str_)
    is_whole = rows.dtype.kind != "f" or bool((np.isfinite(rows) & (rows == np.rint(rows))).all())
    if rows.dtype.kind not in "biufUS" or not is_whole:
        raise ValueError(f"{found}{' that are not whole numbers' if rows.dtype.kind == 'f' else ''}; {way_out}")
    _, numbers = np.unique(rows, axis=0 if rows.ndim > 1 else None, return_inverse=True)
    return numbers.reshape(-1).astype(np.int64)


def groups_of(groups: ArrayLike, n_samples: int) -> NDArray[np.int64]:
    """Number the groups of samples from 0.

    Parameters
    ----------
    groups : array_like of shape (n_samples,)
        Integers, texts, bools, or floats that are whole numbers.
    n_samples : int

    Returns
    -------
    ndarray of int64, shape (n_samples,)
        Numbers 0..G-1 in the order of the sorted groups; each occurs.

    Raises
    ------
    ValueError
        If there is not one group for each sample.
    """
    values = np.asarray(groups)
    if values.shape not in ((n_samples,), (n_samples, 1)):
        raise ValueError(f"groups must be one for each of the {n_samples} samples, got shape {values.shape}")
    return strata_of(values, "groups", "number or name them")
