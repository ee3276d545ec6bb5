"""Keras: the loader that `fit`, `evaluate` and `predict` take as it is, and a callback that tells it the epoch."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self

import keras

from fastprep.adapters.keras_base import KerasLoader
from fastprep.adapters.keras_call import training_data
from fastprep.loader import Loader as PlainLoader

if TYPE_CHECKING:  # one class for checkers, which can't know what Keras has
    from fastprep.adapters.data_adapter import Loader
else:
    try:
        from keras.src.trainers.data_adapters.data_adapter import DataAdapter
    except ImportError:  # a later Keras may have moved it
        DataAdapter = None

    if DataAdapter is not None:
        from fastprep.adapters.data_adapter import Loader
    else:
        from fastprep.adapters.py_dataset import Loader

__all__ = ["EpochSync", "Loader"]


class EpochSync(keras.callbacks.Callback):
    """Callback that tells a loader with which epoch `fit` begins, for `fit(initial_epoch=...)` and resumed runs.

    Without it a loader counts its own epochs, which is the same for a `fit` that begins at epoch 0. The number is set once for a
    `fit`, at its first epoch. From then on the loader counts, because with `steps_per_epoch` an epoch of Keras is not an epoch of
    the loader.

    A deep copy, such as KerasTuner makes for each trial, is for the same loader.

    Parameters
    ----------
    loader : Loader
        The loader that is given to `fit`.
    """

    def __init__(self, loader: PlainLoader) -> None:
        super().__init__()
        self.loader = loader
        self._told = False

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a copy that speaks to the same loader, unless that was copied in the same go."""
        duplicate = copy.copy(self)
        memo[id(self)] = duplicate
        others = {name: value for name, value in self.__dict__.items() if name != "loader"}
        duplicate.__dict__.update(copy.deepcopy(others, memo), loader=memo.get(id(self.loader), self.loader))
        return duplicate

    def on_train_begin(self, logs: Any = None) -> None:
        """Forget an earlier `fit`, and what Keras took to build the model.

        Raises
        ------
        ValueError
            If `fit` was given another loader, on which the callback would have no effect.
        """
        data = training_data()
        if isinstance(data, PlainLoader) and data is not self.loader:
            raise ValueError(f"EpochSync must have the loader that fit is given, {data!r}, got {self.loader!r}")
        self._told = False
        if isinstance(self.loader, KerasLoader):
            self.loader._next_iterator()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Set the loader's next epoch, unless it already stands inside that epoch."""
        if not self._told and self.loader.next_epoch != epoch:
            self.loader.set_epoch(epoch)
        self._told = True
