"""The hand-over to TensorFlow by DLPack, and what TensorFlow knows of GPUs. tensorflow is imported at first use."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from fastprep.buffers import ALIGNMENT, dlpack_capsule
from fastprep.pipeline import Batch

if TYPE_CHECKING:
    import tensorflow as tf

_log = logging.getLogger(__name__)


def to_tensor(batch: Batch, dtype: str) -> tf.Tensor:
    """Give x of a batch to TensorFlow where it lies.

    Parameters
    ----------
    batch : Batch
    dtype : {"float32", "float16", "bfloat16"}
        Of its x.

    Returns
    -------
    tf.Tensor
        At the address that the kernel wrote to, on the CPU or the GPU. The buffer is in use until TensorFlow lets go of it.

    Raises
    ------
    RuntimeError
        If the buffer is not aligned as TensorFlow needs, or on a GPU that TensorFlow does not use.
    """
    import tensorflow as tf

    # TensorFlow checks neither: its first operation on a misaligned tensor aborts the process, and a capsule for a device that it
    # does not have is freed twice
    if batch.lease.address % ALIGNMENT:
        raise RuntimeError(f"batch buffer at {batch.lease.address:#x} is not aligned to {ALIGNMENT} bytes")
    index = tensorflow_index(batch.x.device.id) if batch.lease.is_on_device else 0
    return tf.experimental.dlpack.from_dlpack(dlpack_capsule(batch.lease, batch.x.shape, dtype, index))


def tensorflow_index(number: int) -> int:
    """Return the number that TensorFlow gives to a CUDA device: its logical devices are counted anew, among those it may see.

    Raises
    ------
    RuntimeError
        If TensorFlow does not use that device, or splits its devices.
    """
    import tensorflow as tf

    visible = [device.name.rpartition(":")[2] for device in tf.config.get_visible_devices("GPU")]
    if str(number) in visible and len(tf.config.list_logical_devices("GPU")) == len(visible):
        return visible.index(str(number))
    raise RuntimeError(
        f"batches are made on cuda:{number}, which TensorFlow does not use, or not as one device: it sees {len(visible)} GPUs. "
        'Use device="cpu", or a TensorFlow for GPUs (tensorflow[and-cuda]); CUDA_VISIBLE_DEVICES chooses among several'
    )


def leave_memory() -> None:
    """Have TensorFlow take a GPU's memory as it needs it, and not all at its first use; warn if it is too late for that."""
    import tensorflow as tf

    if os.environ.get("TF_FORCE_GPU_ALLOW_GROWTH", "").lower() in ("true", "1"):
        return
    for gpu in tf.config.list_physical_devices("GPU"):
        if tf.config.experimental.get_memory_growth(gpu):
            continue
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except ValueError:  # its memory was divided by hand, and so limited
            return
        except RuntimeError:
            _log.warning(
                "TensorFlow was in use before this loader was made and may hold all of the GPU's memory, but batches need some: "
                "make the loader first, or set TF_FORCE_GPU_ALLOW_GROWTH=true"
            )
            return


def describe_gpus() -> str:
    """Say which GPUs TensorFlow sees, and how it takes their memory, without having it take any."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return f"{tf.__version__}, sees no GPU (is it tensorflow[and-cuda]?)"
    grows = os.environ.get("TF_FORCE_GPU_ALLOW_GROWTH", "").lower() in ("true", "1")
    grows = grows or all(tf.config.experimental.get_memory_growth(gpu) for gpu in gpus)
    how = "takes memory as it needs it" if grows else "takes all memory at its first use, unless a CUDA loader is made before"
    return f"{tf.__version__}, sees {len(gpus)} GPU{'s' * (len(gpus) > 1)}, {how}"
