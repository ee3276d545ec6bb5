"""Progress of a run, on a line of the terminal and in a line for each epoch."""

from __future__ import annotations

import keras

from fastprep.cli.progress import StatusLine
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
    """

    def __init__(self, state: RunState, n_epochs: int, n_steps: int) -> None:
        self._state, self._n_epochs, self._n_steps = state, n_epochs, n_steps
        self._status_line = StatusLine()

    @property
    def due(self) -> bool:
        """Whether the line is shown, and old enough to be replaced."""
        return self._status_line.due

    def show_step(self, model: keras.Model, meter: Meter) -> None:
        """Show the step that begins, the metrics of the epoch so far and the speed."""
        step = f"step {self._state.step + 1}/{self._n_steps}"
        self._status_line.show(f"{self._epoch}  {step}  {self._metrics(model)}  {meter}")

    def show_batchnorm(self, step: int, n_steps: int) -> None:
        """Show how far the measurement of batch normalisation is."""
        self._status_line.show(f"{self._epoch}  measuring batch normalisation  step {step + 1}/{n_steps}")

    def describe_epoch(self, logs: dict[str, float], meter: Meter) -> str:
        """Return the line about the epoch that ends."""
        names = [prefix + name for prefix in ("", "val_") for name in _METRICS]
        numbers = "  ".join(f"{name} {logs[name]:.4g}" for name in names if name in logs)
        return f"{self._epoch}  {numbers}  {meter}"

    def keep(self, text: str) -> None:
        """Print a line that stays."""
        self._status_line.keep(text)

    def leave(self) -> None:
        """Give the next output, which is not about progress, its own line."""
        self._status_line.leave()

    @property
    def _epoch(self) -> str:
        return f"epoch {self._state.epoch + 1}/{self._n_epochs}"

    def _metrics(self, model: keras.Model) -> str:
        if self._state.step == 0:
            return ""
        so_far = model.get_metrics_result()
        return "  ".join(f"{name} {float(so_far[name]):.4g}" for name in _METRICS if name in so_far)
