"""`keras.distribution.DataParallel` on JAX: the GPU on which each part of a batch is made, and the array over all of them."""

from __future__ import annotations

from typing import Any

from fastprep.adapters.jax import to_jax
from fastprep.dataset import map_outputs
from fastprep.errors import DeviceUnavailableError
from fastprep.pipeline import Backend, Batch, Companions, SharedBatch, choose_parts


def data_parallel_devices() -> tuple[Any, ...]:
    """Return JAX's devices under the `keras.distribution.DataParallel` that is set, in the order of a batch's parts.

    Returns
    -------
    tuple of jax.Device
        Empty if no distribution is set, or one of another kind, or if it is one over several processes.
    """
    import jax
    import keras

    distribution = keras.distribution.distribution()
    if not isinstance(distribution, keras.distribution.DataParallel) or jax.process_count() > 1:
        return ()
    return tuple(distribution.device_mesh.backend_mesh.devices.flat)


def sharded_backends(
    devices: tuple[Any, ...],
    device: str,
    spec: Any,
    batch_size: int,
    n_crops: int,
    largest_batch: int,
    companions: Companions,
) -> list[Backend] | None:
    """Return the backend that makes the part of a batch for each device.

    Parameters
    ----------
    devices : tuple of jax.Device
        From `data_parallel_devices`.
    device : {"auto", "cpu", "cuda"}
        "auto" and "cuda" mean the devices of the distribution; "auto" means the CPU if one of them can't be used.
    spec : CropSpec, or dict of str to CropSpec
    batch_size : int
        Number of samples in a batch of all devices together.
    n_crops : int
        Number of rows of x for each sample.
    largest_batch : int
        Number of samples in the largest batch there is.
    companions : Companions
        The arrays that go to a GPU with x.

    Returns
    -------
    list of Backend, or None
        None if batches are to be made on the CPU.

    Raises
    ------
    ValueError
        If the batch can't be shared out evenly, or if `device` names a single device.
    DeviceUnavailableError
        If `device` is "cuda" and a device of the distribution can't be used.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(
            f'device must be "auto", "cpu" or "cuda" under a keras.distribution, which names its devices, got {device!r}'
        )
    if device == "cpu":
        return None
    n_devices = len(devices)
    size = -(-largest_batch // n_devices)
    backends = choose_parts(device, spec, map(_cuda_number, devices), size, size * n_crops, companions)
    if backends is not None and batch_size % n_devices:
        raise ValueError(
            f"batch_size must be a multiple of {n_devices}, the GPUs of the keras.distribution that is set, got {batch_size}"
        )
    return backends


def to_global(batch: Batch | SharedBatch, dtype: Any) -> tuple[Any, ...]:
    """Hand a batch to JAX as arrays over the devices of the distribution that is set, without a copy.

    Parameters
    ----------
    batch : SharedBatch, or Batch for one device
    dtype : {"float32", "float16", "bfloat16"}, or dict of str to these
        Type of x, or of each input.

    Returns
    -------
    tuple of jax.Array, or of dicts of them
        (x, y, weights), or fewer where the batch has no labels or no weights.

    Raises
    ------
    ValueError
        If the rows can't be shared out evenly, as those of a smaller last batch.
    """
    import jax
    import keras

    sizes = [part.n_rows for part in batch.parts]
    if len(set(sizes)) > 1:
        raise ValueError(
            f"a batch of {sum(sizes)} rows can't be shared evenly by {len(sizes)} GPUs, which JAX requires: choose a batch_size "
            "that the samples fill, or drop_remainder=True"
        )
    distribution = keras.distribution.distribution()

    def join(*parts: Any) -> Any:
        shape = (sum(sizes), *parts[0].shape[1:])
        sharding = distribution.get_data_layout(shape).backend_layout
        return jax.make_array_from_single_device_arrays(shape, sharding, list(parts))

    return tuple(map_outputs(join, *parts) for parts in zip(*(to_jax(part, dtype) for part in batch.parts), strict=True))


def _cuda_number(device: Any) -> int:
    if device.platform != "gpu":
        raise DeviceUnavailableError(f"the keras.distribution computes on {device}")
    return device.local_hardware_id
