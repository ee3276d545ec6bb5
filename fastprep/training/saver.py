"""Saving of a run: when it is due, on several ranks at the same step, and what is written."""

from __future__ import annotations

import time
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from fastprep.loader import Loader
from fastprep.system import Notice
from fastprep.training import checkpoint
from fastprep.training.distributed.ranks import Ranks
from fastprep.training.run_folder import RunFolder
from fastprep.training.state import RunState

_SAVE_EVERY_S = 600.0
_SLOWEST_STEP_S = 60.0  # the longest time of a step that the ranks exchange, and the first guess


class SaveSchedule:
    """Moments to save a run in the middle of an epoch, and to end it after a signal: the same steps on all ranks.

    Parameters
    ----------
    every : int or None
        Steps between two saves; None: ten minutes, by the clock of any rank.
    notice : Notice
        Signals to this process.
    ranks : Ranks
    """

    def __init__(self, every: int | None, notice: Notice, ranks: Ranks) -> None:
        self._every, self._notice, self._ranks = every, notice, ranks
        self.saved(0)
        self.begin_epoch(0)

    def begin_epoch(self, step: int) -> None:
        """Begin an epoch, at a step other than 0 if the run was resumed there."""
        self._exchange_step = self._next_exchange = step
        self._exchange_at = time.monotonic()

    def saved(self, step: int) -> None:
        """Record that the run was saved before this step of the epoch."""
        self._saved_step, self._saved_at = step, time.monotonic()

    def decide(self, step: int) -> tuple[bool, bool]:
        """Tell whether to save before this step of the epoch, and whether to end the run then."""
        is_late, has_signal = self._exchange(step)
        passed = step - self._saved_step
        is_due = is_late if self._every is None else passed >= self._every
        return passed > 0 and (is_due or has_signal), has_signal

    def has_signal(self) -> bool:
        """Tell whether any rank was asked to end by a signal."""
        return self._adopt_signal(int(self._ranks.reduce(np.array([self._notice.number or 0], np.int32), "Max")[0]))

    def leave(self, message: str) -> None:
        """End the run as the signal asks, where everything is saved."""
        self._ranks.finish()  # while the first one writes, the others have to stay
        self._notice.leave(message)

    def _exchange(self, step: int) -> tuple[bool, bool]:
        """Tell whether ten minutes are over by the clock of any rank, and whether any rank has a signal.

        A process on its own looks at every step, several ranks about once a second.
        """
        if step < self._next_exchange:
            return False, False
        now, passed = time.monotonic(), step - self._exchange_step
        step_s = min(_SLOWEST_STEP_S, (now - self._exchange_at) / passed) if passed else _SLOWEST_STEP_S
        values = [now - self._saved_at >= _SAVE_EVERY_S, self._notice.number or 0, int(1000 * step_s)]
        is_late, number, step_ms = (int(value) for value in self._ranks.reduce(np.array(values, np.int32), "Max"))
        self._exchange_step, self._exchange_at = step, now
        self._next_exchange = step + min(self._ranks.steps_between_exchanges, max(1, 1000 // max(1, step_ms)))
        return bool(is_late), self._adopt_signal(number)

    def _adopt_signal(self, number: int) -> bool:
        """Treat a signal to any rank as one to this process."""
        if self._notice.number is None and number:
            self._notice.number = number
        return number > 0


class BrokenNetworkError(Exception):
    """A network with weights that are not finite, which no step leads back from."""


class Saver:
    """Writes last.keras and the files that follow from it.

    Parameters
    ----------
    folder : RunFolder
    state : RunState
    train : Loader
    facts : dict
        Facts about the model that an evaluation needs, in values that JSON can hold.
    arrays : dict of str to ndarray
        Arrays of the save that the run was resumed from: the mean, the samples for validation if they are of the training file,
        and in the middle of an epoch the metrics so far. For a new run only what it has of the first two.
    ranks : Ranks
        All of them have to call the same methods; the first one writes.
    """

    def __init__(
        self,
        folder: RunFolder,
        state: RunState,
        train: Loader,
        facts: dict[str, Any],
        arrays: dict[str, NDArray],
        ranks: Ranks,
    ) -> None:
        self.folder = folder
        self._state, self._train, self._facts, self._arrays, self._ranks = state, train, facts, arrays, ranks

    def restore_metrics(self, model: keras.Model) -> None:
        """Let the metrics of a resumed epoch continue from the totals of all ranks, which the first one holds."""
        if self._ranks.first:
            checkpoint.restore_metrics(model, self._arrays)

    def check(self, model: keras.Model) -> None:
        """Check that all numbers of the model and of its optimizer are finite.

        Raises
        ------
        BrokenNetworkError
            If they are not, on all ranks alike.
        """
        broken = checkpoint.not_finite(model)
        if int(self._ranks.reduce(np.array([len(broken)], np.int32), "Max")[0]):
            names = f" ({', '.join(broken[:3])}{', ...' if len(broken) > 3 else ''})" if broken else ""
            raise BrokenNetworkError(f"weights of the network are not finite{names}, and are not saved")

    def save(self, model: keras.Model) -> None:
        """Write last.keras: the model, and everything that resuming needs.

        Raises
        ------
        BrokenNetworkError
            If `check` does. The last save stays.
        """
        state, in_epoch = self._state, self._state.step > 0
        self._ranks.settle(model, metrics=in_epoch)
        self.check(model)
        if not self._ranks.first:
            return
        position = {**self._train.state_dict(), "epoch": state.epoch, "seen": self._train.seen(state.epoch, state.step)}
        values = {"course": state.to_dict(), "loader": position, "about": self._facts, "throughput": state.throughput}
        arrays = {name: values for name, values in self._arrays.items() if name in ("mean", "val_indices")}
        checkpoint.save(self.folder.last, model, values, arrays, metrics=in_epoch)

    def publish(self) -> None:
        """Write the other files of the run folder at the end of an epoch."""
        if self._ranks.first:
            self.folder.publish(self._state)
