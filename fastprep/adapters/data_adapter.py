"""Loader as one of Keras' own data adapters: Keras hands it on untouched, so that batches reach the training step without a copy.

`DataAdapter` is private to Keras. It is named here and in `keras`, which takes `py_dataset` if it is not there.
"""

from __future__ import annotations

import functools
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import keras

from fastprep.adapters.iterators import (
    EvaluationIterator,
    IntactIterator,
    KerasEpochIterator,
    PredictionIterator,
    TrainingIterator,
)
from fastprep.adapters.jax import commit, jax_takes_ahead, to_jax
from fastprep.adapters.keras_base import KerasLoader
from fastprep.adapters.keras_call import KerasCall, check_arguments, current_call, current_model, keep_weights
from fastprep.adapters.mirrored import MirroredBatches, accept_loaders, mirrored_strategy, replica_backends
from fastprep.adapters.processes import check_shares, warn_of_lone_training
from fastprep.adapters.sharded import data_parallel_devices, sharded_backends, to_global
from fastprep.adapters.tensorflow import Feed, OneDeviceBatches, leave_memory
from fastprep.adapters.torch import to_torch
from fastprep.loader import Loader as PlainLoader
from fastprep.pipeline import Backend, Batch

if TYPE_CHECKING:
    import tensorflow as tf

    DataAdapter = object  # Keras states no types: with its class as a base, checkers would take any name for one of a loader
else:
    from keras.src.trainers.data_adapters.data_adapter import DataAdapter


class Loader(KerasLoader, DataAdapter):  # noqa: D101 - the docstring is the plain loader's
    __doc__ = PlainLoader.__doc__
    _strategy: tf.distribute.MirroredStrategy | None = None
    _sharded_over: tuple[Any, ...] = ()  # JAX's devices, if there is a part of each batch on each
    _evaluation: EvaluationIterator | None = None
    _trainer: weakref.ref[Any] | None = None  # Keras' `EpochIterator` of the last training
    _quiet: warnings.catch_warnings[None] | None = None  # while an epoch runs of which nothing is left

    @property
    def num_batches(self) -> int:
        """Steps of an epoch, under the name that Keras asks for; a call of Keras that begins with it is checked."""
        call = current_call()
        if call is not None and call.arguments is not None:
            check_arguments(self, call)
            if call.begins_training:
                warn_of_lone_training(current_model())
                self._trainer = weakref.ref(call.iterator)
        return len(self)

    @property
    def has_partial_batch(self) -> bool:
        """Whether the last batch of an epoch is smaller than the others."""
        return self.partial_batch_size is not None

    @property
    def partial_batch_size(self) -> int | None:
        """Number of samples in the last batch of an epoch if it is smaller than the others, else None."""
        last = len(self.samples(0, len(self) - 1))
        return last if last < self.batch_size else None

    def get_tf_dataset(self) -> Any:
        """Return what Keras' TensorFlow trainer distributes and iterates: eager tensors in the memory of the batch buffers."""
        call = current_call()
        if call is None or self._is_training(call):
            if self._iterator is not None:  # from an earlier `fit`, however that ended
                self._iterator.close()
                self._iterator = None
            # under a strategy the first iterator is for a peek; without one TensorFlow's trainer does not peek
            self._peek_size = 0 if self._strategy is None else 1
            next_iterator: Callable[[], KerasEpochIterator] = self._next_iterator
        else:
            next_iterator = functools.partial(self._next_evaluation, call.method, call.iterator)
        feed = Feed(self.dtype, next_iterator)
        return OneDeviceBatches(feed) if self._strategy is None else MirroredBatches(feed, self._strategy)

    def on_epoch_begin(self) -> None:
        """Tell Keras how many steps the epoch has that begins now: fewer than others if it was resumed in its middle.

        Keras asks for the number of steps once for all epochs, and takes an epoch with fewer for data that ran out.
        """
        call = current_call()
        if call is None or not self._is_training(call) or getattr(call.iterator, "steps_per_epoch", None):
            return
        iterator = self._next_iterator()  # which moves back what Keras took to build the model
        n_left = len(self) - self.next_step
        if n_left == 0 and keras.backend.backend() != "tensorflow":
            raise ValueError(
                f"fit: nothing is left of epoch {self.next_epoch}, at the end of which this loader stands, and on "
                f"{keras.backend.backend()} Keras can't begin with an epoch that has no step: go on with the next one, "
                f"loader.set_epoch({self.next_epoch + 1}) and fit(initial_epoch={self.next_epoch + 1})"
            )
        iterator.n_expected = call.iterator._num_batches = n_left or len(self)
        if n_left == 0:  # Keras knows no epoch without a step, and warns when it asks for one; then it calls `on_epoch_end`
            self._quiet = warnings.catch_warnings()
            self._quiet.__enter__()
            warnings.filterwarnings("ignore", "Your input ran out of data")

    def on_epoch_end(self) -> None:
        """Record a call that Keras makes at the end of an epoch, and at other times."""
        if self._quiet is not None:
            self._quiet.__exit__(None, None, None)
            self._quiet = None
        call = current_call()
        if self._iterator is not None and (call is None or self._is_training(call)):
            self._iterator.end_epoch()

    def get_numpy_iterator(self) -> Iterator[Any]:
        """Return an iterator of numpy batches."""
        self._check_on_host()
        return (batch.hand_out() for batch in self._keras_iterator())

    def get_jax_iterator(self) -> Iterator[Any]:
        """Return an iterator of JAX arrays.

        Under a `keras.distribution` they are spread over its GPUs, or batches are numpy arrays, which Keras distributes.

        Raises
        ------
        RuntimeError
            If loader and model are not under the same distribution.
        ValueError
            If the batches of several processes do not make one batch; see `fastprep.adapters.processes.check_shares`.
        """
        self._check_sharding()
        if self._sharded_over:
            return keep_weights(to_global(batch, self.dtype) for batch in self._keras_iterator())
        if keras.distribution.distribution() is not None:
            call = current_call()
            check_shares(self, is_training=call is None or self._is_training(call))
            return keep_weights(self.get_numpy_iterator())
        self._check_where_keras_computes()
        if (model := current_model()) is not None:
            commit(_variables_of(model))
        return keep_weights(to_jax(batch, self.dtype) for batch in self._whole_batches())

    def get_torch_dataloader(self) -> Iterator[Any]:
        """Return an iterator of torch tensors; Keras moves those on the CPU to the device of the model."""
        self._check_where_keras_computes()
        return (to_torch(batch, self.dtype) for batch in self._whole_batches())

    def close(self) -> None:
        """See `fastprep.loader.Loader.close`."""
        if self._evaluation is not None:
            self._evaluation.close()
        super().close()

    def _whole_batches(self) -> Iterator[Batch]:
        return (batch.parts[0] for batch in self._keras_iterator())

    def _keras_iterator(self) -> KerasEpochIterator:
        """Return the iterator for Keras' next epoch of whatever it does."""
        call = current_call()
        if call is None or self._is_training(call):  # who asks without Keras is taken to train
            return self._next_iterator()
        return self._next_evaluation(call.method, call.iterator)

    def _next_iterator(self) -> TrainingIterator:
        if keras.backend.backend() == "jax":
            self._n_ahead = int(jax_takes_ahead())
            self._peek_size = 1 + self._n_ahead
        return super()._next_iterator()

    def _next_evaluation(self, method: str, keras_iterator: Any) -> EvaluationIterator:
        """Return the iterator for an evaluation: over all samples, whatever was read before, and with no effect on a training."""
        if self._evaluation is not None:
            self._evaluation.close()
        if method == "predict":
            self._evaluation = PredictionIterator(self._source, self._gives_replacements)
        elif self.on_corrupt == "raise":
            self._evaluation = EvaluationIterator(self._source)
        else:
            self._evaluation = IntactIterator(self._source, functools.partial(_set_steps, weakref.ref(keras_iterator)))
        return self._evaluation

    def _is_training(self, call: KerasCall) -> bool:
        return self._trainer is not None and call.iterator is self._trainer()

    def _check_sharding(self) -> None:
        """Check that the model is under the `keras.distribution` for whose GPUs batches are made in parts.

        Raises
        ------
        RuntimeError
            If it is not.
        """
        if self._sharded_over and data_parallel_devices() != self._sharded_over:
            raise RuntimeError(
                f"this fastprep.Loader was made under a keras.distribution.DataParallel over {len(self._sharded_over)} GPUs, and "
                "the model is under another distribution, or under none: set the distribution before both are made"
            )

    def _choose_backends(self, device: str) -> list[Backend]:
        if keras.backend.backend() == "jax" and (devices := data_parallel_devices()):
            backends = sharded_backends(
                devices, device, self._spec, self.batch_size, self.crop.n_crops, self._largest_batch, self._companions
            )
            if backends is not None:
                self._sharded_over = devices
                return backends
            device = "cpu"
        if keras.backend.backend() != "tensorflow" or (strategy := mirrored_strategy()) is None:
            return super()._choose_backends(device)
        backends = replica_backends(
            strategy, device, self._spec, self.batch_size, self.crop.n_crops, self._largest_batch, self._companions
        )
        if any(backend.device != "cpu" for backend in backends):
            leave_memory()
        accept_loaders(strategy)
        self._strategy = strategy
        return backends

    def __getstate__(self) -> dict[str, Any]:
        if self._strategy is not None:
            raise TypeError("a loader for a tf.distribute strategy can't be pickled or copied, because the strategy can't")
        return {**super().__getstate__(), "_evaluation": None, "_trainer": None, "_quiet": None}


def _set_steps(keras_iterator: weakref.ref[Any], n_steps: int) -> None:
    """Tell Keras' `EpochIterator`, if it is still there, how many steps its epoch has."""
    if (iterator := keras_iterator()) is not None:
        iterator._num_batches = n_steps


def _variables_of(model: keras.Model) -> list[Any]:
    """Return all variables that a step of Keras' JAX trainer takes and returns."""
    optimizer = getattr(model, "optimizer", None)
    of_optimizer = optimizer.variables if optimizer is not None and model.built else []
    return [*model.trainable_variables, *model.non_trainable_variables, *of_optimizer, *model.metrics_variables]
