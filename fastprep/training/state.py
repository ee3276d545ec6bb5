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
        Measurements of the run, up to the last save.
    epoch_meter : Meter
        Those of the epoch that is going on, up to the last save.
    meters : list of Meter
        Those of finished epochs, each for itself: of the last ones, because runs that older versions saved have none.
    """

    epoch: int = 0
    step: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)
    best_epoch: int = 0
    best_accuracy: float = -1.0
    best_loss: float = float("inf")
    meter: Meter = field(default_factory=Meter)
    epoch_meter: Meter = field(default_factory=Meter)
    meters: list[Meter] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the state in values that JSON can hold, under the names that saved runs have always had."""
        values = asdict(self)
        values["meter"]["pictures"] = values["meter"].pop("images")
        del values["epoch_meter"], values["meters"]  # older versions read these values and take no others
        return values

    @property
    def throughput(self) -> dict[str, Any]:
        """Measurements of each epoch, in values that JSON can hold."""
        return {"epochs": [asdict(meter) for meter in self.meters], "epoch": asdict(self.epoch_meter)}

    @classmethod
    def from_dict(cls, values: dict[str, Any], throughput: dict[str, Any] | None = None) -> RunState:
        """Return the state that `to_dict` stored, with the measurements of `throughput`, which older runs have not.

        Raises
        ------
        KeyError, TypeError, AttributeError
            If it is another thing: a file may hold anything.
        """
        meter = {{"pictures": "images"}.get(name, name): value for name, value in values["meter"].items()}
        measured = {"epochs": [], "epoch": {}, **(throughput or {})}
        meters, current = [{**each} for each in measured["epochs"]], {**measured["epoch"]}
        known = {"meter": Meter(**meter), "epoch_meter": Meter(**current), "meters": [Meter(**each) for each in meters]}
        state = cls(**{**values, **known})
        for name in ("epoch", "step", "best_epoch"):
            if type(values[name]) is not int or values[name] < 0:
                raise TypeError(f"{name} must be a whole number of at least 0, found {values[name]!r}")
        columns = [*state.history.values(), [state.best_accuracy, state.best_loss]]
        columns += [list(each.values()) for each in (meter, current, *meters)]
        if not all(_is_number(value) for column in columns for value in column):
            raise TypeError("results and measurements must be numbers")
        if any(len(column) != state.epoch for column in state.history.values()):
            raise TypeError(f"history must have a row for each of {state.epoch} epochs")
        if state.best_epoch > state.epoch:
            raise TypeError(f"best_epoch must be one of {state.epoch} epochs, found {state.best_epoch}")
        if len(state.meters) > state.epoch:
            raise TypeError(f"there must be at most {state.epoch} measurements of epochs, found {len(state.meters)}")
        return state

    def measure(self, meter: Meter) -> None:
        """Add measurements of the epoch that is going on."""
        self.meter.add(meter)
        self.epoch_meter.add(meter)

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
        self.measure(meter)
        self.meters.append(self.epoch_meter)
        self.epoch_meter = Meter()
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


def _is_number(value: object) -> bool:
    """Tell whether a value is a number that float64 has."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63)
