"""What both ways into Keras have in common: the iterator of a training, and the choice of the device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from fastprep.adapters import jax, torch
from fastprep.adapters.iterators import TrainingIterator
from fastprep.adapters.tensorflow import first_cuda_number, leave_memory, to_tensors
from fastprep.errors import DeviceUnavailableError
from fastprep.loader import Loader as PlainLoader
from fastprep.pipeline import Backend, Batch, Companions, HandedOut, SharedBatch, choose
from fastprep.pipeline.buffers import has_dlpack_type

_HAND_OVER = {"tensorflow": to_tensors, "jax": jax.to_jax, "torch": torch.to_torch}


def computing_number() -> int:
    """Return the number of the CUDA device on which Keras computes.

    Raises
    ------
    DeviceUnavailableError
        If Keras computes elsewhere, or runs on a backend to which batches on a GPU can't be handed.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return first_cuda_number()
    if backend == "jax":
        return jax.cuda_number(keras.ops.convert_to_tensor(0.0))
    if backend == "torch":
        return torch.cuda_number(keras.ops.convert_to_tensor(0.0))
    raise DeviceUnavailableError(f"Keras runs on {backend}, and batches on a GPU are for TensorFlow, JAX and torch")


def dtype_on_device(dtype: np.dtype[Any]) -> np.dtype[Any] | None:
    """Return the type in which Keras' backend takes labels or weights on a GPU; None for those that are better on the host."""
    if not has_dlpack_type(dtype):
        return None
    if keras.backend.backend() == "jax":
        return jax.canonical_dtype(dtype)
    # TensorFlow keeps int32 on the host, even for operations on a GPU, and would copy such labels back
    return None if keras.backend.backend() == "tensorflow" and dtype == np.int32 else dtype


def to_backend(batch: Batch, dtype: Any) -> Any:
    """Hand x of a batch to Keras' backend; see `fastprep.adapters.tensorflow.to_tensors`, `to_jax` and `to_torch`.

    Parameters
    ----------
    batch : Batch
    dtype : {"float32", "float16", "bfloat16"}, or dict of str to these
        Type of x, or of each input.

    Returns
    -------
    tf.Tensor, jax.Array or torch.Tensor, or dict of str to such
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
            Tensors on the device where batches are made; on TensorFlow labels of int32 are on the CPU. x has the loader's dtype
            and layout, and lies where the kernel wrote it (for batches made on the CPU with JAX only if JAX computes there).
            Its memory is used again when nothing holds it any more. On a GPU let it be read on one stream: torch's current one
            at the time of `next`, or those on which TensorFlow and JAX compute.

        Raises
        ------
        NotImplementedError
            If Keras runs on another backend, or if batches are split for several devices.
        """
        backend = keras.backend.backend()
        if backend not in _HAND_OVER or len(self._backends) > 1:
            raise NotImplementedError(
                f"tensors() is for one device, on TensorFlow, JAX or torch; this is {backend}, with batches in "
                f"{len(self._backends)} part{'s' * (len(self._backends) > 1)}"
            )
        hand_over, dtype = _HAND_OVER[backend], self.dtype

        def hand_out(batch: Batch | SharedBatch) -> Any:
            parts = hand_over(batch.parts[0], dtype)
            return parts if len(parts) > 1 else parts[0]

        return HandedOut(self._epoch_iterator(), hand_out)

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
            If they are not, and Keras asks for numpy arrays.
        """
        if any(backend.device != "cpu" for backend in self._backends):
            raise NotImplementedError(
                f"Keras ({keras.backend.backend()}) asks for batches in host memory here, and this loader makes them on "
                f'{self.stats()["device"]}: use device="cpu"'
            )

    def _check_where_keras_computes(self) -> None:
        """Check that batches on a GPU are on the one on which Keras computes.

        Raises
        ------
        RuntimeError
            If they are not.
        """
        device = self._backends[0].device
        if device == "cpu":
            return
        try:
            found = f"on cuda:{computing_number()}"
        except DeviceUnavailableError as error:
            found = f"elsewhere: {error}"
        if found != f"on {device}":
            raise RuntimeError(
                f'batches are made on {device}, and Keras computes {found}; make the loader with device="auto", or with '
                'device="cpu"'
            )

    def _choose_companions(self, *arrays: Any) -> Companions:
        return Companions(arrays, dtype_on_device)

    @property
    def _n_held(self) -> int:
        # on a GPU Keras' JAX trainer takes a batch ahead of the one that it trains on
        return 2 + (keras.backend.backend() == "jax" and self._backends[0].device != "cpu")

    def _choose_backends(self, device: str) -> list[Backend]:
        n_images = self._largest_batch
        n_rows = n_images * self.crop.n_crops
        backends = [choose(device, self._spec, n_images, n_rows, self._consumer, self._companions)]
        if backends[0].device != "cpu" and keras.backend.backend() == "tensorflow":
            leave_memory()
        return backends

    @staticmethod
    def _consumer() -> int:
        """Return the number of the CUDA device on which Keras can use batches; see `computing_number`."""
        return computing_number()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_iterator": None}
