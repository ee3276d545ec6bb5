"""Hand-over of batches to torch, and the states of its random generators. torch is imported at first use."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from fastprep.pipeline import Batch, dlpack_capsule


def to_torch(batch: Batch, dtype: str) -> tuple[Any, ...]:
    """Hand a batch to torch without a copy.

    Parameters
    ----------
    batch : Batch
        A batch in host memory.
    dtype : {"float32", "float16", "bfloat16"}
        Type of x.

    Returns
    -------
    tuple of torch.Tensor
        (x, y, weights), or fewer where the batch has no labels or no weights. All are on the CPU, x at the address to which the
        kernel wrote. Its buffer is in use until torch releases it.
    """
    import torch

    x = torch.from_dlpack(dlpack_capsule(batch.lease, batch.x.shape, dtype))
    return (x, *(torch.from_numpy(values) for values in (batch.y, batch.weights) if values is not None))


def make_deterministic() -> None:
    """Restrict torch to operations that give the same bits every time."""
    import torch

    torch.use_deterministic_algorithms(True)


def random_states() -> list[NDArray]:
    """Return the states of torch's own random generators, which Keras' dropout draws from: of the CPU, then of each GPU."""
    import torch

    states = [torch.get_rng_state()]
    if torch.cuda.is_available():
        states += torch.cuda.get_rng_state_all()
    return [state.numpy() for state in states]


def set_random_states(states: list[NDArray]) -> None:
    """Restore what `random_states` returned; GPUs that this machine does not have are left out."""
    import torch

    torch.set_rng_state(torch.from_numpy(states[0]))
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index, state in enumerate(states[1 : n_gpus + 1]):
        torch.cuda.set_rng_state(torch.from_numpy(state), index)
