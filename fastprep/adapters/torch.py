"""Hand-over of batches to torch, which is imported at first use."""

from __future__ import annotations

from typing import Any

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
