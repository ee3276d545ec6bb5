"""Results of an evaluation as a table, CSV files and plots."""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.cli.plots import draw_confusion
from fastprep.errors import NotReplacedError
from fastprep.evaluation import metrics
from fastprep.evaluation.metrics import Average
from fastprep.system import printable

_SUMMARY = "summary.json"
_MARKS = frozenset({"data", "models", "average", "scores"})  # keys by which a summary is known as that of an evaluation
_OWN = re.compile(r"summary\.json|predictions\.csv|probabilities\.npz|(confusion|classes)-(plain-crop|ten-crop)\.(csv|png)")


@dataclass(frozen=True, eq=False)
class Evaluated:
    """Predictions of one or several models for the same images.

    Attributes
    ----------
    rows : dict of str to list of ndarray of float64, shape (N, classes)
        Results of `evaluation.metrics.predict_crops` for each model, by kind of crops.
    models : list of str
        Names of the models.
    average : {"probs", "logits"}
        Quantity that the rows are averages of.
    labels : ndarray of int, shape (N,), or None
    class_names : sequence of str
        Names of all classes.
    file_names : sequence of str, or None
        Names of all images.
    """

    rows: dict[str, list[NDArray[np.float64]]]
    models: list[str]
    average: Average
    labels: NDArray[np.integer] | None
    class_names: Sequence[str]
    file_names: Sequence[str] | None

    @cached_property
    def probabilities(self) -> dict[str, NDArray[np.float64]]:
        """Averages over all models, by kind of crops."""
        return {kind: metrics.probabilities(parts, self.average) for kind, parts in self.rows.items()}

    @cached_property
    def scores(self) -> list[dict[str, Any]]:
        """Rows of the table: name, top_1, top_5 (None for five classes or fewer), loss and n; empty without labels."""
        if self.labels is None:
            return []
        largest = int(np.bincount(self.labels).argmax())
        scores = [
            {
                "name": f"always {self.class_names[largest]}",
                "top_1": float((self.labels == largest).mean()),
                "top_5": None,
                "loss": None,
                "n": len(self.labels),
            }
        ]
        for kind, parts in self.rows.items():
            if len(parts) > 1:
                for model, part in zip(self.models, parts, strict=True):
                    scores.append(self._score(f"{model}, {kind}", metrics.probabilities([part], self.average)))
            name = kind if len(parts) == 1 else f"average of {len(parts)}, {kind}"
            scores.append(self._score(name, self.probabilities[kind]))
        return scores

    def _score(self, name: str, rows: NDArray[np.float64]) -> dict[str, Any]:
        labels = np.asarray(self.labels)
        top_5 = float(metrics.hits(rows, labels, 5).mean()) if rows.shape[1] > 5 else None
        return {
            "name": name,
            "top_1": float(metrics.hits(rows, labels, 1).mean()),
            "top_5": top_5,
            "loss": metrics.cross_entropy(rows, labels),
            "n": len(rows),
        }


def table(evaluated: Evaluated) -> list[str]:
    """Return the table of the scores, which are all on the same images."""
    n = len(next(iter(evaluated.probabilities.values())))
    if not evaluated.scores:
        return [f"{n} images without labels: predictions only"]
    with_5 = any(score["top_5"] is not None for score in evaluated.scores)
    width = max(len(score["name"]) for score in evaluated.scores)
    lines = [f"{'':{width}}     top-1{'     top-5' if with_5 else ''}      loss  on"]
    for score in evaluated.scores:
        top_5 = f"{_percent(score['top_5']):>10}" if with_5 else ""
        loss = "" if score["loss"] is None else f"{score['loss']:.4f}"
        lines.append(f"{score['name']:{width}}{_percent(score['top_1']):>10}{top_5}{loss:>10}  {score['n']} images")
    return lines


def write_report(folder: Path, evaluated: Evaluated, facts: dict[str, Any]) -> None:
    """Write summary.json, predictions.csv and probabilities.npz; with labels also confusion and classes for each kind of crops.

    Parameters
    ----------
    folder : Path
        Existing empty folder.
    evaluated : Evaluated
    facts : dict
        Further content of summary.json.
    """
    labels, names = evaluated.labels, list(evaluated.class_names)
    summary = {**facts, "average": evaluated.average, "scores": evaluated.scores}
    (folder / _SUMMARY).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    arrays = {_key(kind): rows.astype(np.float32) for kind, rows in evaluated.probabilities.items()}
    np.savez(folder / "probabilities.npz", **arrays, **({} if labels is None else {"labels": labels}))  # type: ignore[arg-type]
    _write_predictions(folder / "predictions.csv", evaluated)
    if labels is None:
        return
    for kind, rows in evaluated.probabilities.items():
        confusion = metrics.confusion_matrix(labels, rows.argmax(axis=1), len(names))
        kind_name = kind.replace(" ", "-")
        counted = ([name, *row] for name, row in zip(names, confusion, strict=True))
        _write(folder / f"confusion-{kind_name}.csv", ["label", *names], counted)
        by_class = metrics.by_class(confusion)
        lines = ([k, name, *row.values()] for k, (name, row) in enumerate(zip(names, by_class, strict=True)))
        _write(folder / f"classes-{kind_name}.csv", ["label", "name", *by_class[0]], lines)
        title = f"{kind}: {np.diagonal(confusion).sum()} of {confusion.sum()} right"
        draw_confusion(confusion, names, title, folder / f"confusion-{kind_name}.png")


def report_files(folder: Path) -> frozenset[str] | None:
    """Return the names of the files in the folder of an evaluation.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    frozenset of str, or None
        None if the folder is not that of an evaluation: its summary.json is missing, or not one of `write_report`.

    Raises
    ------
    NotReplacedError
        If the folder holds an evaluation, and something else.
    """
    try:
        summary = json.loads((folder / _SUMMARY).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None if any(folder.iterdir()) else frozenset()
    except (OSError, ValueError, RecursionError):
        return None
    if not (isinstance(summary, dict) and summary.keys() >= _MARKS):
        return None
    names: set[str] = set()
    foreign: list[str] = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        is_own = _OWN.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
        (names.add if is_own else foreign.append)(entry.name)
    if foreign:
        some = ", ".join(map(repr, foreign[:5])) + (", ..." if len(foreign) > 5 else "")
        problem = f"it holds more than an evaluation: {some}; move that away"
        raise NotReplacedError(f"{str(folder)!r} is not replaced, because {problem}")
    return frozenset(names)


def _write_predictions(path: Path, evaluated: Evaluated) -> None:
    names = evaluated.class_names
    columns: dict[str, Iterable[Any]] = {}
    n = len(next(iter(evaluated.probabilities.values())))
    columns["sample"] = range(n)
    if evaluated.file_names is not None:
        columns["file"] = evaluated.file_names
    if evaluated.labels is not None:
        columns["label"] = evaluated.labels
        columns["name"] = [names[k] for k in evaluated.labels]
    for kind, rows in evaluated.probabilities.items():
        best = rows.argmax(axis=1)
        columns[f"{_key(kind)}_label"] = best
        columns[f"{_key(kind)}_name"] = [names[k] for k in best]
        columns[f"{_key(kind)}_probability"] = [f"{p:.6g}" for p in rows[np.arange(n), best]]
    _write(path, list(columns), zip(*columns.values(), strict=True))


def _write(path: Path, header: Sequence[str], lines: Iterable[Iterable[Any]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for line in itertools.chain([header], lines):
            writer.writerow([printable(cell, keep="\n\t") if isinstance(cell, str) else cell for cell in line])


def _key(kind: str) -> str:
    return kind.replace(" ", "_").replace("-", "_")


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"
