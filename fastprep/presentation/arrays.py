"""Tensors of any library as arrays of numpy, by what they themselves offer: no library is imported for it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def on_host(tensor: Any) -> NDArray:
    """Return an array_like, or a tensor of TensorFlow, JAX, torch or cupy, as an array in memory of the host."""
    if hasattr(tensor, "detach") and hasattr(tensor, "cpu"):  # torch's; numpy has no bfloat16 to turn its own into
        tensor = tensor.detach().cpu()
        tensor = tensor.float() if tensor.is_floating_point() else tensor
    elif hasattr(tensor, "__cuda_array_interface__") and hasattr(tensor, "get"):  # cupy's
        tensor = tensor.get()
    return np.asarray(tensor)
