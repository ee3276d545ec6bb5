"""Batch normalisation's means and variances, as they are when the network is used and not while it trains."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

_DROPOUTS = (keras.layers.Dropout, keras.layers.AlphaDropout, keras.layers.GaussianDropout)


def learning_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Return the batch normalisations of a network, at any depth, that are not frozen."""
    return [layer for layer in _layers(model) if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable]


def measure(model: keras.Model, batches: Iterable[Any]) -> None:
    """Measure the means and variances of batch normalisation anew, in the place of the moving averages.

    Parameters
    ----------
    model : keras.Model
        Of any backend. Nothing else of it is changed, and batch normalisations that are frozen stay as they are; if there are no
        others, nothing is done.
    batches : iterable of tensors
        What the network trains on, in batches as large as those of training; all count alike.

    Raises
    ------
    ValueError
        If there is no batch.

    Notes
    -----
    Moving averages lag behind the weights, and they are of a network whose dropout is on: what comes to a batch normalisation
    behind it varies more than it does in use, and in use is divided by too much [1]_. Here dropout is off, each layer normalises
    by the batch, as in training, and what is kept is the mean of the batches' means and the variance over all of them together,
    as in [2]_. A layer that a network uses several times is taken as its last use finds it.

    References
    ----------
    .. [1] X. Li, S. Chen, X. Hu and J. Yang, "Understanding the disharmony between dropout and batch normalization by variance
       shift", CVPR 2019.
    .. [2] Y. Wu and J. Johnson, "Rethinking 'batch' in BatchNorm", arXiv:2105.07576, section 3.
    """
    norms = learning_norms(model)
    if not norms:
        return
    sums = [np.zeros((2, *norm.moving_mean.shape)) for norm in norms]  # of means, and of means of squares
    n_batches = 0
    dropouts = [layer for layer in _layers(model) if isinstance(layer, _DROPOUTS)]
    with _instead(dropouts, "rate", 0.0), _instead(norms, "momentum", 0.0):
        for x in batches:
            model(x, training=True)
            n_batches += 1
            for norm, total in zip(norms, sums, strict=True):
                mean, variance = (
                    keras.ops.convert_to_numpy(v).astype(np.float64) for v in (norm.moving_mean, norm.moving_variance)
                )
                total += mean, variance + mean**2
    if n_batches == 0:
        raise ValueError("to measure batch normalisation takes one batch at least, got none")
    for norm, total in zip(norms, sums, strict=True):
        mean, square = total / n_batches
        norm.moving_mean.assign(mean)
        norm.moving_variance.assign(square - mean**2)


def _values(variable: Any) -> NDArray[np.float64]:
    return np.asarray(keras.ops.convert_to_numpy(variable), np.float64)


def _layers(model: keras.Model) -> list[keras.Layer]:
    return list(model._flatten_layers())  # no public name goes into layers that are neither models nor wrappers


@contextlib.contextmanager
def _instead(layers: list[Any], name: str, value: float) -> Iterator[None]:
    """Give layers another value of an attribute for a while."""
    before = [getattr(layer, name) for layer in layers]
    try:
        for layer in layers:
            setattr(layer, name, value)
        yield
    finally:
        for layer, old in zip(layers, before, strict=True):
            setattr(layer, name, old)
