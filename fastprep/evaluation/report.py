"""Results of an evaluation as CSV files and plots."""

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
from fastprep.evaluation import metrics, several_labels
from fastprep.evaluation.metrics import Average
from fastprep.evaluation.significance import compare, interval
from fastprep.presentation.stats import counted
from fastprep.system import printable

_SUMMARY = "summary.json"
_MARKS = frozenset({"data", "models", "average", "scores"})  # keys by which a summary is known as that of an evaluation
_OWN = re.compile(
    r"(summary\.json|predictions\.csv|probabilities\.npz|report\.html)|(confusion|classes)-(plain-crop|ten-crop)\.(csv|png)"
)


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
        With several labels an image: 0 and 1, shape (N, classes).
    class_names : sequence of str
        Names of all classes.
    file_names : sequence of str, or None
        Names of all images.
    samples : ndarray of int, shape (N,), or None
        Numbers of the images in the file; None for 0, 1, 2, ...
    several : bool
        Whether images have several labels.
    """

    rows: dict[str, list[NDArray[np.float64]]]
    models: list[str]
    average: Average
    labels: NDArray[np.integer] | None
    class_names: Sequence[str]
    file_names: Sequence[str] | None
    samples: NDArray[np.integer] | None = None
    several: bool = False

    @cached_property
    def probabilities(self) -> dict[str, NDArray[np.float64]]:
        """Averages over all models, by kind of crops."""
        return {kind: self._average(parts) for kind, parts in self.rows.items()}

    @cached_property
    def confusions(self) -> dict[str, NDArray[np.int64]]:
        """Confusion matrices by kind of crops; empty without labels, and with several labels an image."""
        if self.labels is None or self.several:  # a confusion matrix has one class an image
            return {}
        labels, n = self.labels, len(self.class_names)
        return {kind: metrics.confusion_matrix(labels, rows.argmax(axis=1), n) for kind, rows in self.probabilities.items()}

    @cached_property
    def by_class(self) -> dict[str, list[dict[str, Any]]]:
        """Tables by class, by kind of crops; empty without labels."""
        if self.labels is None or not self.several:
            return {kind: metrics.by_class(confusion) for kind, confusion in self.confusions.items()}
        return {kind: several_labels.by_class(rows, self.labels) for kind, rows in self.probabilities.items()}

    @cached_property
    def scores(self) -> list[dict[str, Any]]:
        """Rows of the table: name, n, and the numbers of `score_table`, None where there is none; empty without labels."""
        if self.labels is None:
            return []
        scores = [self._guess()]
        for kind, parts in self.rows.items():
            if len(parts) > 1:
                for model, part in zip(self.models, parts, strict=True):
                    scores.append(self._score(f"{model}, {kind}", self._average([part])))
            name = kind if len(parts) == 1 else f"average of {len(parts)}, {kind}"
            scores.append(self._score(name, self.probabilities[kind]))
        return scores

    def right(self, part: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell of each image whether a model's result for it is right; with several labels, whether all of them are."""
        rows, labels = self._average([part]), np.asarray(self.labels)
        if self.several:
            return np.asarray(several_labels.decided(rows, labels).all(axis=1))
        return metrics.hits(rows, labels, 1)

    def _average(self, parts: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        return metrics.probabilities(parts, self.average, several=self.several)

    def _guess(self) -> dict[str, Any]:
        """Return the scores of predictions without a look at the images."""
        labels = np.asarray(self.labels)
        if self.several:
            without = {"auc": None, "average_precision": None, "loss": None}
            usual = several_labels.usual_answers(labels)
            return {"name": "usual answers", **usual, **_interval_of("exact", usual, len(labels)), **without, "n": len(labels)}
        largest = int(np.bincount(labels).argmax())
        name = f"always {self.class_names[largest]}"
        return {"name": name, **_share("top_1", labels == largest), "top_5": None, "loss": None, "n": len(labels)}

    def _score(self, name: str, rows: NDArray[np.float64]) -> dict[str, Any]:
        labels = np.asarray(self.labels)
        if self.several:
            scores = several_labels.scores(rows, labels)
            return {"name": name, **scores, **_interval_of("exact", scores, len(rows)), "n": len(rows)}
        top_5 = float(metrics.hits(rows, labels, 5).mean()) if rows.shape[1] > 5 else None
        return {
            "name": name,
            **_share("top_1", metrics.hits(rows, labels, 1)),
            "top_5": top_5,
            "loss": metrics.cross_entropy(rows, labels),
            "n": len(rows),
        }


def compared(evaluated: Evaluated) -> list[dict[str, Any]]:
    """Compare each two models on the same images.

    Returns
    -------
    list of dict
        crops, first and second (names of two models), only_first_right, only_second_right and p; see `significance.compare`.
    """
    comparisons = []
    for kind, parts in evaluated.rows.items():
        right = [evaluated.right(part) for part in parts]
        for i, k in itertools.combinations(range(len(parts)), 2):
            found = compare(right[i], right[k])
            names = {"crops": kind, "first": evaluated.models[i], "second": evaluated.models[k]}
            comparisons.append(
                {**names, "only_first_right": found.only_first, "only_second_right": found.only_second, "p": found.p}
            )
    return comparisons


def lines_of_comparisons(comparisons: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line for each comparison."""
    return [
        f"{c['first']} and {c['second']}, {c['crops']}: {counted(c['only_first_right'], 'image')} only the first has right, "
        f"{c['only_second_right']} only the second; p = {c['p']:.2g} (McNemar)"
        for c in comparisons
    ]


def _share(name: str, right: NDArray[np.bool_]) -> dict[str, Any]:
    """Return a share of right answers, with its confidence interval."""
    share = {name: float(right.mean())}
    return {**share, **_interval_of(name, share, len(right))}


def _interval_of(name: str, scores: dict[str, Any], n: int) -> dict[str, tuple[float, float]]:
    """Return the confidence interval of a share of `n` images."""
    return {f"{name}_interval": interval(round(scores[name] * n), n)}


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
    for kind, by_class in evaluated.by_class.items():
        _write_classes(folder, kind, names, by_class)
    for kind, confusion in evaluated.confusions.items():
        kind_name = kind.replace(" ", "-")
        counted = ([name, *row] for name, row in zip(names, confusion, strict=True))
        _write(folder / f"confusion-{kind_name}.csv", ["label", *names], counted)
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


def _write_classes(folder: Path, kind: str, names: Sequence[str], by_class: list[dict[str, Any]]) -> None:
    lines = ([k, name, *row.values()] for k, (name, row) in enumerate(zip(names, by_class, strict=True)))
    _write(folder / f"classes-{kind.replace(' ', '-')}.csv", ["label", "name", *by_class[0]], lines)


def _write_predictions(path: Path, evaluated: Evaluated) -> None:
    n = len(next(iter(evaluated.probabilities.values())))
    columns: list[tuple[str, Iterable[Any]]] = [("sample", range(n) if evaluated.samples is None else evaluated.samples)]
    if evaluated.file_names is not None:
        columns.append(("file", evaluated.file_names))
    columns += _columns_of_several(evaluated) if evaluated.several else _columns_of_one(evaluated)
    _write(path, [title for title, _ in columns], zip(*(values for _, values in columns), strict=True))


def _columns_of_one(evaluated: Evaluated) -> list[tuple[str, Iterable[Any]]]:
    """Return the class of each image, and the likeliest one with its probability."""
    names, columns = evaluated.class_names, list[tuple[str, Iterable[Any]]]()
    if evaluated.labels is not None:
        columns += [("label", evaluated.labels), ("name", [names[k] for k in evaluated.labels])]
    for kind, rows in evaluated.probabilities.items():
        best = rows.argmax(axis=1)
        columns += [(f"{_key(kind)}_label", best), (f"{_key(kind)}_name", [names[k] for k in best])]
        columns.append((f"{_key(kind)}_probability", [f"{p:.6g}" for p in rows[np.arange(len(rows)), best]]))
    return columns


def _columns_of_several(evaluated: Evaluated) -> list[tuple[str, Iterable[Any]]]:
    """Return a column for each class with its labels, and one with its probabilities by each kind of crops."""
    names, columns = evaluated.class_names, list[tuple[str, Iterable[Any]]]()
    if evaluated.labels is not None:
        columns += [(f"label_{name}", values) for name, values in zip(names, evaluated.labels.T, strict=True)]
    for kind, rows in evaluated.probabilities.items():
        columns += [(f"{_key(kind)}_{name}", [f"{p:.6g}" for p in values]) for name, values in zip(names, rows.T, strict=True)]
    return columns


def _write(path: Path, header: Sequence[str], lines: Iterable[Iterable[Any]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for line in itertools.chain([header], lines):
            writer.writerow([printable(cell, keep="\n\t") if isinstance(cell, str) else cell for cell in line])


def _key(kind: str) -> str:
    return kind.replace(" ", "_").replace("-", "_")
