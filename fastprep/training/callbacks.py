"""What happens around the steps of training: learning rate, saving, history, curves, progress, stopping early."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import keras
import numpy as np
from numpy.typing import NDArray

from fastprep.adapters.tensorflow import to_tensor
from fastprep.cli.progress import StatusLine
from fastprep.errors import InputError
from fastprep.loader import Loader
from fastprep.system import Notice
from fastprep.training import batchnorm, checkpoint
from fastprep.training.config import Config
from fastprep.training.distributed import sync
from fastprep.training.distributed.collectives import ALONE, Ranks
from fastprep.training.run_folder import publish
from fastprep.training.schedule import learning_rate, merit
from fastprep.training.state import RunState
from fastprep.training.throughput import Stopwatch

_SAVE_EVERY_S = 600.0
_ASK_WITHIN = 64  # steps, at most: how often several ranks find out whether it is time to save


class RunCallback(keras.callbacks.Callback):
    """Drives and keeps a run.

    All that is done between steps is done at the beginning of one, without logs: a callback that looks at the logs of each
    step makes the host wait for the device there.

    Parameters
    ----------
    config : Config
    train : Loader
    course : RunState
        Where to begin.
    folder : Path
        Of the run.
    about : dict
        What an evaluation has to know, for JSON.
    arrays : dict of str to ndarray
        Further such, and, in the middle of an epoch, the metrics so far.
    notice : Notice
        Of a signal that lets the run be saved before it ends.
    ranks : Ranks
        All of them drive; the first one keeps.

    Attributes
    ----------
    line : StatusLine
        Where progress is shown.
    """

    def __init__(
        self,
        config: Config,
        train: Loader,
        course: RunState,
        folder: Path,
        about: dict[str, Any],
        arrays: dict[str, NDArray],
        notice: Notice,
        ranks: Ranks = ALONE,
    ) -> None:
        super().__init__()
        self._notice = notice
        self._config, self._train, self._course, self._folder, self._about = config, train, course, folder, about
        self._arrays, self._ranks = arrays, ranks
        self.line, self._watch = StatusLine(), Stopwatch(train)
        self._rate = -1.0

    def on_train_begin(self, logs: Any = None) -> None:
        """Save at once, before hours have gone into a network that can't be saved."""
        course = self._course
        if course.epoch == course.step == 0:
            self._save()
        self._saved, self._saved_at = course.step, time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begin an epoch, or go on in its middle."""
        self._first = self._course.step
        if self._first and self._ranks.first:  # they hold what all ranks had added up
            checkpoint.restore_metrics(self.model, self._arrays)  # Keras has just reset them
        self._ask_at, self._asked_step, self._asked_at = self._first + 1, self._first, time.monotonic()
        self._watch.start()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Set the learning rate; save and show if it is time to."""
        course = self._course
        if self._first + batch == len(self._train):  # the end of a resumed epoch: Keras finds out when it asks for the batch
            if batch == 0:  # there is nothing left of it for these ranks
                self._rate = self._rate_at(len(self._train) - 1)
            return
        course.step = self._first + batch
        save, leave = self._agree(course.step - self._saved)
        if save:
            course.meter.add(self._watch.read())
            self._save()
            self._saved, self._saved_at = course.step, time.monotonic()
            self._watch.start()
        if leave:
            self._leave()
        rate = self._rate_at(course.step)
        if rate != self._rate:
            self.model.optimizer.learning_rate = self._rate = rate
        if self.line.due:
            self.line.show(f"{self._where()}  step {course.step + 1}/{len(self._train)}  {self._so_far()}  {self._watch.read()}")

    def on_test_begin(self, logs: Any = None) -> None:
        """Stop the watch: validation is not training. Let all ranks validate the same model, its batch normalisation settled."""
        self._measured = self._watch.read()
        if self._config.batchnorm_steps:
            batchnorm.measure(self.model, self._batches(self._config.batchnorm_steps))
        if self._ranks.world > 1:
            sync.average_moving(self.model, self._ranks)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Note what came out, and save."""
        course, logs = self._course, {**(logs or {}), "learning_rate": self._rate}
        for name, value in logs.items():
            course.history.setdefault(name, []).append(float(value))
        numbers = "  ".join(f"{name} {logs[name]:.4g}" for name in ("loss", "accuracy", "val_loss", "val_accuracy"))
        line = f"{self._where()}  {numbers}  {self._measured}"
        accuracy, loss = float(logs["val_accuracy"]), float(logs["val_loss"])
        if math.isnan(loss):
            self.line.keep(line)
            self._end_diverged()
        better = merit(self._config, accuracy, loss) > merit(self._config, course.best_accuracy, course.best_loss)
        if better:
            course.best_epoch, course.best_accuracy, course.best_loss = epoch + 1, accuracy, loss
        course.epoch, course.step = epoch + 1, 0
        course.meter.add(self._measured)
        self._save()
        if self._ranks.first:
            publish(course, self._folder)
        self._saved, self._saved_at = 0, time.monotonic()
        self.line.keep(f"{line}, best so far" if better else line)
        number = self._notice.number or 0
        if self._ranks.world > 1:
            number = self._noted(int(self._ranks.reduce(np.array([number], np.int32), "Max")[0]))
        if number:
            self._leave()
        self.model.stop_training = course.finished(self._config)

    def _batches(self, n: int) -> Iterator[Any]:
        """Yield x of the first batches of the next epoch, whole even if this one was resumed in its middle."""
        train, epoch = self._train, self._course.epoch + 1
        n = min(n, len(train))
        for step in range(n):
            if step and len(train.samples(epoch, step)) < train.batch_size:  # the partial one would count as much as the others
                return
            if self.line.due:
                self.line.show(f"{self._where()}  measuring batch normalisation  step {step + 1}/{n}")
            (batch,) = train._source.prepare(epoch, step).parts
            yield to_tensor(batch, train.dtype)

    def _rate_at(self, step: int) -> float:
        course = self._course
        return learning_rate(self._config, course.epoch + step / len(self._train), course.history.get("val_loss", []))

    def _agree(self, passed: int) -> tuple[bool, bool]:
        """Tell whether to save so many steps after the last save, and whether to end then; on all ranks the same."""
        every, late = self._config.save_every, time.monotonic() - self._saved_at >= _SAVE_EVERY_S
        number = self._notice.number or 0
        if self._ranks.world > 1:
            late, number = self._ask(late, number)
        due = late if every is None else passed >= every
        return passed > 0 and (due or number > 0), number > 0

    def _ask(self, late: bool, number: int) -> tuple[bool, int]:
        """Find out, about once a second, whether it is late by any rank's clock, and which signal any of them has got."""
        step, now = self._course.step, time.monotonic()
        if step < self._ask_at:
            return False, 0
        step_ms = int(1000 * min(60.0, (now - self._asked_at) / max(1, step - self._asked_step)))
        found = self._ranks.reduce(np.array([late, number, step_ms], np.int32), "Max")
        self._asked_step, self._asked_at = step, now
        self._ask_at = step + min(_ASK_WITHIN, max(1, 1000 // max(1, int(found[2]))))  # the same on all ranks
        return bool(found[0]), self._noted(int(found[1]))

    def _noted(self, number: int) -> int:
        """Take a signal to another rank for one to this one."""
        if self._notice.number is None and number:
            self._notice.number = number
        return number

    def _leave(self) -> None:
        """End here, where all is saved."""
        self._ranks.finish()  # while the first one writes, the others have to stay
        course, ranks = self._course, self._ranks
        who = "fastprep.train" if ranks.world == 1 else f"fastprep.train: rank {ranks.rank}"
        place = f"epoch {course.epoch + 1}, step {course.step + 1}"
        self._notice.leave(f"{who}: interrupted, and saved before {place}; go on with --resume {self._folder}")

    def _end_diverged(self) -> NoReturn:
        """End with what was saved before: no step leads from weights that are not numbers to some that are."""
        self._ranks.finish()  # all have the same loss, and none is to take another's end for a failure
        course, config = self._course, self._folder / "config.json"
        kept = f"best.keras is of epoch {course.best_epoch}" if course.best_epoch else "there is no best.keras"
        raise InputError(
            f"epoch {course.epoch + 1}: the validation loss is not a number: the network has diverged, or images have values "
            f"that are not numbers; {kept}. Begin anew with a lower learning rate, or with --warmup: --config {config} --lr ..."
        )

    def _save(self) -> None:
        """Write last.keras, which is the model and all that it takes to go on."""
        course = self._course
        if self._ranks.world > 1:
            sync.settle(self.model, self._ranks, metrics=course.step > 0)
        if not self._ranks.first:
            return
        seen = self._train.seen(course.epoch, course.step)
        place = {**self._train.state_dict(), "epoch": course.epoch, "seen": seen}
        state = {"course": course.to_dict(), "loader": place, "about": self._about}
        arrays = {name: values for name, values in self._arrays.items() if name == "mean"}
        checkpoint.save(self._folder / "last.keras", self.model, state, arrays, metrics=course.step > 0)

    def _where(self) -> str:
        return f"epoch {self._course.epoch + 1}/{self._config.epochs}"

    def _so_far(self) -> str:
        if self._course.step == 0:
            return ""
        so_far = self.model.get_metrics_result()
        return "  ".join(f"{name} {float(so_far[name]):.4g}" for name in ("loss", "accuracy"))
