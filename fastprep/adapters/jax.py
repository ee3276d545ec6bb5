"""The hand-over to JAX and torch, for Keras on those backends. Each is imported at first use."""

from __future__ import annotations

from typing import Any

from fastprep.pipeline import dlpack_capsule
from fastprep.pipeline.epoch_iterator import Batch


class _Loan:
    """x of a batch, as JAX asks for it: https://dmlc.github.io/dlpack/latest/python_spec.html."""

    def __init__(self, batch: Batch, dtype: str) -> None:
        self._batch, self._dtype = batch, dtype

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0  # kDLCPU

    def __dlpack__(self, **options: Any) -> object:
        return dlpack_capsule(self._batch.lease, self._batch.x.shape, self._dtype)


def to_jax(batch: Batch, dtype: str) -> tuple[Any, ...]:
    """Give a batch to JAX: where it lies, if JAX computes on the first CPU device.

    An array from DLPack stays on the CPU, whatever Keras does; so where JAX computes elsewhere it gets the batch copied there.

    Parameters
    ----------
    batch : Batch
        In memory of the host.
    dtype : {"float32", "float16", "bfloat16"}
        Of its x.

    Returns
    -------
    tuple of jax.Array
        (x, y, weights) less what there is not. On the CPU x is at the address that the kernel wrote to, since a batch buffer is
        aligned to 64 bytes. The buffer is in use until JAX has let go of it and computed what was dispatched.
    """
    import jax

    is_here = jax.default_backend() == "cpu" and jax.config.jax_default_device is None
    x = jax.dlpack.from_dlpack(_Loan(batch, dtype)) if is_here else jax.device_put(batch.x)
    return (x, *jax.device_put([values for values in (batch.y, batch.weights) if values is not None]))


def jax_takes_ahead() -> int:
    """Count the batches that Keras takes when it wants one: where JAX does not compute on the CPU, it sends one ahead."""
    import jax

    return 1 if jax.default_backend() == "cpu" else 2
