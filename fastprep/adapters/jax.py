"""Hand-over of batches to JAX, which is imported at first use."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

from numpy.typing import NDArray

from fastprep.errors import DeviceUnavailableError
from fastprep.pipeline import Batch, Lease, dlpack_capsule
from fastprep.pipeline.companions import Placed
from fastprep.pipeline.fences import Fence

_CPU, _CUDA = 1, 2  # kDLCPU, kDLCUDA: https://dmlc.github.io/dlpack/latest/c_api.html


class _DlpackArray:
    """An array in a buffer, as `jax.dlpack` asks for it: https://dmlc.github.io/dlpack/latest/python_spec.html."""

    def __init__(
        self, lease: Lease, shape: tuple[int, ...], dtype: str, number: int, fences: Sequence[Fence] = (), offset: int = 0
    ) -> None:
        self._device = (_CUDA if lease.is_on_device else _CPU, number)
        self._arguments = (lease, shape, dtype, number, fences, offset)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device

    def __dlpack__(self, **options: Any) -> object:
        # the stream that JAX names has nothing to wait for: a batch is complete before it is handed out
        return dlpack_capsule(*self._arguments)


class JaxFence:
    """Fence of JAX on one GPU, see `fastprep.pipeline.fences.Fence`: a computation that is dispatched after all others there.

    JAX lets go of an array when the computations that read it are queued on the device's compute stream, whose pointer it tells
    nobody. One that is dispatched now comes after them.

    Parameters
    ----------
    device : jax.Device
    """

    def __init__(self, device: Any) -> None:
        import jax

        self._zero = jax.device_put(0, device)
        self._tick = jax.jit(lambda value: value + 1)
        self._tick(self._zero).block_until_ready()  # compiled now, and not while training runs

    def wait(self, stream: Any = None) -> None:
        """Let a stream wait on the device, or the calling thread, see `Fence.wait`."""
        token = self._tick(self._zero)
        if stream is None:
            token.block_until_ready()
        else:
            token.__dlpack__(stream=stream.ptr)  # the stream waits for the token; nobody needs the capsule


def to_jax(batch: Batch, dtype: Any) -> tuple[Any, ...]:
    """Hand a batch to JAX: without a copy if JAX computes where the batch is, else as a copy on JAX's device.

    An array from DLPack would stay on the CPU, whatever Keras does.

    Parameters
    ----------
    batch : Batch
    dtype : {"float32", "float16", "bfloat16"}, or dict of str to these
        Type of x, or of each input.

    Returns
    -------
    tuple of jax.Array, or of dicts of them
        (x, y, weights), or fewer where the batch has no labels or no weights. On the CPU, and on the CUDA device of a batch that
        is on one, x is at the address to which the kernel wrote. Its buffer is in use until JAX has released it and has computed
        what was dispatched.
    """
    import jax

    lease, number = batch.lease, 0
    fences: list[Fence] = []

    def lend(shape: tuple[int, ...], name: str, offset: int) -> Any:
        return jax.dlpack.from_dlpack(_DlpackArray(lease, shape, name, number, fences, offset))

    if not lease.is_on_device:
        is_on_host = jax.default_backend() == "cpu" and jax.config.jax_default_device is None
        x = batch.convert_x(lend, dtype) if is_on_host else jax.device_put(batch.x)
        return (x, *batch.convert_companions(lambda array, place: jax.device_put(array)))
    number = batch.device_number
    device = _device_of(number)
    fences = [_fence_of(device)]

    def convert(array: NDArray, place: Placed | None) -> Any:
        if place is None:
            return jax.device_put(array, device)
        return lend(place.shape, place.dtype.name, place.offset)

    return (batch.convert_x(lend, dtype), *batch.convert_companions(convert))


def cuda_number(array: Any) -> int:
    """Return the number of the CUDA device that an array of JAX's is on.

    Raises
    ------
    DeviceUnavailableError
        If it is on no CUDA device, or on several devices.
    """
    devices = array.devices()
    if len(devices) > 1 or any(device.platform != "gpu" for device in devices):
        raise DeviceUnavailableError(f"Keras computes with JAX on {', '.join(map(str, sorted(devices, key=str)))}")
    return next(iter(devices)).local_hardware_id


def canonical_dtype(dtype: Any) -> Any:
    """Return the dtype that JAX makes of one: of 32 bits instead of 64, unless it was told to take those."""
    import jax

    return jax.dtypes.canonicalize_dtype(dtype)


def commit(variables: Iterable[Any]) -> None:
    """Commit the values of Keras' variables to the devices that they are on.

    An array from DLPack is committed to its device, and JAX compiles a step anew where an argument is committed that was not
    so before. The results of a step on such a batch are committed, so a step would be compiled for values of all kinds.

    Parameters
    ----------
    variables : iterable of keras.Variable
    """
    import jax

    for variable in variables:
        if getattr(variable, "_value", None) is None:  # while a step runs, Keras' trainer holds the values
            continue
        variable.assign(jax.device_put(variable.value, variable.value.sharding))  # the same memory


def describe_gpus() -> tuple[str, int]:
    """Return a description of which GPUs JAX sees, and their number."""
    import jax

    n_gpus = len(jax.local_devices()) if jax.default_backend() == "gpu" else 0
    seen = f"sees {n_gpus} GPU{'s' * (n_gpus > 1)}" if n_gpus else "sees no GPU (is it jax[cuda12]?)"
    return f"{jax.__version__}, {seen}", n_gpus


def process_count() -> int:
    """Return the number of processes that JAX has connected."""
    import jax

    return jax.process_count()


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


@functools.cache
def _device_of(number: int) -> Any:
    """Return JAX's device for a CUDA device of this process.

    Raises
    ------
    RuntimeError
        If JAX does not use it.
    """
    import jax

    devices = jax.local_devices() if jax.default_backend() == "gpu" else []
    for device in devices:
        if device.local_hardware_id == number:
            return device
    raise RuntimeError(
        f'batches are made on cuda:{number}, which JAX does not use: it uses {len(devices)} GPUs. Use device="cpu", or a JAX '
        "for GPUs (jax[cuda12])"
    )


@functools.cache
def _fence_of(device: Any) -> JaxFence:
    return JaxFence(device)
