"""Predictions for every sample of a loader."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from fastprep.loader import Loader
from fastprep.transforms import RandomCrop

_log = logging.getLogger(__name__)

_N_LISTED = 1000


def predict(model: keras.Model, loader: Loader, *, verbose: Any = 0) -> NDArray:
    """Predict every sample of a loader in file order, and average the ten crops of `TenCrop`.

    Parameters
    ----------
    model : keras.Model
        A model with one output.
    loader : Loader
        A loader that is not shuffled, not sharded, drops nothing, and has no random crops. It is read from the start of an
        epoch, and its position stays where it is.
    verbose : int or "auto", default 0
        As for `keras.Model.predict`.

    Returns
    -------
    ndarray, shape (N, ...)
        Row i is the prediction for sample i, in the type of the model's output. With `on_corrupt="skip"` the rows of samples that
        can't be read are NaN, and the log lists them.

    Raises
    ------
    ValueError
        If the arguments are not a model and a loader, if the loader would not give every sample in file order and with the same
        crops each time, or if a row must be NaN and the model's output can't be.
    DataError
        If a sample can't be read, and the loader has `on_corrupt="raise"`.
    """
    if not isinstance(loader, Loader) or not hasattr(model, "predict"):
        raise ValueError(f"predict takes a model and a loader, got {type(model).__name__} and {type(loader).__name__}")
    check_file_order(loader)
    with _with_replacements(loader):
        rows = model.predict(loader, verbose=verbose)
    rows = rows.reshape(loader.n_samples, loader.crop.n_crops, *rows.shape[1:]).mean(axis=1, dtype=rows.dtype)
    damaged = np.flatnonzero(loader._source.replaced(np.arange(loader.n_samples)))
    if len(damaged):
        _erase(rows, damaged)
    return rows


def check_file_order(loader: Loader) -> None:
    """Check that a loader gives every sample in file order, with the same crops each time.

    Raises
    ------
    ValueError
        If it shuffles, has only a shard of the samples, drops a remainder, or crops at random.
    """
    if loader.shuffle or loader.shard != (0, 1) or loader.drop_remainder:
        raise ValueError(
            "loader must give every sample in file order: shuffle=False, shard=(0, 1), drop_remainder=False; "
            f"got shuffle={loader.shuffle}, shard={loader.shard}, drop_remainder={loader.drop_remainder}"
        )
    if isinstance(loader.crop, RandomCrop):
        raise ValueError(
            f"loader must have the same crops each time for a prediction: CenterCrop, TenCrop or None; got crop={loader.crop}"
        )


@contextlib.contextmanager
def _with_replacements(loader: Any) -> Iterator[None]:
    """Let a loader hand other images to `predict` in the place of damaged ones, whose rows are erased afterwards."""
    loader._gives_replacements = True
    try:
        yield
    finally:
        loader._gives_replacements = False


def _erase(rows: NDArray, damaged: NDArray[np.integer]) -> None:
    """Set the rows of damaged samples to NaN, and list them in the log."""
    some = ", ".join(map(str, damaged[:_N_LISTED])) + (", ..." if len(damaged) > _N_LISTED else "")
    try:
        rows[damaged] = np.nan
    except ValueError:
        raise ValueError(
            f"the rows of samples that can't be read must be NaN, which the model's output, {rows.dtype}, does not have; use a "
            f"loader of intact files (samples {some})"
        ) from None
    _log.warning("predict: %d samples can't be read, and their rows are NaN: %s", len(damaged), some)
