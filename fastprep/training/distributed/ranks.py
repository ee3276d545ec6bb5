"""The ranks of a training run: the processes that train one model together, or the one process that trains it alone."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


class Ranks:
    """The only process of a run, for which every exchange is trivial; `Joined` is one of several.

    Attributes
    ----------
    rank, world : int
        This process, 0..world-1, and the number of processes.
    jit_compile : bool or "auto"
        Whether the network may be compiled by XLA, as for `keras.Model.compile`.
    steps_between_exchanges : int
        How many steps may pass, at most, until the ranks agree once more on whether to save.
    """

    rank, world = 0, 1
    jit_compile: bool | str = "auto"
    steps_between_exchanges = 1

    @property
    def first(self) -> bool:
        """Whether this is the rank that prints and writes."""
        return self.rank == 0

    @property
    def prefix(self) -> str:
        """Beginning of what the train command prints on standard error."""
        return "fastprep.train"

    def describe(self, batch_size: int) -> list[str]:
        """Return the lines that say what the ranks share, for batches of `batch_size` images on each."""
        return []

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks in the order of ranks; they must be serialisable as JSON."""
        return [value]

    def from_first(self, value: Any) -> Any:
        """Return the value of rank 0, which must be serialisable as JSON."""
        return value

    def spread(self, values: Any) -> Any:
        """Return the bytes of rank 0 in an array of this shape and dtype; a process on its own gets back what it gave."""
        return values

    def reduce(self, values: NDArray, how: str = "Add") -> NDArray:
        """Return the sum over all ranks, element by element ("Add"), or the "Min" or "Max": the same bits on each of them."""
        return values

    def mean(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Return the means over all ranks, in TensorFlow's graph, for a step of training."""
        return list(tensors)

    def share_gradients(self, model: keras.Model) -> None:
        """See `fastprep.training.distributed.sync.share_gradients`."""

    def start_alike(self, model: keras.Model, seed: int, epoch: int, step: int) -> None:
        """See `fastprep.training.distributed.sync.start_alike`."""

    def average_moving(self, model: keras.Model) -> None:
        """See `fastprep.training.distributed.sync.average_moving`."""

    def settle(self, model: keras.Model, *, metrics: bool) -> None:
        """See `fastprep.training.distributed.sync.settle`."""

    def callbacks(self) -> list[keras.callbacks.Callback]:
        """Return the callbacks that have to come before all others."""
        return []

    def together(self) -> contextlib.AbstractContextManager[None]:
        """Continue after the block only if all ranks can: an InputError on one ends them all."""
        return contextlib.nullcontext()

    def training(self, folder: Path) -> contextlib.AbstractContextManager[None]:
        """Turn TensorFlow's errors about lost ranks in the block, in which steps of training run, into a RankError.

        If a rank does not come in time, the process ends, and half-written files in the folder are removed.
        """
        return contextlib.nullcontext()

    def finish(self) -> None:
        """Wait for all ranks at the end: while the first one works, the others have to stay."""


ALONE = Ranks()
