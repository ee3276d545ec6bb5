"""The table of scores, on a terminal and in a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastprep.cli.columns import n_columns, padded

if TYPE_CHECKING:
    from fastprep.evaluation.report import Evaluated

_INTERVAL = ("95% interval", "{0[0]:.2%}-{0[1]:.2%}")
_COLUMNS = {"top_1": ("top-1", "{:.2%}"), "top_1_interval": _INTERVAL, "top_5": ("top-5", "{:.2%}")}
_COLUMNS |= {"accuracy": ("accuracy", "{:.2%}"), "exact": ("exact", "{:.2%}"), "exact_interval": _INTERVAL}  # several labels
_COLUMNS |= {"auc": ("AUC", "{:.4f}"), "average_precision": ("AP", "{:.4f}"), "loss": ("loss", "{:.4f}")}


def table(evaluated: Evaluated) -> list[str]:
    """Return the table of the scores, which are all on the same images."""
    n = len(next(iter(evaluated.probabilities.values())))
    if not evaluated.scores:
        return [f"{n} images without labels: predictions only"]
    width = max(n_columns(score["name"]) for score in evaluated.scores)
    shown = _shown(evaluated)
    columns = {key: 15 if key.endswith("_interval") else 10 for key in shown}
    lines = ["".join([f"{'':{width}}", *(f"{title:>{columns[key]}}" for key, title in shown.items()), "  on"])]
    for score in evaluated.scores:
        line = (f"{_cell(score, key):>{columns[key]}}" for key in shown)
        lines.append("".join([padded(score["name"], width), *line, f"  {score['n']} images"]))
    return lines


def cells_of(evaluated: Evaluated) -> tuple[list[str], list[list[str]]]:
    """Return the titles of the columns, and the rows, of the same table."""
    shown = _shown(evaluated)
    rows = [[score["name"], *(_cell(score, key) for key in shown), f"{score['n']:,}"] for score in evaluated.scores]
    return ["", *shown.values(), "images"], rows


def _shown(evaluated: Evaluated) -> dict[str, str]:
    """Return the titles of the columns that have a number at all."""
    return {key: title for key, (title, _) in _COLUMNS.items() if any(score.get(key) is not None for score in evaluated.scores)}


def _cell(score: dict[str, Any], key: str) -> str:
    return "" if score.get(key) is None else _COLUMNS[key][1].format(score[key])
