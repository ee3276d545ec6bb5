"""Predictions for every sample of a loader."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from fastprep.dataset import outputs_of
from fastprep.loader import Loader
from fastprep.transforms import Target, is_drawn

_log = logging.getLogger(__name__)

_N_LISTED = 1000


def predict(model: keras.Model, loader: Loader, *, verbose: Any = 0) -> NDArray[Any]:
    """Predict every sample of a loader in file order, and average the ten crops of `TenCrop`.

    Parameters
    ----------
    model : keras.Model
        A model with one output.
    loader : Loader
        A loader that is not shuffled, not sharded, drops nothing, and changes nothing at random; a function in `transform=` has
        to give the same each time, too. It is read from the start of an epoch, and its position stays where it is. Masks are not
        read.
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
        crops each time, if it has several crops of a sample and the model's output, or the labels, lie in the images, or if a row
        must be NaN and the model's output can't be.
    DataError
        If a sample can't be read, and the loader has `on_corrupt="raise"`.
    """
    if not isinstance(loader, Loader) or not hasattr(model, "predict"):
        raise ValueError(f"predict takes a model and a loader, got {type(model).__name__} and {type(loader).__name__}")
    check_file_order(loader)
    _check_one_output(getattr(model, "outputs", None), loader)  # a model that is a class of its own may not know its outputs yet
    _check_averages(model, loader)
    with _with_replacements(loader):
        rows = model.predict(loader, verbose=verbose)
    if isinstance(rows, list | tuple | dict):
        _check_one_output(rows, loader)
        (rows,) = rows.values() if isinstance(rows, dict) else rows
    rows = rows.reshape(loader.n_samples, loader.crop.n_crops, *rows.shape[1:]).mean(axis=1, dtype=rows.dtype)
    damaged = np.flatnonzero(loader._source.replaced(np.arange(loader.n_samples), has_labels=False))
    if len(damaged):
        _erase(rows, damaged)
    return rows


def _check_one_output(outputs: Sequence[Any] | dict[str, Any] | None, loader: Loader) -> None:
    """Check that a model has no more than one output, as far as they are known."""
    if outputs is not None and len(outputs) > 1:
        all_of_them = "model.predict(loader) gives them all, in the order of the file"
        way_out = all_of_them if loader.crop.n_crops == 1 else f"with a crop that gives one row for each image, {all_of_them}"
        raise ValueError(f"predict takes a model with one output, got {len(outputs)}: {way_out}")


def _check_averages(model: keras.Model, loader: Loader) -> None:
    """Check that the predictions for several crops of a sample mean the same thing, so that they may be averaged.

    Raises
    ------
    ValueError
        If they are maps, or boxes or points, which lie elsewhere in each crop.
    """
    if loader.crop.n_crops == 1:
        return
    shape = getattr(model, "output_shape", ())
    are_maps = isinstance(shape, tuple) and len(shape) > 2 and not any(isinstance(part, tuple) for part in shape)
    if are_maps or any(isinstance(labels, Target) for labels in outputs_of(loader.labels)):
        found = f"an output of shape {shape}" if are_maps else "labels such as masks, boxes or points"
        raise ValueError(
            f"predict averages the {loader.crop.n_crops} crops of each sample, and {found} would lie elsewhere in each of them: "
            "take CenterCrop, Resize or None"
        )


def check_file_order(loader: Loader) -> None:
    """Check that a loader gives every sample in file order, with the same crops each time.

    Raises
    ------
    ValueError
        If it draws samples, shuffles, has only a shard of them, drops a remainder, or crops at random.
    """
    if loader.sampling is not None or loader.mix is not None:
        raise ValueError("loader must give every sample once: make one for predictions without sampling= and mix=")
    if loader.shuffle or loader.shard != (0, 1) or loader.drop_remainder:
        raise ValueError(
            "loader must give every sample in file order: shuffle=False, shard=(0, 1), drop_remainder=False; "
            f"got shuffle={loader.shuffle}, shard={loader.shard}, drop_remainder={loader.drop_remainder}"
        )
    if is_drawn(loader.crop):
        raise ValueError(
            "loader must have the same crops each time for a prediction: CenterCrop, TenCrop, Resize or None; "
            f"got crop={loader.crop}"
        )
    if loader._source.augmentation.is_random:
        raise ValueError(
            "loader must give the same images each time for a prediction: make one without policy=, color=, erase= and blend="
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
