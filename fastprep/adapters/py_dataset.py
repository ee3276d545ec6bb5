"""Loader as a `keras.utils.PyDataset`, for a Keras without the class on which `data_adapter` builds.

Keras copies every batch, shuffles the steps unless `fit` is given shuffle=False, and begins every epoch at step 0.
"""

from __future__ import annotations

from typing import Any

import keras

from fastprep.adapters.keras_base import KerasLoader
from fastprep.adapters.keras_call import begins_anew
from fastprep.errors import DeviceUnavailableError
from fastprep.loader import Loader as PlainLoader
from fastprep.pipeline import Companions


class Loader(KerasLoader, keras.utils.PyDataset):  # noqa: D101 - the docstring is the plain loader's
    __doc__ = PlainLoader.__doc__

    def __init__(self, *arguments: Any, **options: Any) -> None:
        keras.utils.PyDataset.__init__(self)
        PlainLoader.__init__(self, *arguments, **options)
        self._begun = False

    @property
    def workers(self) -> int:
        """Number of threads of Keras that ask for batches; the number of threads that prepare them is in `stats`."""
        return 1

    def __getitem__(self, step: int) -> Any:
        """Return batch `step` of the epoch under way."""
        self._check_on_host()
        if self._gives_replacements:  # to `predict`, which needs no labels
            return self._source.make_images(self.next_epoch, step).hand_out()
        return self.batch(self.next_epoch, step)

    def on_epoch_begin(self) -> None:
        """Record that an epoch is under way."""
        self._begun = True

    def on_epoch_end(self) -> None:
        """Go on to the next epoch; Keras also calls this where no epoch was begun, and after a peek at its first batch."""
        if self._begun and not begins_anew():
            self.set_epoch(self.next_epoch + 1)
        self._begun = False

    def _choose_companions(self, *arrays: Any) -> Companions:
        return Companions()

    @staticmethod
    def _consumer() -> int:
        raise DeviceUnavailableError(f"this Keras ({keras.__version__}) takes batches from the host only")
