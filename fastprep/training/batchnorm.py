"""Means and variances of batch normalisation, measured on the network as it is used instead of as it is trained."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

_STEPS, _IMAGES = 16, 1024
_NOISE = {
    "rate": (keras.layers.Dropout, keras.layers.AlphaDropout, keras.layers.GaussianDropout),
    "stddev": (keras.layers.GaussianNoise,),
}


def learning_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Return the batch normalisation layers of a network that learn, at any depth.

    Parameters
    ----------
    model : keras.Model

    Returns
    -------
    list of keras.layers.BatchNormalization
        Without those that are frozen or were never called.
    """
    norms = [layer for layer in _layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
    return [norm for norm in norms if norm.trainable and norm.built]


def suitable_steps(batch_size: int) -> int:
    """Return the number of batches for a measurement: 16, as in the demo, or as many as have its 1,024 images.

    Parameters
    ----------
    batch_size : int
        Images in a batch.

    Returns
    -------
    int
    """
    return max(_STEPS, math.ceil(_IMAGES / batch_size))


def measure(model: keras.Model, batches: Iterable[Any]) -> None:
    """Replace the moving averages of batch normalisation by means and variances that are measured anew.

    Parameters
    ----------
    model : keras.Model
        Built, on any backend. Only its batch normalisation layers that learn are changed, and they only if the measurement
        reaches its end.
    batches : iterable of tensors
        Input for training, in batches of the size of training. All batches have the same weight.

    Raises
    ------
    ValueError
        If there is no batch, or the model is not built.

    Notes
    -----
    Moving averages lag behind the weights, and they describe a network whose dropout is on. The input of a batch normalisation
    layer after dropout varies more in training than in use, so in use it is divided by too large a number [1]_. Here dropout and
    Gaussian noise are off, random augmentation is on, and each layer normalises by the batch, as in training. The result is the
    mean of the batches' means, and the variance over all batches together, as in [2]_. If a network uses a layer several times,
    the last use counts.

    References
    ----------
    .. [1] X. Li, S. Chen, X. Hu and J. Yang, "Understanding the disharmony between dropout and batch normalization by variance
       shift", CVPR 2019.
    .. [2] Yuxin Wu and Justin Johnson, "Rethinking 'batch' in BatchNorm", arXiv:2105.07576, section 3.
    """
    if not model.built:
        raise ValueError("batch normalisation can only be measured in a model that is built")
    norms = learning_norms(model)
    if not norms:
        return
    with _as_before(model), _quiet(_layers(model)):
        found = _measured(model, norms, batches)
    for norm, (mean, variance) in zip(norms, found, strict=True):
        norm.moving_mean.assign(mean)
        norm.moving_variance.assign(variance)


def _measured(model: keras.Model, norms: list[Any], batches: Iterable[Any]) -> list[tuple[NDArray, NDArray]]:
    sums = [np.zeros((2, *norm.moving_mean.shape)) for norm in norms]  # sums of the means, and of the means of squares
    n_batches = 0
    with _instead(norms, "momentum", 0.0):
        for norm in norms:  # a momentum of 0 does not remove values that are not finite
            norm.moving_mean.assign(np.zeros(norm.moving_mean.shape))
            norm.moving_variance.assign(np.zeros(norm.moving_variance.shape))
        for x in batches:
            model(x, training=True)
            n_batches += 1
            for norm, total in zip(norms, sums, strict=True):
                mean, variance = _values(norm.moving_mean, np.float64), _values(norm.moving_variance, np.float64)
                total += mean, variance + mean**2
    if n_batches == 0:
        raise ValueError("measuring batch normalisation needs at least one batch, got none")
    return [(mean, square - mean**2) for mean, square in (total / n_batches for total in sums)]


def _layers(model: keras.Model) -> list[keras.Layer]:
    return list(model._flatten_layers())  # no public name descends into layers that are neither models nor wrappers


def _values(variable: Any, dtype: Any = None) -> NDArray:
    return np.array(keras.ops.convert_to_numpy(variable), dtype)


@contextlib.contextmanager
def _as_before(model: keras.Model) -> Iterator[None]:
    """Restore everything that a forward pass changes: averages of any kind, and the states of random generators."""
    before = [(variable, _values(variable)) for variable in model.non_trainable_variables]
    try:
        yield
    finally:
        for variable, values in before:
            variable.assign(values)


@contextlib.contextmanager
def _quiet(layers: list[Any]) -> Iterator[None]:
    """Switch dropout and noise off for a while."""
    with contextlib.ExitStack() as stack:
        for name, kinds in _NOISE.items():
            stack.enter_context(_instead([layer for layer in layers if isinstance(layer, kinds)], name, 0.0))
        yield


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
