"""`tf.distribute.MirroredStrategy`: on which device each replica's part of a batch is made, and how it comes there.

Keras distributes whatever a loader gives it by a public method of the model's strategy, and tells the loader nothing of that
strategy. So a strategy learns of loaders (`teach`), and every other strategy meets something that it can't distribute.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fastprep.adapters.tensorflow import Feed, Tensors, cuda_number
from fastprep.errors import DeviceUnavailableError
from fastprep.kernels import CropSpec
from fastprep.kernels.device import Gpu
from fastprep.pipeline import Backend
from fastprep.pipeline.backends import CpuBackend, CudaBackend

if TYPE_CHECKING:
    import tensorflow as tf

_log = logging.getLogger(__name__)


def mirrored_strategy() -> tf.distribute.MirroredStrategy | None:
    """Return the strategy in whose scope this is called, if it is a `MirroredStrategy`; Keras refuses a loader for any other."""
    import tensorflow as tf

    strategy = tf.distribute.get_strategy()
    return strategy if isinstance(strategy, tf.distribute.MirroredStrategy) else None


def backends_of(
    strategy: tf.distribute.MirroredStrategy, device: str, spec: CropSpec, batch_size: int, n_crops: int
) -> list[Backend]:
    """Return for each replica where its part of a batch is made.

    Parameters
    ----------
    strategy : tf.distribute.MirroredStrategy
    device : {"auto", "cpu", "cuda"}
        "auto" and "cuda": on the replica's own device; "auto" on the CPU if one of them can't be used.
    spec : CropSpec
    batch_size : int
        Samples of a batch for all replicas together.
    n_crops : int
        Rows of x for each sample.

    Returns
    -------
    list of Backend
        In the order of the replicas. Those on the CPU share one.

    Raises
    ------
    ValueError
        If the batch can't be shared alike, or `device` is a single one, or "cuda" where a replica is not on a GPU.
    DeviceUnavailableError
        If "cuda" was asked for and a device of the strategy can't be used.
    """
    numbers = [cuda_number(name) for name in strategy.extended.worker_devices]
    n_replicas, host = len(numbers), CpuBackend(spec)
    if batch_size % n_replicas:
        raise ValueError(
            f"batch_size must be a multiple of {n_replicas}, the replicas of the strategy in whose scope the loader is made, got "
            f"{batch_size}: Keras builds a model from a batch whose parts are alike"
        )
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(
            f'device must be "auto", "cpu" or "cuda" in the scope of a strategy, which names its devices, got {device!r}'
        )
    if device == "cuda" and None in numbers:
        raise ValueError(f'device must be "auto" or "cpu" for a strategy on {strategy.extended.worker_devices}, got "cuda"')
    if device == "cpu" or not any(number is not None for number in numbers):
        return [host] * n_replicas
    size = batch_size // n_replicas
    try:
        gpus = [None if number is None else Gpu(number) for number in numbers]
    except DeviceUnavailableError as error:
        if device == "cuda":
            raise
        _log.info("device='auto': batches are made on the CPU: %s", error)
        return [host] * n_replicas
    _log.info("batches are made in parts on %s", ", ".join("the CPU" if gpu is None else str(gpu) for gpu in gpus))
    return [host if gpu is None else CudaBackend(spec, gpu, size, size * n_crops) for gpu in gpus]


def teach(strategy: tf.distribute.MirroredStrategy) -> None:
    """Have `strategy.experimental_distribute_dataset` take what `Parts` stands for; datasets go where they went before.

    An attribute of this one object, which Keras calls by its public name. TensorFlow's method would look for a graph.
    """
    original = strategy.experimental_distribute_dataset
    if getattr(original, "takes_loaders", False):
        return

    def experimental_distribute_dataset(dataset: Any, options: Any = None) -> Any:
        return dataset.over(strategy) if isinstance(dataset, Parts) else original(dataset, options)

    experimental_distribute_dataset.takes_loaders = True  # type: ignore[attr-defined]
    strategy.experimental_distribute_dataset = experimental_distribute_dataset


class Parts:
    """What a loader for a strategy gives Keras to distribute: for that strategy tuples of per-replica tensors, else an error.

    Parameters
    ----------
    feed : Feed
    strategy : tf.distribute.MirroredStrategy
    """

    def __init__(self, feed: Feed, strategy: tf.distribute.MirroredStrategy) -> None:
        self._feed, self._strategy = feed, strategy

    def over(self, strategy: tf.distribute.Strategy) -> PerReplica:
        """Return the batches as this strategy runs on them."""
        if strategy is not self._strategy:
            raise self._refusal()
        return PerReplica(self._feed, strategy)

    def __iter__(self) -> Iterator[Any]:
        raise self._refusal()

    def __getattr__(self, name: str) -> Any:  # another strategy looks for the graph of a dataset
        raise self._refusal()

    def _refusal(self) -> NotImplementedError:
        n = self._strategy.num_replicas_in_sync
        return NotImplementedError(
            f"this fastprep.Loader was made in the scope of a MirroredStrategy with {n} replica{'s' * (n > 1)}, and the model is "
            "under another strategy, or under none: make both in the same `with strategy.scope():`"
        )


class PerReplica:
    """A loader's batches for each replica of a strategy, as Keras iterates them."""

    def __init__(self, feed: Feed, strategy: tf.distribute.Strategy) -> None:
        self._feed, self._strategy = feed, strategy

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return Tensors(self._feed, self._join)

    def _join(self, parts: list[tuple[tf.Tensor, ...]], is_first: bool) -> tuple[Any, ...]:
        sizes = [len(part[0]) for part in parts]
        if is_first and len(set(sizes)) > 1:  # Keras adds them up to build the model, and says only that they differ
            raise ValueError(
                f"the first batch that Keras gets must have parts of the same size for its {len(sizes)} replicas, these have "
                f"{sizes} rows: choose a batch_size that the samples fill, or do not resume at a partial last batch"
            )
        joined = (
            self._strategy.experimental_distribute_values_from_function(
                lambda context, k=k: parts[context.replica_id_in_sync_group][k]
            )
            for k in range(len(parts[0]))
        )
        return tuple(joined)
