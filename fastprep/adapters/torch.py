"""The hand-over of batches to torch."""

from __future__ import annotations

from typing import Any

from fastprep.pipeline import dlpack_capsule
from fastprep.pipeline.epoch_iterator import Batch


def to_torch(batch: Batch, dtype: str) -> tuple[Any, ...]:
    """Give a batch to torch where it lies.

    Parameters
    ----------
    batch : Batch
        In memory of the host.
    dtype : {"float32", "float16", "bfloat16"}
        Of its x.

    Returns
    -------
    tuple of torch.Tensor
        (x, y, weights) less what there is not, on the CPU, x at the address that the kernel wrote to. The buffer is in use until
        torch lets go of it.
    """
    import torch

    x = torch.from_dlpack(dlpack_capsule(batch.lease, batch.x.shape, dtype))
    return (x, *(torch.from_numpy(values) for values in (batch.y, batch.weights) if values is not None))
