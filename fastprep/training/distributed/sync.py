"""One model on all ranks: the same initial state, shared gradients, moving averages and metrics, and separate randomness."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fastprep.errors import RankError
from fastprep.sampling import hashing
from fastprep.training.distributed.ranks import Ranks


def share_gradients(model: keras.Model, ranks: Ranks) -> None:
    """Make the optimizer of a model apply the means of all ranks' gradients.

    Notes
    -----
    The method `apply` of this one optimizer is wrapped. A subclass would be named in saved models, and only fastprep could load
    them. Under mixed precision the optimizer is Keras' LossScaleOptimizer. It receives the means, in which an overflow on any
    rank is not finite, so all ranks skip the same steps. Clipping applies to the means.
    """
    optimizer = model.optimizer
    apply = optimizer.apply

    def apply_means(gradients: Sequence[Any], trainable_variables: Any = None) -> Any:
        gradients = list(gradients)
        present = [k for k, gradient in enumerate(gradients) if gradient is not None]
        for k, mean in zip(present, ranks.mean([tf.convert_to_tensor(gradients[k]) for k in present]), strict=True):
            gradients[k] = mean
        return apply(gradients, trainable_variables)

    optimizer.apply = apply_means


def start_alike(model: keras.Model, ranks: Ranks, seed: int, epoch: int, step: int) -> None:
    """Give all ranks the weights, the optimizer and the random states of rank 0, and then each rank its own random numbers.

    Parameters
    ----------
    model : keras.Model
        Compiled, its optimizer built.
    ranks : Ranks
    seed, epoch, step : int
        Seed of the run, and the step that comes next. The random numbers of the other ranks depend on these and on the random
        states of rank 0 alone, so a resumed run continues with the same ones.
    """
    states = _random_states(model)
    for variable in [*model.weights, *model.optimizer.variables, *states]:
        received = ranks.spread(variable)
        if not ranks.first:
            variable.assign(received)
    if ranks.first:
        return
    for variable in states:
        generator_seed, count = (int(word) for word in np.asarray(variable))
        variable.assign(np.array([hashing.key(generator_seed, ranks.rank) % 2**31, count], np.asarray(variable).dtype))
    keras.utils.set_random_seed(hashing.key(seed, epoch, step, ranks.rank) % 2**32)


def settle(model: keras.Model, ranks: Ranks, *, metrics: bool) -> None:
    """Bring all ranks to the same state, for rank 0 to save.

    Parameters
    ----------
    model : keras.Model
    ranks : Ranks
    metrics : bool
        Whether an epoch's metrics are being added up. Rank 0 then takes the totals of all ranks and the others restart at zero,
        which leaves the overall sum unchanged.

    Raises
    ------
    RankError
        If the weights are not the same on all ranks.
    """
    average_moving(model, ranks)
    if metrics:
        total_metrics(model, ranks)
        if not ranks.first:
            for variable in model.metrics_variables:
                variable.assign(np.zeros(variable.shape))
    crc = 0
    for variable in (*model.weights, *model.optimizer.variables):
        crc = zlib.crc32(np.asarray(variable).tobytes(), crc)
    found = ranks.gather(crc)
    if different := [rank for rank, other in enumerate(found) if other != found[0]]:
        raise RankError(
            f"the weights of rank {', '.join(map(str, different))} are no longer those of rank 0: does the network have a "
            "training step of its own that does not use model.optimizer, or is a device faulty?"
        )


def average_moving(model: keras.Model, ranks: Ranks) -> None:
    """Average the statistics that layers keep of their batches, such as the moving averages of batch normalisation.

    Values that are equal on all ranks, such as frozen weights, keep every bit.
    """
    moving = [variable for variable in model.non_trainable_weights if np.asarray(variable).size]
    values = [np.asarray(variable) for variable in moving]
    floats = [k for k, value in enumerate(values) if keras.backend.is_float_dtype(moving[k].dtype)]
    if floats:
        flat = np.concatenate([values[k].astype(np.float64).reshape(-1) for k in floats])
        # a mean lies between the extremes; where these are the same it would differ from them by rounding only
        mean = np.clip(ranks.reduce(flat) / ranks.world, ranks.reduce(flat, "Min"), ranks.reduce(flat, "Max"))
        for k, part in zip(floats, _split(mean, [values[k].size for k in floats]), strict=True):
            moving[k].assign(part.reshape(values[k].shape).astype(values[k].dtype))
    for k in set(range(len(moving))) - set(floats):
        moving[k].assign(ranks.spread(values[k]))


def total_metrics(model: keras.Model, ranks: Ranks) -> dict[str, float]:
    """Add the sums and counts of all ranks' metrics, and return the results, which are thus not means of means."""
    variables = model.metrics_variables
    values = [np.asarray(variable) for variable in variables]
    total = ranks.reduce(np.concatenate([value.astype(np.float64).reshape(-1) for value in values]))
    for variable, part in zip(variables, _split(total, [value.size for value in values]), strict=True):
        variable.assign(part.reshape(variable.shape))
    return {name: float(value) for name, value in model.get_metrics_result().items()}


class Totals(keras.callbacks.Callback):
    """Replaces the logs of one rank by those of all ranks together, the same on every rank, for the callbacks after it.

    Parameters
    ----------
    ranks : Ranks
    """

    def __init__(self, ranks: Ranks) -> None:
        super().__init__()
        self._ranks = ranks
        self._logs: dict[str, float] = {}

    def on_test_begin(self, logs: Any = None) -> None:
        """Add up the metrics of training, which Keras is about to reset."""
        self._logs = total_metrics(self.model, self._ranks)

    def on_test_end(self, logs: Any = None) -> None:
        """Add up the metrics of validation, for which the ranks have seen different numbers of images."""
        self._logs |= {f"val_{name}": value for name, value in total_metrics(self.model, self._ranks).items()}

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Replace the logs of this rank."""
        logs.update(self._logs)


def _random_states(model: keras.Model) -> list[Any]:
    """Return the states of Keras' random generators, each a seed and the number of draws so far."""
    known = {id(variable) for variable in model.weights}
    rest = [variable for variable in model.variables if id(variable) not in known]
    return [v for v in rest if tuple(v.shape) == (2,) and np.asarray(v).dtype.kind in "iu"]


def _split(flat: NDArray, sizes: list[int]) -> list[NDArray]:
    return np.split(flat, np.cumsum(sizes)[:-1])
