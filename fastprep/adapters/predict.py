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
        If the loader would not give every sample in file order, or the arguments are not a model and a loader.
    """
    if not isinstance(loader, plain.Loader) or not hasattr(model, "predict"):
        raise ValueError(f"predict takes a model and a loader, got {type(model).__name__} and {type(loader).__name__}")
    check_file_order(loader)
    loader.set_epoch(loader.next_epoch)  # from the start, wherever an earlier pass was left
    rows = model.predict(loader, verbose=verbose)
    return rows.reshape(loader.n_samples, loader.crop.n_crops, *rows.shape[1:]).mean(axis=1, dtype=rows.dtype)


def check_file_order(loader: plain.Loader) -> None:
    """Check that a loader gives every sample, in file order.

    Raises
    ------
    ValueError
        If it shuffles, has one of several shards, or drops a remainder.
    """
    sampler = loader.sampling
    if sampler.shuffle or sampler.shard != (0, 1) or sampler.drop_remainder:
        raise ValueError(
            "loader must give every sample in file order: shuffle=False, shard=(0, 1), drop_remainder=False; "
            f"got shuffle={sampler.shuffle}, shard={sampler.shard}, drop_remainder={sampler.drop_remainder}"
        )
