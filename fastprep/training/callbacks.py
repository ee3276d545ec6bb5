"""Everything between the steps of training: learning rate, saving, validation, history, progress, early stopping."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NoReturn

import keras

from fastprep.adapters.keras_base import to_backend
from fastprep.errors import InputError
from fastprep.loader import Loader
from fastprep.training import batchnorm
from fastprep.training.config import Config
from fastprep.training.distributed.ranks import Ranks
from fastprep.training.progress import RunProgress
from fastprep.training.saver import BrokenNetworkError, Saver, SaveSchedule
from fastprep.training.schedule import learning_rate
from fastprep.training.state import RunState
from fastprep.training.throughput import Stopwatch


class RunCallback(keras.callbacks.Callback):
    """Drives a run: sets the learning rate, saves, and records the results of epochs.

    Everything between two steps is done at the beginning of a step, without logs, because a callback that reads the logs of each
    step makes the host wait for the device.

    Parameters
    ----------
    config : Config
    train : Loader
    state : RunState
        Where to begin; kept up to date.
    saver : Saver
    schedule : SaveSchedule
    ranks : Ranks
    n_val_steps : int
        Batches of a validation.

    Attributes
    ----------
    state : RunState
    first_step : int
        Step that the epoch began with; not 0 in an epoch that was resumed.
    progress : RunProgress
    """

    def __init__(
        self,
        config: Config,
        train: Loader,
        state: RunState,
        saver: Saver,
        schedule: SaveSchedule,
        ranks: Ranks,
        n_val_steps: int,
    ) -> None:
        super().__init__()
        self.state, self.first_step = state, 0
        self.progress = RunProgress(state, config.epochs, len(train), config.quiet)
        self._config, self._train, self._saver, self._schedule, self._ranks = config, train, saver, schedule, ranks
        self._stopwatch, self._n_val_steps = Stopwatch(train), n_val_steps
        self._rate = -1.0

    def on_train_begin(self, logs: Any = None) -> None:
        """Save at once, before hours have gone into a network that can't be saved."""
        if self.state.epoch == self.state.step == 0:
            self._save()
        self._schedule.saved(self.state.step)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begin an epoch, or resume one in its middle."""
        self.first_step = self.state.step
        if self.first_step:
            self._saver.restore_metrics(self.model)  # Keras has just reset them
        self._iterations = int(getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer).iterations)
        self._schedule.begin_epoch(self.first_step)
        self.progress.begin_epoch()
        self._stopwatch.start()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Save if it is due, set the learning rate, and show the progress."""
        state, step, n_steps = self.state, self.first_step + batch, len(self._train)
        if step == n_steps:  # the end of a resumed epoch, which Keras finds when it asks for the batch
            if batch == 0:  # nothing of the epoch is left for these ranks
                self._rate = self._rate_at(n_steps - 1)
            return
        state.step = step
        save, leave = self._schedule.decide(step)
        if save:
            state.measure(self._stopwatch.read())
            self._save()
            self._stopwatch.start()
        if leave:
            self._leave()
        rate = self._rate_at(step)
        if rate != self._rate:
            self.model.optimizer.learning_rate = self._rate = rate
        if self.progress.due:  # the metrics make the host wait for the device
            self.progress.show_step(self.model, self._stopwatch.read())

    def on_test_begin(self, logs: Any = None) -> None:
        """Read the stopwatch, which excludes validation, and settle batch normalisation, so that all ranks validate one model."""
        self._measured = self._stopwatch.read()
        if self._config.batchnorm_steps:
            batchnorm.measure(self.model, self._batches(self._config.batchnorm_steps))
        self._ranks.average_moving(self.model)

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Show the progress of validation, which may take as long as training."""
        if self.progress.due:
            self.progress.show_validation(batch, self._n_val_steps)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Record the results of the epoch, and save."""
        # those of the loader differ from run to run, and are in loader.jsonl
        results = {name: value for name, value in (logs or {}).items() if not name.startswith("loader/")}
        logs = {**results, "learning_rate": self._rate}
        line = self.progress.describe_epoch(logs, self._measured)
        if problem := self._problem(logs):
            self.progress.keep_epoch(line, is_best=False)
            self._end_diverged(problem)
        is_best = self.state.end_epoch(self._config, logs, self._measured)
        self._save()
        self._saver.publish()
        self.progress.keep_epoch(line, is_best)
        if self._schedule.has_signal():
            self._leave()
        self.model.stop_training = self.state.finished(self._config)

    def _problem(self, logs: dict[str, float]) -> str:
        """Return what no step leads back from in the results of an epoch; nothing if all is well."""
        if math.isnan(logs["val_loss"]):
            return "the validation loss is not a number"
        if not math.isfinite(logs["loss"]) and not self._learned():
            return "the training loss is not a finite number"
        try:
            self._saver.check(self.model)
        except BrokenNetworkError as error:
            return str(error)
        return ""

    def _learned(self) -> bool:
        """Tell whether a step of this epoch has changed the weights; with a loss scale, steps that overflow are left out."""
        scaled = getattr(self.model.optimizer, "inner_optimizer", None)
        return scaled is not None and int(scaled.iterations) > self._iterations

    def _save(self) -> None:
        if self.progress.due:
            self.progress.show_saving()
        try:
            self._saver.save(self.model)
        except BrokenNetworkError as error:
            self._end_diverged(str(error))
        self._schedule.saved(self.state.step)

    def _batches(self, n_steps: int) -> Iterator[Any]:
        """Yield x of the first batches of the next epoch, which are whole even if this epoch was resumed in its middle."""
        train, epoch = self._train, self.state.epoch + 1
        n_steps = min(n_steps, len(train))
        for step in range(n_steps):
            if step and len(train.samples(epoch, step)) < train.batch_size:  # a partial batch would count as much as the others
                return
            if self.progress.due:
                self.progress.show_batchnorm(step, n_steps)
            (batch,) = train._source.prepare(epoch, step).parts
            yield to_backend(batch, train.dtype)

    def _rate_at(self, step: int) -> float:
        state = self.state
        return learning_rate(self._config, state.epoch + step / len(self._train), state.history.get("val_loss", []))

    def _leave(self) -> None:
        """End the run as a signal asks; everything is saved."""
        position = f"epoch {self.state.epoch + 1}, step {self.state.step + 1}"
        if self._ranks.first:
            self._saver.folder.write_report(self.state, [f"Interrupted, and saved before {position}."])
        resume = f"go on with `{self._saver.folder.resume}`"
        self._schedule.leave(f"{self._ranks.prefix}: interrupted, and saved before {position}; {resume}")

    def _end_diverged(self, problem: str) -> NoReturn:
        """End the run with what was saved before, because weights that are not numbers never become numbers again."""
        self._ranks.finish()  # all find the same, and none is to take another's end for a failure
        state = self.state
        kept = f"best.keras is of epoch {state.best_epoch}" if state.best_epoch else "there is no best.keras"
        anew = self._saver.folder.anew("--lr", "...")
        raise InputError(
            f"epoch {state.epoch + 1}: {problem}: the network has diverged, or images or sample weights have values that are "
            f"not numbers; {kept}. Begin anew with a lower learning rate, or with --warmup: `{anew}`"
        )
