"""Epoch iterators for Keras, which starts them, takes a peek or looks ahead, drops them and forgets them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from fastprep.errors import DataError
from fastprep.pipeline import Batch, BatchSource, EpochIterator, ImageIterator, SharedBatch


class KerasEpochIterator(EpochIterator):
    """Epoch iterator that Keras may drop at any batch, and to which it may not come back.

    Parameters
    ----------
    source : BatchSource

    Attributes
    ----------
    n_expected : int
        Number of batches that Keras knows the epoch to have: a whole one, unless Keras was told otherwise.
    """

    def __init__(self, source: BatchSource) -> None:
        super().__init__(source)
        self.n_expected = len(source)
        self._is_cut = False

    def close(self) -> None:
        """Stop here, see `EpochIterator.close`; unless no batch was left, asking for another one is now an error."""
        self._is_cut = self._is_cut or (self.started and self._step < len(self._source))
        super().close()

    def __next__(self) -> Batch | SharedBatch:
        if self._is_cut:  # Keras would take StopIteration for the end of the epoch
            raise RuntimeError(
                "the loader was closed, or began another iteration, before this one was over; use two loaders where one would be "
                "used for two things at the same time"
            )
        return super().__next__()

    def __iter__(self) -> Self:
        return self


class TrainingIterator(KerasEpochIterator):
    """Iterator over the loader's next epoch, of which Keras may only have taken a peek.

    To build a model, Keras takes a batch and then begins anew: with JAX and torch if the model is not built, and under a
    strategy always.

    Parameters
    ----------
    source : BatchSource
    peek_size : int
        Number of batches that a peek takes; 0 if Keras does not peek.
    n_ahead : int
        Number of batches, 0 or 1, that Keras holds back: it takes a batch before it trains on the one before. The position is
        that of the batches that the model got.
    """

    def __init__(self, source: BatchSource, peek_size: int, n_ahead: int = 0) -> None:
        super().__init__(source)
        self._position, self._peek_size, self._n_ahead = source.position, peek_size, n_ahead
        self._before = self._after = self._position.snapshot()
        self._n_taken = self._n_ends = 0
        self._held_back: tuple[int, int] | None = None  # epoch and step of the batch that Keras has, but not yet the model

    def __next__(self) -> Batch | SharedBatch:
        if not self.started:
            self._before = self._position.snapshot()
        try:
            batch = super().__next__()
        finally:
            self._after = self._position.snapshot()
        self._n_taken, self._n_ends = self._n_taken + 1, 0
        return batch

    def _record(self, epoch: int, step: int) -> None:
        self._hand_on()
        self._held_back = epoch, step
        if not self._n_ahead:
            self._hand_on()

    def _end(self, epoch: int) -> None:
        self._hand_on()  # as Keras does now with what it holds back
        super()._end(epoch)

    def _hand_on(self) -> None:
        if self._held_back is not None:
            self._position.advance(*self._held_back)
        self._held_back = None

    def close(self) -> None:
        """See `KerasEpochIterator.close`; what Keras holds back is never trained on."""
        self._held_back = None
        super().close()

    def end_epoch(self) -> None:
        """Record that Keras reports the end of an epoch: once after a peek, else not before the next `fit` or at every epoch."""
        self._n_ends += 1

    def retire(self) -> None:
        """Close this iterator because Keras asked for another one; if it was only a peek, move the position back."""
        self.close()
        if 0 < self._n_taken <= self._peek_size and self._n_ends == 1 and self._position.snapshot() == self._after:
            self._position.restore(self._before)


class EvaluationIterator(KerasEpochIterator):
    """Iterator over the whole of the loader's next epoch, which leaves the position of the loader where it is."""

    def _begin(self) -> tuple[int, int]:
        return self._source.whole_epoch(), 0

    def _record(self, epoch: int, step: int) -> None:
        pass

    def _end(self, epoch: int) -> None:
        pass


class IntactIterator(EvaluationIterator):
    """Iterator for an evaluation that leaves damaged samples out, where `on_corrupt="skip"` would put others in their place.

    A step without an intact sample is left out as well. Keras is told so before it asks for the step.

    Parameters
    ----------
    source : BatchSource
    shorten : callable
        Called with the number of batches that there are, when the last one is handed out and others were left out.
    """

    def __init__(self, source: BatchSource, shorten: Callable[[int], None]) -> None:
        super().__init__(source)
        self._shorten, self._n_given = shorten, 0
        self._following: Batch | SharedBatch | None = None

    @property
    def _prepare(self) -> Callable[[int, int], Batch | SharedBatch]:
        return self._source.prepare_intact

    @property
    def _prepare_group(self) -> None:
        return None

    def close(self) -> None:
        """See `KerasEpochIterator.close`."""
        self._is_cut = self._is_cut or self._following is not None
        self._following = None
        super().close()

    def __next__(self) -> Batch | SharedBatch:
        batch = self._following if self._n_given and not self._is_cut else self._next_intact()
        if batch is None:
            raise StopIteration
        self._n_given, self._following = self._n_given + 1, self._next_intact()
        if self._following is None and self._n_given < len(self._source):
            self.n_expected = self._n_given
            self._shorten(self._n_given)
        return batch

    def _next_intact(self) -> Batch | SharedBatch | None:
        """Return the next batch that has a row; None at the end."""
        while True:
            try:
                batch = super().__next__()
            except StopIteration:
                return None
            if batch.n_rows:
                return batch


class PredictionIterator(EvaluationIterator, ImageIterator):
    """Iterator for a prediction, whose rows are told apart by their places: none may be that of another image.

    Parameters
    ----------
    source : BatchSource
    gives_replacements : bool
        Whether rows of other images may be in the place of damaged ones, because they are erased afterwards.
    """

    def __init__(self, source: BatchSource, gives_replacements: bool) -> None:
        super().__init__(source)
        self._gives_replacements = gives_replacements

    def __next__(self) -> Batch | SharedBatch:
        batch = super().__next__()
        if not self._gives_replacements and any(part.replaced is not None for part in batch.parts):
            samples = self._source.samples(self._epoch, self._step - 1)
            sample = int(samples[self._source.replaced(samples, has_labels=False)][0])
            self.close()
            raise DataError(
                f"sample {sample} can't be read, and by on_corrupt='skip' its row of predict would be that of another image; use "
                "fastprep.predict(model, loader), which gives rows of NaN for such samples",
                self._source.dataset.path_of(sample),
                self._source.dataset.images,
            )
        return batch
