"""Hand-over of batches to torch, and the states of its random generators. torch is imported at first use."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from fastprep.errors import DeviceUnavailableError
from fastprep.pipeline import Batch, dlpack_capsule
from fastprep.pipeline.companions import Placed
from fastprep.pipeline.cuda import CudaMemory
from fastprep.pipeline.fences import Fence


def to_torch(batch: Batch, dtype: Any) -> tuple[Any, ...]:
    """Hand a batch to torch without a copy.

    Parameters
    ----------
    batch : Batch
    dtype : {"float32", "float16", "bfloat16"}, or dict of str to these
        Type of x, or of each input.

    Returns
    -------
    tuple of torch.Tensor, or of dicts of them
        (x, y, weights), or fewer where the batch has no labels or no weights: on the CPU, or all on the CUDA device of the
        batch. x is at the address to which the kernel wrote. Its buffer is in use until torch releases it, and is written to
        again only after what the current stream of that device holds then.
    """
    import torch

    lease, number = batch.lease, 0
    fences: list[Fence] = []
    if isinstance(lease.memory, CudaMemory):
        number = batch.device_number
        fences = [lease.memory.fence_of(torch.cuda.current_stream(number).cuda_stream)]

    def convert(array: NDArray, place: Placed | None) -> torch.Tensor:
        if place is None:
            return torch.from_numpy(array)
        return lend(place.shape, place.dtype.name, place.offset)

    def lend(shape: tuple[int, ...], name: str, offset: int) -> torch.Tensor:
        return torch.from_dlpack(dlpack_capsule(lease, shape, name, number, fences, offset))

    return (batch.convert_x(lend, dtype), *batch.convert_companions(convert))


def cuda_number(tensor: Any) -> int:
    """Return the number of the CUDA device that a tensor of Keras' is on.

    Raises
    ------
    DeviceUnavailableError
        If it is on no CUDA device.
    """
    if tensor.device.type != "cuda":
        raise DeviceUnavailableError(f"Keras computes with torch on {tensor.device}")
    return tensor.device.index


def describe_gpus() -> tuple[str, int]:
    """Return a description of which GPUs torch sees, and their number."""
    import torch

    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    seen = f"sees {n_gpus} GPU{'s' * (n_gpus > 1)}" if n_gpus else "sees no GPU (is it a build for CUDA?)"
    return f"{torch.__version__}, {seen}", n_gpus


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
