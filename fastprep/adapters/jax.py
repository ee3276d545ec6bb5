"""Hand-over of batches to JAX, which is imported at first use."""

from __future__ import annotations

from typing import Any

from fastprep.pipeline import Batch, dlpack_capsule


class _DlpackArray:
    """x of a batch, as `jax.dlpack` asks for it: https://dmlc.github.io/dlpack/latest/python_spec.html."""

    def __init__(self, batch: Batch, dtype: str) -> None:
        self._batch, self._dtype = batch, dtype

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0  # kDLCPU

    def __dlpack__(self, **options: Any) -> object:
        return dlpack_capsule(self._batch.lease, self._batch.x.shape, self._dtype)


def to_jax(batch: Batch, dtype: str) -> tuple[Any, ...]:
    """Hand a batch to JAX: without a copy if JAX computes on the first CPU device, else as a copy on JAX's device.

    An array from DLPack would stay on the CPU, whatever Keras does.

    Parameters
    ----------
    batch : Batch
        A batch in host memory.
    dtype : {"float32", "float16", "bfloat16"}
        Type of x.

    Returns
    -------
    tuple of jax.Array
        (x, y, weights), or fewer where the batch has no labels or no weights. On the CPU x is at the address to which the kernel
        wrote, because a batch buffer is aligned to 64 bytes. Its buffer is in use until JAX has released it and has computed
        what was dispatched.
    """
    import jax

    is_on_host = jax.default_backend() == "cpu" and jax.config.jax_default_device is None
    x = jax.dlpack.from_dlpack(_DlpackArray(batch, dtype)) if is_on_host else jax.device_put(batch.x)
    return (x, *jax.device_put([values for values in (batch.y, batch.weights) if values is not None]))


def jax_takes_ahead() -> bool:
    """Return whether Keras takes a batch before it trains on the one before.

    It does where JAX does not compute on the CPU, to overlap the copy to the device with the training step. Keras did it
    everywhere as long as its iterator had a method of the name below, and never does it under a `keras.distribution`.
    """
    import jax
    import keras
    from keras.src.backend.jax import trainer

    if keras.distribution.distribution() is not None:
        return False
    return hasattr(trainer.JAXEpochIterator, "_prefetch_numpy_iterator") or jax.default_backend() != "cpu"
