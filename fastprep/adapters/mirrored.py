"""`tf.distribute.MirroredStrategy`: the device on which each replica's part of a batch is made, and its way to the replica.

Keras distributes whatever a loader gives it by a public method of the model's strategy, and tells the loader nothing about that
strategy. So the loader makes its own strategy accept its batches (`accept_loaders`), and any other strategy meets something that
it can't distribute.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fastprep.adapters.tensorflow import Feed, TensorIterator, cuda_number
from fastprep.dataset import map_outputs, outputs_of
from fastprep.pipeline import Backend, Companions, choose_parts
from fastprep.pipeline.backends import CpuBackend

if TYPE_CHECKING:
    import tensorflow as tf


def mirrored_strategy() -> tf.distribute.MirroredStrategy | None:
    """Return the strategy in whose scope this is called, if it is a `MirroredStrategy`; Keras refuses a loader for any other."""
    import tensorflow as tf

    strategy = tf.distribute.get_strategy()
    return strategy if isinstance(strategy, tf.distribute.MirroredStrategy) else None


def replica_backends(
    strategy: tf.distribute.MirroredStrategy,
    device: str,
    spec: Any,
    batch_size: int,
    n_crops: int,
    largest_batch: int | None = None,
    companions: Companions | None = None,
) -> list[Backend]:
    """Return the backend that makes each replica's part of a batch.

    Parameters
    ----------
    strategy : tf.distribute.MirroredStrategy
    device : {"auto", "cpu", "cuda"}
        "auto" and "cuda" mean the replica's own device; "auto" means the CPU if one of those devices can't be used.
    spec : CropSpec, or dict of str to CropSpec
    batch_size : int
        Number of samples in a batch of all replicas together.
    n_crops : int
        Number of rows of x for each sample.
    largest_batch : int or None
        Number of samples in the largest batch there is; None for `batch_size`.
    companions : Companions, optional
        The arrays that go to a GPU with x.

    Returns
    -------
    list of Backend
        One for each replica, in their order. Replicas on the CPU share one backend.

    Raises
    ------
    ValueError
        If the batch can't be shared out evenly, if `device` names a single device, or if it is "cuda" and a replica is not on a
        GPU.
    DeviceUnavailableError
        If `device` is "cuda" and a device of the strategy can't be used.
    """
    numbers = [cuda_number(name) for name in strategy.extended.worker_devices]
    n_replicas = len(numbers)
    if batch_size % n_replicas:
        raise ValueError(
            f"batch_size must be a multiple of {n_replicas}, the replicas of the strategy in whose scope the loader is made, got "
            f"{batch_size}: Keras builds a model from a batch whose parts have the same size"
        )
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(
            f'device must be "auto", "cpu" or "cuda" in the scope of a strategy, which names its devices, got {device!r}'
        )
    if device == "cuda" and None in numbers:
        raise ValueError(f'device must be "auto" or "cpu" for a strategy on {strategy.extended.worker_devices}, got "cuda"')
    backends = None
    if device != "cpu" and any(number is not None for number in numbers):
        size = -(-(largest_batch or batch_size) // n_replicas)
        backends = choose_parts(device, spec, numbers, size, size * n_crops, companions)
    return backends or [CpuBackend(spec)] * n_replicas


def accept_loaders(strategy: tf.distribute.MirroredStrategy) -> None:
    """Make `strategy.experimental_distribute_dataset` accept `MirroredBatches`; datasets are distributed as before.

    This sets an attribute of the one object, which Keras calls by its public name. TensorFlow's method would look for a graph.
    """
    original = strategy.experimental_distribute_dataset
    if getattr(original, "takes_loaders", False):
        return

    def experimental_distribute_dataset(dataset: Any, options: Any = None) -> Any:
        return dataset.distribute(strategy) if isinstance(dataset, MirroredBatches) else original(dataset, options)

    experimental_distribute_dataset.takes_loaders = True  # type: ignore[attr-defined]
    strategy.experimental_distribute_dataset = experimental_distribute_dataset


class MirroredBatches:
    """Batches that Keras distributes: tuples of per-replica tensors under the loader's strategy, an error under any other.

    Parameters
    ----------
    feed : Feed
    strategy : tf.distribute.MirroredStrategy
    """

    def __init__(self, feed: Feed, strategy: tf.distribute.MirroredStrategy) -> None:
        self._feed, self._strategy = feed, strategy

    def distribute(self, strategy: tf.distribute.Strategy) -> PerReplicaBatches:
        """Return the batches as per-replica values of this strategy."""
        if strategy is not self._strategy:
            raise self._refusal()
        return PerReplicaBatches(self._feed, strategy)

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


class PerReplicaBatches:
    """Batches of a loader as per-replica values of a strategy, which Keras iterates."""

    def __init__(self, feed: Feed, strategy: tf.distribute.Strategy) -> None:
        self._feed, self._strategy = feed, strategy

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return TensorIterator(self._feed, self._join)

    def _join(self, parts: list[tuple[tf.Tensor, ...]], is_first: bool) -> tuple[Any, ...]:
        sizes = [len(outputs_of(part[0])[0]) for part in parts]
        if is_first and len(set(sizes)) > 1:  # Keras adds the parts up to build the model, and says only that they differ
            raise ValueError(
                f"the first batch that Keras gets must have parts of the same size for its {len(sizes)} replicas, these have "
                f"{sizes} rows: choose a batch_size that the samples fill, or do not resume at a partial last batch"
            )

        def join(*tensors: Any) -> Any:
            return self._strategy.experimental_distribute_values_from_function(
                lambda context: tensors[context.replica_id_in_sync_group]
            )

        return tuple(map_outputs(join, *(part[k] for part in parts)) for k in range(len(parts[0])))
