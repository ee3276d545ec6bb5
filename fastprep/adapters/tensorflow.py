"""Hand-over of batches to TensorFlow by DLPack, and what TensorFlow knows of GPUs. tensorflow is imported at first use."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from fastprep.adapters.iterators import KerasEpochIterator
from fastprep.errors import DeviceUnavailableError
from fastprep.pipeline import Batch, dlpack_capsule
from fastprep.pipeline.buffers import ALIGNMENT
from fastprep.pipeline.companions import Placed
from fastprep.pipeline.fences import Fence

if TYPE_CHECKING:
    import tensorflow as tf

_log = logging.getLogger(__name__)


class TensorFlowFence:
    """Fence of TensorFlow on one GPU, see `fastprep.pipeline.fences.Fence`: the stream of that device on which it computes.

    TensorFlow lets go of a tensor when its operations are queued there.

    Parameters
    ----------
    index : int
        TensorFlow's number of the device.
    """

    def __init__(self, index: int) -> None:
        self.index = index

    def wait(self, stream: Any = None) -> None:
        """Wait in the calling thread, because nobody else can reach the stream."""
        import tensorflow as tf

        with tf.device(f"GPU:{self.index}"):
            tf.raw_ops.SyncDevice()


def to_tensors(batch: Batch, dtype: Any) -> tuple[Any, ...]:
    """Hand a batch to TensorFlow without a copy of x, and without one of labels and weights that are on a GPU with it.

    Parameters
    ----------
    batch : Batch
    dtype : {"float32", "float16", "bfloat16"}, or dict of str to these
        Type of x, or of each input.

    Returns
    -------
    tuple of tf.Tensor, or of dicts of them
        (x, y, weights), or fewer where the batch has no labels or no weights. x is at the address to which the kernel wrote, on
        the CPU or the GPU, and the buffer is in use until TensorFlow releases it. Labels and weights that are not on a GPU are
        copied on the CPU.

    Raises
    ------
    RuntimeError
        If the buffer is not aligned as TensorFlow requires, or is on a GPU that TensorFlow does not use.
    """
    import tensorflow as tf

    # TensorFlow checks neither: its first operation on a misaligned tensor aborts the process, and it frees a capsule twice whose
    # device it does not have
    lease, index = batch.lease, 0
    fences: list[Fence] = []
    if lease.address % ALIGNMENT:
        raise RuntimeError(f"batch buffer at {lease.address:#x} is not aligned to {ALIGNMENT} bytes")
    if lease.is_on_device:
        index = tensorflow_index(batch.device_number)
        fences = [TensorFlowFence(index)]

    def convert(array: NDArray, place: Placed | None) -> tf.Tensor:
        if place is None:
            with tf.device("CPU:0"):
                return tf.constant(array)
        return lend(place.shape, place.dtype.name, place.offset)

    def lend(shape: tuple[int, ...], name: str, offset: int) -> tf.Tensor:
        return tf.experimental.dlpack.from_dlpack(dlpack_capsule(lease, shape, name, index, fences, offset))

    return (batch.convert_x(lend, dtype), *batch.convert_companions(convert))


def first_cuda_number() -> int:
    """Return the number of the CUDA device that is TensorFlow's first GPU, without making TensorFlow take it.

    Raises
    ------
    DeviceUnavailableError
        If TensorFlow sees no GPU.
    """
    import tensorflow as tf

    visible = tf.config.get_visible_devices("GPU")
    if not visible:
        raise DeviceUnavailableError("TensorFlow sees no GPU (is it tensorflow[and-cuda]?)")
    return int(visible[0].name.rpartition(":")[2])


def tensorflow_index(number: int) -> int:
    """Return TensorFlow's number for a CUDA device: TensorFlow numbers its logical devices anew, among those that it may see.

    Raises
    ------
    RuntimeError
        If TensorFlow does not use that device, or splits its devices.
    """
    used = _used_gpus()
    if number in used:
        return used.index(number)
    raise RuntimeError(
        f"batches are made on cuda:{number}, which TensorFlow does not use, or not as one device: it uses {len(used)} GPUs. "
        'Use device="cpu", or a TensorFlow for GPUs (tensorflow[and-cuda]); CUDA_VISIBLE_DEVICES chooses among several'
    )


def cuda_number(device: str) -> int | None:
    """Return the number of the CUDA device that TensorFlow calls ``...:GPU:k``; None for a CPU.

    Raises
    ------
    RuntimeError
        If `device` is neither a GPU nor a CPU, or TensorFlow splits its devices.
    """
    import tensorflow as tf

    spec, used = tf.DeviceSpec.from_string(device), _used_gpus()
    if spec.device_type == "CPU":
        return None
    if spec.device_type == "GPU" and spec.device_index < len(used):
        return used[spec.device_index]
    raise RuntimeError(f"there is no CUDA device for TensorFlow's {device}, or it is only a part of one")


def _used_gpus() -> list[int]:
    """Return the numbers of the CUDA devices that TensorFlow uses, in TensorFlow's order; an empty list if it splits them."""
    import tensorflow as tf

    visible = [int(device.name.rpartition(":")[2]) for device in tf.config.get_visible_devices("GPU")]
    # in a distributed run TensorFlow lists the devices of all processes
    here = tf.constant(0).device.rpartition("/device:")[0]
    logical = [device for device in tf.config.list_logical_devices("GPU") if device.name.startswith((here, "/device:"))]
    return visible if len(logical) == len(visible) else []


def leave_memory() -> None:
    """Let TensorFlow take a GPU's memory as it needs it, and not all at its first use; warn if it is too late for that."""
    import tensorflow as tf

    if os.environ.get("TF_FORCE_GPU_ALLOW_GROWTH", "").lower() in ("true", "1"):
        return
    for gpu in tf.config.list_physical_devices("GPU"):
        if tf.config.experimental.get_memory_growth(gpu):
            continue
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except ValueError:  # the user split the memory, and so limited it
            return
        except RuntimeError:
            _log.warning(
                "TensorFlow was in use before this loader was made and may hold all of the GPU's memory, but batches need some: "
                "make the loader first, or set TF_FORCE_GPU_ALLOW_GROWTH=true"
            )
            return


def describe_gpus() -> tuple[str, int]:
    """Return a description of which GPUs TensorFlow sees and how it takes their memory, and their number; it takes none here."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return f"{tf.__version__}, sees no GPU (is it tensorflow[and-cuda]?)", 0
    grows = os.environ.get("TF_FORCE_GPU_ALLOW_GROWTH", "").lower() in ("true", "1")
    grows = grows or all(tf.config.experimental.get_memory_growth(gpu) for gpu in gpus)
    how = "takes memory as it needs it" if grows else "takes all memory at its first use, unless a CUDA loader is made before"
    return f"{tf.__version__}, sees {len(gpus)} GPU{'s' * (len(gpus) > 1)}, {how}", len(gpus)


@dataclass(frozen=True)
class Feed:
    """The side of a loader that TensorFlow's trainer reads.

    Parameters
    ----------
    dtype : {"float32", "float16", "bfloat16"}, or dict of str to these
        Type of x, or of each input.
    next_iterator : callable
        Returns the epoch iterator for Keras' next epoch.
    """

    dtype: Any
    next_iterator: Callable[[], KerasEpochIterator]


class OneDeviceBatches:
    """Batches that Keras' TensorFlow trainer iterates without a strategy: the default strategy takes any iterable for a dataset.

    Every other strategy looks for the graph node of a `tf.data.Dataset`, inside its scope or not, and is refused: it would give
    each replica the whole batch.

    Parameters
    ----------
    feed : Feed
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def __iter__(self) -> Iterator[tuple[tf.Tensor, ...]]:
        return TensorIterator(self._feed, lambda parts, is_first: parts[0])

    def __getattr__(self, name: str) -> Any:
        raise NotImplementedError(
            "this fastprep.Loader was made for one device, outside the scope of a tf.distribute.MirroredStrategy, and the model "
            "is under a strategy: make the loader in the same `with strategy.scope():` as the model. Strategies of other kinds "
            f"are not supported ({name} was asked for)"
        )


class TensorIterator:
    """Iterator of tuples of tensors over one epoch; takes its epoch iterator at the first `next`.

    Parameters
    ----------
    feed : Feed
    join : callable
        Takes the tensors of each part of a batch, and whether it is the first batch. Returns what Keras gets.
    """

    def __init__(self, feed: Feed, join: Callable[[list[tuple[tf.Tensor, ...]], bool], tuple[Any, ...]]) -> None:
        self._feed, self._join = feed, join
        self._iterator: KerasEpochIterator | None = None
        self._count = 0

    def __iter__(self) -> TensorIterator:
        return self

    def __next__(self) -> tuple[Any, ...]:
        import tensorflow as tf

        if self._iterator is None:
            self._iterator = self._feed.next_iterator()
        batch = next(self._iterator, None)
        if batch is None:
            if self._count < self._iterator.n_expected:
                # Keras takes this, but not StopIteration, for the end of an epoch where it expects another step
                raise tf.errors.OutOfRangeError(None, None, "the rest of a resumed epoch has been read")
            raise StopIteration
        self._count += 1
        return self._join([to_tensors(part, self._feed.dtype) for part in batch.parts], self._count == 1)
