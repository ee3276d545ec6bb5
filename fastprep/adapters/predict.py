"""Predictions for every sample of a loader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from numpy.typing import NDArray

from fastprep import loader as plain

if TYPE_CHECKING:
    pass


def predict(model: keras.Model, loader: plain.Loader, *, verbose: Any = 0) -> NDArray:
    """Predict every sample of a loader, in file order; the ten crops of `TenCrop` are averaged.

    Parameters
    ----------
    model : keras.Model
        With one output.
    loader : Loader
        Not shuffled, not sharded, nothing dropped.
    verbose : int or "auto"
        As for `keras.Model.predict`.

    Returns
    -------
    ndarray, shape (N, ...)
        Row i is for sample i.

    Raises
    ------
    ValueError
        If the loader would not give every sample, or not in file order, or these are no model and no loader.
    """
    if not isinstance(loader, plain.Loader) or not hasattr(model, "predict"):
        raise ValueError(f"predict takes a model and a loader, got {type(model).__name__} and {type(loader).__name__}")
    of = loader.sampling
    if of.shuffle or of.shard != (0, 1) or of.drop_remainder:
        raise ValueError(
            "loader must give every sample in file order: shuffle=False, shard=(0, 1), drop_remainder=False; "
            f"got shuffle={of.shuffle}, shard={of.shard}, drop_remainder={of.drop_remainder}"
        )
    loader.set_epoch(loader.next_epoch)  # from the start, wherever an earlier pass was left
    rows = model.predict(loader, verbose=verbose)
    return rows.reshape(loader.n_samples, loader.crop.n_crops, *rows.shape[1:]).mean(axis=1, dtype=rows.dtype)
