"""State of a run: how far it has come, and its results so far."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from fastprep.training.config import Config
from fastprep.training.schedule import merit
from fastprep.training.throughput import Meter


@dataclass
class RunState:
    """How far a run has come, and its results so far.

    Attributes
    ----------
    epoch, step : int
        The next step to train, both from 0.
    history : dict of str to list of float
        Logs of the finished epochs.
    best_epoch : int
        Epoch of the best model, from 1; 0 if there is none yet.
    best_accuracy, best_loss : float
        Its results on the validation file.
    meter : Meter
        Measurements of the finished epochs.
    """

    epoch: int = 0
    step: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)
    best_epoch: int = 0
    best_accuracy: float = -1.0
    best_loss: float = float("inf")
    meter: Meter = field(default_factory=Meter)

    def to_dict(self) -> dict[str, Any]:
        """Return the state in values that JSON can hold, under the names that saved runs have always had."""
        values = asdict(self)
        values["meter"]["pictures"] = values["meter"].pop("images")
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunState:
        """Return the state that `to_dict` stored.

        Raises
        ------
        KeyError, TypeError, AttributeError
            If it is another thing: a file may hold anything.
        """
        meter = {{"pictures": "images"}.get(name, name): value for name, value in values["meter"].items()}
        state = cls(**{**values, "meter": Meter(**meter)})
        for name in ("epoch", "step", "best_epoch"):
            if type(values[name]) is not int or values[name] < 0:
                raise TypeError(f"{name} must be a whole number of at least 0, found {values[name]!r}")
        columns = [*state.history.values(), [state.best_accuracy, state.best_loss], list(meter.values())]
        if not all(isinstance(value, int | float) for column in columns for value in column):
            raise TypeError("results and measurements must be numbers")
        if any(len(column) != state.epoch for column in state.history.values()):
            raise TypeError(f"history must have a row for each of {state.epoch} epochs")
        return state

    def end_epoch(self, config: Config, logs: dict[str, float], meter: Meter) -> bool:
        """Add the results of an epoch; return whether its model is the best so far.

        Parameters
        ----------
        config : Config
        logs : dict of str to float
            Results on both files, and the learning rate.
        meter : Meter
            Measurements since the last save.
        """
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))
        accuracy, loss, auc = float(logs["val_accuracy"]), float(logs["val_loss"]), float(logs.get("val_auc", 0))
        self.epoch, self.step = self.epoch + 1, 0
        self.meter.add(meter)
        best = merit(config, self.best_accuracy, self.best_loss, -1.0 if self.best_auc is None else self.best_auc)
        is_best = merit(config, accuracy, loss, auc) > best
        if is_best:
            self.best_epoch, self.best_accuracy, self.best_loss = self.epoch, accuracy, loss
        return is_best

    @property
    def best_auc(self) -> float | None:
        """Area under the ROC curve of the best model, with several labels an image; None before there is one, and otherwise."""
        values = self.history.get("val_auc", [])
        return values[self.best_epoch - 1] if 0 < self.best_epoch <= len(values) else None

    def finished(self, config: Config) -> bool:
        """Tell whether there is nothing left to train."""
        waited = self.epoch - self.best_epoch
        return self.epoch >= config.epochs or (config.early_stop is not None and self.step == 0 and waited >= config.early_stop)
