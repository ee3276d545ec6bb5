"""Predictions for every sample of a loader."""

from __future__ import annotations

from typing import Any

import keras
from numpy.typing import NDArray

from fastprep.loader import Loader


def predict(model: keras.Model, loader: Loader, *, verbose: Any = 0) -> NDArray:
    """Predict every sample of a loader in file order, and average the ten crops of `TenCrop`.

    Parameters
    ----------
    model : keras.Model
        A model with one output.
    loader : Loader
        A loader that is not shuffled, not sharded, and drops nothing. It is read from the start of an epoch.
    verbose : int or "auto", default 0
        As for `keras.Model.predict`.

    Returns
    -------
    ndarray, shape (N, ...)
        Row i is the prediction for sample i, in the type of the model's output.

    Raises
    ------
    ValueError
        If the arguments are not a model and a loader, or the loader would not give every sample in file order.
    """
    if not isinstance(loader, Loader) or not hasattr(model, "predict"):
        raise ValueError(f"predict takes a model and a loader, got {type(model).__name__} and {type(loader).__name__}")
    check_file_order(loader)
    loader.set_epoch(loader.next_epoch)  # from the start, wherever an earlier iteration was left
    rows = model.predict(loader, verbose=verbose)
    return rows.reshape(loader.n_samples, loader.crop.n_crops, *rows.shape[1:]).mean(axis=1, dtype=rows.dtype)


def check_file_order(loader: Loader) -> None:
    """Check that a loader gives every sample in file order.

    Raises
    ------
    ValueError
        If it shuffles, has only a shard of the samples, or drops a remainder.
    """
    if loader.shuffle or loader.shard != (0, 1) or loader.drop_remainder:
        raise ValueError(
            "loader must give every sample in file order: shuffle=False, shard=(0, 1), drop_remainder=False; "
            f"got shuffle={loader.shuffle}, shard={loader.shard}, drop_remainder={loader.drop_remainder}"
        )
