"""What both ways into Keras have in common: the iterator of a training, and the choice of the device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from fastprep.adapters.iterators import TrainingIterator
from fastprep.adapters.jax import to_jax
from fastprep.adapters.tensorflow import leave_memory, to_tensors
from fastprep.adapters.torch import to_torch
from fastprep.loader import Loader as PlainLoader
from fastprep.pipeline import Backend, Batch, choose

_HAND_OVER = {"tensorflow": to_tensors, "jax": to_jax, "torch": to_torch}


def to_backend(batch: Batch, dtype: str) -> Any:
    """Hand x of a batch to Keras' backend; see `fastprep.adapters.tensorflow.to_tensor`, `to_jax` and `to_torch`.

    Parameters
    ----------
    batch : Batch
    dtype : {"float32", "float16", "bfloat16"}
        Type of x.

    Returns
    -------
    tf.Tensor, jax.Array or torch.Tensor
    """
    return _HAND_OVER[keras.backend.backend()](batch, dtype)[0]


class KerasLoader(PlainLoader):
    """Base of the loaders for Keras."""

    _iterator: TrainingIterator | None = None
    _peek_size = 1
    _n_ahead = 0
    _gives_replacements = False  # whether `predict` may give the rows of other images for damaged ones

    @property
    def num_batches(self) -> int:
        """Steps of an epoch, under the name that Keras asks for."""
        return len(self)

    def tensors(self) -> Iterator[Any]:
        """Iterate over the next epoch in tensors of Keras' backend: for a training loop of your own, without a copy.

        Returns
        -------
        iterator of (x, y), (x, y, weights), or x
            On TensorFlow tensors, x on the device where batches are made and the rest on the CPU; on JAX arrays; on torch
            tensors on the CPU. x has the loader's dtype and layout, and lies where the kernel wrote it (with JAX only if JAX
            computes on the CPU). Its memory is used again when nothing holds it any more.

        Raises
        ------
        NotImplementedError
            If Keras runs on another backend, if batches are split for a `tf.distribute.MirroredStrategy`, or if they are made on
            a CUDA device for JAX or torch.
        """
        backend = keras.backend.backend()
        if backend not in _HAND_OVER or len(self._backends) > 1:
            raise NotImplementedError(
                f"tensors() is for one device, on TensorFlow, JAX or torch; this is {backend}, with batches in "
                f"{len(self._backends)} part{'s' * (len(self._backends) > 1)}"
            )
        if backend != "tensorflow":
            self._check_on_host()
        handed = (_HAND_OVER[backend](batch.parts[0], self.dtype) for batch in self._epoch_iterator())
        return (parts if len(parts) > 1 else parts[0] for parts in handed)

    def close(self) -> None:
        """See `fastprep.loader.Loader.close`."""
        if self._iterator is not None:
            self._iterator.close()
        super().close()

    def _next_iterator(self) -> TrainingIterator:
        """Return the iterator for the next epoch of a training.

        Keras asks for an iterator twice an epoch and uses one of the two, so one that has not started is given again. When Keras
        stops early it never says so, so the iterator before is closed here.
        """
        if self._iterator is None or self._iterator.started:
            if self._iterator is not None:
                self._iterator.retire()
            self._iterator = TrainingIterator(self._source, self._peek_size, self._n_ahead)
            if keras.backend.backend() == "tensorflow":
                self._peek_size = 0  # after the first iterator of a `fit` there is no peek
        return self._iterator

    def _check_on_host(self) -> None:
        """Check that batches are made in host memory.

        Raises
        ------
        NotImplementedError
            If they are not: Keras' other backends, and its other ways to take data, have no use for memory of a CUDA device.
        """
        if any(backend.device != "cpu" for backend in self._backends):
            raise NotImplementedError(
                f"fastprep hands batches on {self.stats()['device']} to Keras' TensorFlow backend only (this is "
                f'{keras.backend.backend()}): use device="cpu"'
            )

    def _choose_backends(self, device: str) -> list[Backend]:
        n_images = self._largest_batch
        backends = [choose(device, self._spec, n_images, n_images * self.crop.n_crops, self._objection)]
        if backends[0].device != "cpu" and keras.backend.backend() == "tensorflow":
            leave_memory()
        return backends

    @staticmethod
    def _objection(number: int) -> str | None:
        """Return why Keras would have no use for batches on a CUDA device; None if it has."""
        if keras.backend.backend() != "tensorflow":
            return f"Keras runs on {keras.backend.backend()}, and batches on a GPU are for its TensorFlow backend"
        import tensorflow as tf

        if number >= len(tf.config.list_physical_devices("GPU")):
            return "TensorFlow sees no GPU (is it tensorflow[and-cuda]?)"
        return None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_iterator": None}
