"""History and speed of a run as charts and tables, for its own report and for those of its evaluations."""

from __future__ import annotations

from collections.abc import Sequence

from fastprep.reports.charts import Line, chart_of_epochs
from fastprep.reports.markup import Html, element, folded, joined, table
from fastprep.training.state import RunState
from fastprep.training.throughput import Meter

METRICS = {"loss": "Loss", "accuracy": "Accuracy", "auc": "Area under the ROC curve"}
_MOST_ROWS = 200  # of the table; a run may have any number of epochs


def learning_curves(state: RunState) -> Html:
    """Return charts of the metrics and of the learning rate; nothing before the first epoch is over."""
    history, charts = state.history, []
    for name, title in METRICS.items():
        pair = (("training", name, "a"), ("validation", f"val_{name}", "b"))
        lines = [Line(label, history[key], look) for label, key, look in pair if key in history]  # type: ignore[arg-type]
        if lines:
            of = {"may_be_log": True} if name == "loss" else {"is_percent": name == "accuracy"}
            charts.append(chart_of_epochs(title, lines, best=state.best_epoch, **of))
    if "learning_rate" in history:
        rate = Line("at the end of the epoch", history["learning_rate"])
        charts.append(chart_of_epochs("Learning rate", [rate], from_zero=True))
    return element("div", *charts, class_="charts") if any(charts) else Html()


def speed_curves(state: RunState, world: int = 1) -> Html:
    """Return charts of the speed, and of the share of time that went into waiting for images; nothing if it is not known.

    Parameters
    ----------
    state : RunState
    world : int
        Number of processes that trained together; each measures itself, and the state is that of the first.
    """
    meters = meters_by_epoch(state)
    rates = [meter.rate if meter else None for meter in meters]
    shares = [meter.share if meter else None for meter in meters]
    charts = [
        chart_of_epochs("Images a second", [Line("training steps", rates)], from_zero=True),
        chart_of_epochs("Waiting for images", [Line("share of time", shares)], is_percent=True, from_zero=True),
    ]
    if not any(charts):
        return Html()
    of = f", of the first of {world} processes" if world > 1 else ""
    note = f"Of the training steps alone, without validation and saving{of}; what Keras builds in the first steps is included."
    return joined((element("p", note, class_="note"), element("div", *charts, class_="charts")))


def meters_by_epoch(state: RunState) -> list[Meter | None]:
    """Return the measurements of each finished epoch; None where there are none."""
    missing: list[Meter | None] = [None] * (state.epoch - len(state.meters))
    return [*missing, *(meter if meter.seconds > 0 else None for meter in state.meters)]


def table_of_epochs(state: RunState) -> Html:
    """Return the numbers of the epochs, the last ones if there are many, on a click."""
    names = [name for key in METRICS for name in (key, f"val_{key}") if name in state.history]
    names += ["learning_rate"] * ("learning_rate" in state.history)
    first = max(0, state.epoch - _MOST_ROWS)
    meters = meters_by_epoch(state)
    rows = (
        [_marked(k + 1, state), *(number_of(name, state.history[name][k]) for name in names), *_speed(meters[k])]
        for k in range(first, state.epoch)
    )
    header = ["epoch", *(name.replace("_", " ") for name in names), "images/s", "waiting"]
    note = element("p", f"The last {_MOST_ROWS} epochs; history.csv has all.", class_="note") if first else Html()
    return folded("Numbers of the epochs", joined((note, table(header, rows, "Numbers of the epochs", left=0))))


def number_of(name: str, value: float) -> str:
    """Return a result as it is written in a table."""
    return f"{value:.2%}" if name.endswith("accuracy") else f"{value:.4g}"


def _marked(epoch: int, state: RunState) -> object:
    return element("b", f"{epoch} (best)") if epoch == state.best_epoch else epoch


def _speed(meter: Meter | None) -> Sequence[str]:
    return ("", "") if meter is None else (f"{meter.rate:,.0f}", f"{meter.share:.1%}")
