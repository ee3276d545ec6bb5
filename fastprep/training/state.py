"""How far a run is, and its results so far."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from fastprep.training.config import Config
from fastprep.training.throughput import Meter


@dataclass
class RunState:
    """How far a run is, and what came out so far.

    Attributes
    ----------
    epoch, step : int
        The next step to train, both from 0.
    history : dict of str to list of float
        Of the epochs that are over.
    best_epoch : int
        From 1; 0 if there is none yet.
    best_accuracy, best_loss : float
        Of validation.
    meter : Meter
        Of the epochs that are over.
    """

    epoch: int = 0
    step: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)
    best_epoch: int = 0
    best_accuracy: float = -1.0
    best_loss: float = float("inf")
    meter: Meter = field(default_factory=Meter)

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON can hold it, in the words that saved runs have always had."""
        values = asdict(self)
        values["meter"]["pictures"] = values["meter"].pop("images")
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunState:
        """Return the state that `to_dict` wrote."""
        meter = {{"pictures": "images"}.get(name, name): value for name, value in values["meter"].items()}
        return cls(**{**values, "meter": Meter(**meter)})

    def finished(self, config: Config) -> bool:
        """Tell whether there is nothing left to train."""
        waited = self.epoch - self.best_epoch
        return self.epoch >= config.epochs or (config.early_stop is not None and self.step == 0 and waited >= config.early_stop)
