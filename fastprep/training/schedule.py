"""Learning rate over a run, and the order of epochs by merit."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fastprep.training.config import Config


def learning_rate(config: Config, time: float, val_losses: Sequence[float]) -> float:
    """Return the learning rate at a moment of a run. It depends on the arguments alone, so a resumed run has the same.

    Parameters
    ----------
    config : Config
    time : float
        Time in epochs, from 0; 1.5 is the middle of the second epoch.
    val_losses : sequence of float
        Validation losses of the finished epochs, for the schedule "plateau".

    Returns
    -------
    float
    """
    warmup = (1.0 if config.schedule == "cosine" else 0.0) if config.warmup is None else config.warmup
    if time < warmup:
        return config.lr * (0.1 + 0.9 * time / warmup)
    if config.schedule == "cosine":
        share = (time - warmup) / (config.epochs - warmup) if config.epochs > warmup else 0.0
        return config.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    if config.schedule == "step":
        return config.lr * config.factor ** int(time // config.step_every)
    if config.schedule == "plateau":
        return config.lr * config.factor ** _plateaus(val_losses, config.patience)
    return config.lr


def _plateaus(losses: Sequence[float], patience: int) -> int:
    """Count how often `patience` epochs in a row brought no better loss."""
    best, waited, count = math.inf, 0, 0
    for loss in losses:
        if loss < best:
            best, waited = loss, 0
        elif (waited := waited + 1) == patience:
            waited, count = 0, count + 1
    return count


def merit(config: Config, accuracy: float, loss: float, auc: float = 0.0) -> tuple[float, float]:
    """Return a key that is greater for a better model, from its results on the validation file."""
    if config.monitor == "loss":
        return (-loss, accuracy)
    return (auc if config.monitor == "auc" else accuracy, -loss)
