"""Progress of a run, on a line of the terminal and in a line for each epoch."""

from __future__ import annotations

import time

import keras

from fastprep.cli.progress import StatusLine, clock_time
from fastprep.training.state import RunState
from fastprep.training.throughput import Meter

_METRICS = ("loss", "accuracy", "auc")  # the last with several labels an image


class RunProgress:
    """Shows how far a run is.

    Parameters
    ----------
    state : RunState
    n_epochs, n_steps : int
        Epochs of the run, and steps of an epoch.
    quiet : bool
        Whether there are only the lines for each epoch, on a terminal, too.
    """

    def __init__(self, state: RunState, n_epochs: int, n_steps: int, quiet: bool = False) -> None:
        self._state, self._n_epochs, self._n_steps = state, n_epochs, n_steps
        self._status_line = StatusLine(quiet)
        self._time_left = TimeLeft(n_epochs, n_steps)

    @property
    def due(self) -> bool:
        """Whether the line is shown, and old enough to be replaced."""
        return self._status_line.due

    def begin_epoch(self) -> None:
        """Begin to measure how long the epoch takes."""
        self._time_left.begin_epoch(self._state.step)

    def show_step(self, model: keras.Model, meter: Meter) -> None:
        """Show the step that begins, the time left, the metrics of the epoch so far and the speed."""
        step = self._state.step
        left = self._time_left.describe(self._state.epoch, step)
        more = [*self._metrics(model), str(meter)] if step else []
        self._status_line.show(self._epoch, f"step {step + 1}/{self._n_steps}", left, *more, share=step / self._n_steps)

    def show_batchnorm(self, step: int, n_steps: int) -> None:
        """Show how far the measurement of batch normalisation is."""
        self._status_line.show(self._epoch, f"measuring batch normalisation  step {step + 1}/{n_steps}")

    def show_validation(self, step: int, n_steps: int) -> None:
        """Show how far validation is."""
        self._status_line.show(self._epoch, f"validation  step {step + 1}/{n_steps}", share=step / n_steps)

    def show_saving(self) -> None:
        """Show that the run is being saved, which takes seconds for a large network."""
        self._status_line.show(self._epoch, "saving")

    def describe_epoch(self, logs: dict[str, float], meter: Meter) -> list[str]:
        """Return the parts of the line about the epoch that ends, the last of them its speed."""
        self._time_left.end_epoch()
        names = [name for name in _METRICS if name in logs]
        numbers = [f"{name} {logs[name]:.3g} (val {logs['val_' + name]:.3g})" for name in names]
        return [self._epoch, *numbers, str(meter)]

    def keep_epoch(self, parts: list[str], is_best: bool) -> None:
        """Print the line about an epoch, on a terminal as much of it as fits."""
        *first, speed = parts
        self._status_line.keep(*first, *(["best so far"] if is_best else []), speed)

    def leave(self) -> None:
        """Give the next output, which is not about progress, its own line."""
        self._status_line.leave()

    @property
    def _epoch(self) -> str:
        return f"epoch {self._state.epoch + 1}/{self._n_epochs}"

    def _metrics(self, model: keras.Model) -> list[str]:
        so_far = model.get_metrics_result()
        return [f"{name} {float(so_far[name]):.4g}" for name in _METRICS if name in so_far]


class TimeLeft:
    """Estimate of the time that an epoch and the run still take.

    An epoch is expected to go on as it went since its first step, in which backends compile; the run as its last whole epoch,
    validation and saving included, so there is no estimate for it before one is over. From then on there is one at every step,
    because an epoch may have too few steps for an estimate of its own.

    Parameters
    ----------
    n_epochs, n_steps : int
        Epochs of the run, and steps of an epoch.
    """

    def __init__(self, n_epochs: int, n_steps: int) -> None:
        self._n_epochs, self._n_steps = n_epochs, n_steps
        self._epoch_s: float | None = None
        self._is_whole = False

    def begin_epoch(self, step: int) -> None:
        """Begin an epoch with this step, from 0."""
        self._began, self._is_whole = time.monotonic(), step == 0
        self._first: tuple[int, float] | None = None
        self._first_step = step

    def end_epoch(self) -> None:
        """End an epoch, its validation included."""
        if self._is_whole:
            self._epoch_s = time.monotonic() - self._began

    def describe(self, epoch: int, step: int) -> str:
        """Return the times left before a step of an epoch, both from 0, in words; nothing before they are known."""
        left = self._left_of_epoch(step)
        if self._epoch_s is None:
            return left
        run = clock_time(self._epoch_s * (self._n_epochs - epoch - step / self._n_steps))
        return f"{left}, run {run}" if left else f"run {run} left"

    def _left_of_epoch(self, step: int) -> str:
        """Return the time left of an epoch before one of its steps; nothing before it is known."""
        if self._first is None:
            if step > self._first_step:
                self._first = step, time.monotonic()
            return ""
        first, began = self._first
        if step == first:
            return ""
        a_step = (time.monotonic() - began) / (step - first)
        return f"{clock_time(a_step * (self._n_steps - step))} left"
