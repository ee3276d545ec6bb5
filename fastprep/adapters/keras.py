"""Keras' side: a loader that `fit`, `evaluate` and `predict` take as it is.

The only module, besides the commands, that imports keras; tensorflow is imported at the first batch for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import keras

from fastprep import loader as plain
from fastprep.adapters.jax import jax_takes_ahead, to_jax
from fastprep.adapters.mirrored import Parts, backends_of, mirrored_strategy, teach
from fastprep.adapters.tensorflow import Whole, leave_memory, to_tensors
from fastprep.adapters.torch import to_torch
from fastprep.pipeline import Backend, choose

try:
    # Keras hands an instance of this class on untouched; it is the one private name used here
    from keras.src.trainers.data_adapters.data_adapter import DataAdapter
except ImportError:  # a later Keras may have moved it
    DataAdapter = None

if TYPE_CHECKING:
    import tensorflow as tf


_HAND_OVER = {"tensorflow": to_tensors, "jax": to_jax, "torch": to_torch}


class _KerasEpochIterator(plain.EpochIterator):
    """A pass for Keras, which may turn out to have been nothing but a look.

    To build a model, Keras takes a batch away: with JAX and torch if the model is not built, under a strategy always. Then it
    begins anew.

    Parameters
    ----------
    loader : plain.Loader
    look_ahead : int
        Batches that are taken when Keras asks for one.
    """

    def __init__(self, loader: plain.Loader, look_ahead: int) -> None:
        super().__init__(loader)
        self._place, self._look_ahead = loader.place, look_ahead
        self._before = self._after = loader.place.mark
        self._n_taken = self._n_ends = 0
        self._is_cut = False

    def close(self) -> None:
        """See `EpochIterator.close`; who asks for a batch after it gets an error, unless there was none left."""
        self._is_cut = self._is_cut or (self.started and self._step < len(self._source))
        super().close()

    def __next__(self) -> plain.Batch | plain.SharedBatch:
        if self._is_cut:  # Keras would take StopIteration for the end of the epoch
            raise RuntimeError(
                "the loader was closed, or began another pass, before this one was over; a loader that is used for training and "
                "for something else at the same time, such as validation, has to be two"
            )
        if not self.started:
            self._before = self._place.mark
        batch = super().__next__()
        self._after = self._place.mark
        self._n_taken, self._n_ends = self._n_taken + 1, 0
        return batch

    def end_epoch(self) -> None:
        """Take note that Keras says an epoch has ended: after a look once, else not before the next `fit` or with every epoch."""
        self._n_ends += 1

    def abandon(self) -> None:
        """Close it, for Keras asks for another one; if it was a look, that has not happened."""
        self.close()
        if 0 < self._n_taken <= self._look_ahead and self._n_ends == 1 and self._place.mark == self._after:
            self._place.go_back_to(self._before)


class _KerasLoader(plain.Loader):
    """What both ways into Keras have in common: passes that Keras starts, drops and forgets."""

    _pass: _KerasEpochIterator | None = None
    _look_ahead = 1

    @property
    def num_batches(self) -> int:
        """Steps of an epoch, under the name that Keras asks for."""
        return len(self)

    def keras_pass(self) -> plain.EpochIterator:
        """Return the pass for Keras' next epoch.

        Keras asks for an iterator twice an epoch and uses one of the two, so one that has not started is given again;
        and when it stops early it never says so, so one that was abandoned is closed here.
        """
        if self._pass is None or self._pass.started:
            if self._pass is not None:
                self._pass.abandon()
            self._pass = _KerasEpochIterator(self, self._look_ahead)
            if keras.backend.backend() == "tensorflow":
                self._look_ahead = 0  # what follows the first pass of a `fit` is no look
        return self._pass

    def on_host(self) -> None:
        """Check that batches are made in memory of the host.

        Raises
        ------
        NotImplementedError
            If not: Keras' other backends, and its other ways to take data, have no use for a CUDA device's memory.
        """
        if any(backend.device != "cpu" for backend in self.backends):
            raise NotImplementedError(
                f"fastprep hands batches on {self.stats()['device']} to Keras' TensorFlow backend only (this is "
                f'{keras.backend.backend()}): use device="cpu"'
            )

    def tensors(self) -> Iterator[Any]:
        """Start a pass as iteration does, but of tensors of Keras' backend: for a training loop of one's own, without a copy.

        Returns
        -------
        iterator of (x, y), (x, y, weights), or x
            Tensors of TensorFlow, x on the device where batches are made and the rest on the CPU; arrays of JAX; or tensors of
            torch on the CPU. x is where the kernel wrote it, in the loader's dtype and layout (on JAX: if that computes on the
            CPU); its memory is used again when nothing holds it any more.

        Raises
        ------
        NotImplementedError
            If Keras runs on another backend, batches are made in parts for a `tf.distribute.MirroredStrategy`, or on a CUDA
            device for JAX or torch.
        """
        backend = keras.backend.backend()
        if backend not in _HAND_OVER or len(self.backends) > 1:
            raise NotImplementedError(
                f"tensors() is for one device, on TensorFlow, JAX or torch; this is {backend}, with batches in "
                f"{len(self.backends)} part{'s' * (len(self.backends) > 1)}"
            )
        if backend != "tensorflow":
            self.on_host()
        handed = (_HAND_OVER[backend](batch.parts[0], self.spec.dtype) for batch in self.start_pass())
        return (parts if len(parts) > 1 else parts[0] for parts in handed)

    def _choose_backends(self, device: str) -> list[Backend]:
        backends = [choose(device, self.spec, self.batch_size, self.batch_size * self.crop.n_crops, _objection)]
        if backends[0].device != "cpu" and keras.backend.backend() == "tensorflow":
            leave_memory()
        return backends

    def close(self) -> None:
        """See `fastprep.loader.Loader.close`."""
        if self._pass is not None:
            self._pass.close()
        super().close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pass": None}


if DataAdapter is not None:

    class Loader(_KerasLoader, DataAdapter):  # noqa: D101 - the docstring is the plain loader's
        __doc__ = plain.Loader.__doc__
        _strategy: tf.distribute.MirroredStrategy | None = None

        @property
        def has_partial_batch(self) -> bool:
            """Whether the last batch of an epoch is smaller than the others."""
            return self.partial_batch_size is not None

        @property
        def partial_batch_size(self) -> int | None:
            """Samples of the last batch of an epoch if it is smaller than the others."""
            last = len(self.samples(0, len(self) - 1))
            return last if last < self.batch_size else None

        def get_tf_dataset(self) -> Any:
            """Return what Keras' TensorFlow trainer distributes and iterates: eager tensors that lie in the batch buffers."""
            if self._pass is not None:  # of an earlier `fit`, whatever has become of it
                self._pass.close()
                self._pass = None
            # under a strategy the first pass is a look; else TensorFlow's trainer takes no batch away
            self._look_ahead = 0 if self._strategy is None else 1
            return Whole(self) if self._strategy is None else Parts(self, self._strategy)

        def on_epoch_end(self) -> None:
            """Take note of what Keras says at the end of an epoch, and at other times."""
            if self._pass is not None:
                self._pass.end_epoch()

        def get_numpy_iterator(self) -> Iterator[Any]:
            """Return an iterator of numpy batches."""
            self.on_host()
            return (batch.item for batch in self.keras_pass())

        def get_jax_iterator(self) -> Iterator[Any]:
            """Return an iterator of arrays of JAX; under a `keras.distribution` of numpy batches, which Keras distributes."""
            if keras.distribution.distribution() is not None:
                return self.get_numpy_iterator()
            self.on_host()
            self._look_ahead = jax_takes_ahead()
            return (to_jax(batch, self.spec.dtype) for batch in self._whole_batches())

        def get_torch_dataloader(self) -> Iterator[Any]:
            """Return an iterator of tensors of torch on the CPU, which Keras moves where the model is."""
            self.on_host()
            return (to_torch(batch, self.spec.dtype) for batch in self._whole_batches())

        def _whole_batches(self) -> Iterator[plain.Batch]:
            return (batch.parts[0] for batch in self.keras_pass())

        def _choose_backends(self, device: str) -> list[Backend]:
            if keras.backend.backend() != "tensorflow" or (strategy := mirrored_strategy()) is None:
                return super()._choose_backends(device)
            backends = backends_of(strategy, device, self.spec, self.batch_size, self.crop.n_crops)
            if any(backend.device != "cpu" for backend in backends):
                leave_memory()
            teach(strategy)
            self._strategy = strategy
            return backends

        def __getstate__(self) -> dict[str, Any]:
            if self._strategy is not None:
                raise TypeError("a loader for a tf.distribute strategy can't be pickled or copied, as the strategy can't")
            return super().__getstate__()

else:

    class Loader(_KerasLoader, keras.utils.PyDataset):  # type: ignore[no-redef]  # noqa: D101
        # Keras copies every batch, shuffles the steps if `fit` is not told shuffle=False, and begins every epoch at step 0
        __doc__ = plain.Loader.__doc__

        def __init__(self, *arguments: Any, **options: Any) -> None:
            keras.utils.PyDataset.__init__(self)
            plain.Loader.__init__(self, *arguments, **options)
            self._begun = False

        def __getitem__(self, step: int) -> Any:
            """Return batch `step` of the epoch under way."""
            self.on_host()
            return self.batch(self.next_epoch, step)

        def on_epoch_begin(self) -> None:
            """Note that an epoch is under way."""
            self._begun = True

        def on_epoch_end(self) -> None:
            """Go on to the next epoch; Keras also calls this where no epoch was begun."""
            if self._begun:
                self.set_epoch(self.next_epoch + 1)
            self._begun = False


class EpochSync(keras.callbacks.Callback):
    """Tells a loader the number of the epoch that `fit` begins with, for `fit(initial_epoch=...)` and resumed runs.

    Without it a loader counts its own passes, which is the same thing for a `fit` that begins at epoch 0. From the first epoch
    on passes are counted: with `steps_per_epoch` an epoch of Keras' is not one of the loader's.

    Parameters
    ----------
    loader : Loader
    """

    def __init__(self, loader: plain.Loader) -> None:
        super().__init__()
        self.loader = loader
        self._told = False

    def on_train_begin(self, logs: Any = None) -> None:
        """Forget an earlier `fit`, and what Keras only looked at to build the model."""
        self._told = False
        if isinstance(self.loader, _KerasLoader):
            self.loader.keras_pass()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Set the loader's next epoch, unless it already stands inside that epoch."""
        if not self._told and self.loader.next_epoch != epoch:
            self.loader.set_epoch(epoch)
        self._told = True


def _objection(number: int) -> str | None:
    """Say why Keras would have no use for batches on a CUDA device; None if it has."""
    if DataAdapter is None:
        return f"this Keras ({keras.__version__}) takes batches from the host only"
    if keras.backend.backend() != "tensorflow":
        return f"Keras runs on {keras.backend.backend()}, and batches on a GPU are for its TensorFlow backend"
    import tensorflow as tf

    if number >= len(tf.config.list_physical_devices("GPU")):
        return "TensorFlow sees no GPU (is it tensorflow[and-cuda]?)"
    return None
