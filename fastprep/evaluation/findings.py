"""What a report has beside the predictions: calibration, the worst mistakes with their images, and the runs that were tested."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.evaluation.calibration import Calibration, calibration
from fastprep.evaluation.config import Config
from fastprep.evaluation.mistakes import Mistake, least_certain, worst_mistakes
from fastprep.evaluation.report import Evaluated
from fastprep.loader import Loader
from fastprep.presentation.facts import mean_in_words
from fastprep.presentation.preview import Preview
from fastprep.training.state import RunState
from fastprep.training.throughput import Meter

_SIDE = 160  # pixels of the longer side of an image, at most


@dataclass(frozen=True, eq=False)
class Findings:
    """What a report has beside the predictions.

    Attributes
    ----------
    config : Config
    comparisons : list of dict
        Result of `report.compared`.
    notes : list of str
    meters : dict of str to Meter
        Time of the predictions, by model and kind of crops.
    calibrations : dict of str to Calibration
        By kind of crops; empty without labels.
    mistakes : list of Mistake
        The worst ones by the last kind of crops; without labels, the least certain images.
    n_wrong : int
        How many images are not right by it.
    images : list of ndarray of uint8, shape (h, w, 1 or 3), or Exception
        An image of each mistake, or why they can't be read.
    undone : str
        What was done about the mean of these images.
    runs : dict of str to RunState
        Runs whose models were tested, as far as they are known.
    """

    config: Config
    comparisons: list[dict]
    notes: list[str]
    meters: dict[str, Meter]
    calibrations: dict[str, Calibration] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    n_wrong: int = 0
    images: list[NDArray[np.uint8]] | Exception = field(default_factory=list)
    undone: str = ""
    runs: dict[str, RunState] = field(default_factory=dict)


def calibrations_of(evaluated: Evaluated) -> dict[str, Calibration]:
    """Return the calibration of the predictions, by kind of crops; nothing without labels."""
    if evaluated.labels is None:
        return {}
    labels, found = np.asarray(evaluated.labels), {}
    for kind, rows in evaluated.probabilities.items():
        if evaluated.several:
            found[kind] = calibration(rows.ravel(), labels.ravel() != 0)
        else:
            found[kind] = calibration(rows.max(axis=1), rows.argmax(axis=1) == labels)
    return found


def mistakes_of(evaluated: Evaluated, open_loader: Callable[[NDArray[np.int64]], Loader]) -> dict[str, Any]:
    """Return mistakes, n_wrong, images and undone of `Findings`.

    Parameters
    ----------
    evaluated : Evaluated
    open_loader : callable
        Returns a loader of some images, by their numbers in the file, as the network got them by centre crop.
    """
    rows = list(evaluated.probabilities.values())[-1]
    if evaluated.labels is not None:
        mistakes, n_wrong = worst_mistakes(rows, np.asarray(evaluated.labels), several=evaluated.several)
    else:
        mistakes, n_wrong = [] if evaluated.several else least_certain(rows), 0
    places = np.array([mistake.row for mistake in mistakes], np.int64)
    numbers = places if evaluated.samples is None else np.asarray(evaluated.samples, np.int64)[places]
    found: dict[str, Any] = {"mistakes": mistakes, "n_wrong": n_wrong}
    if not mistakes:
        return found
    ordered = np.sort(numbers)
    try:
        with open_loader(ordered) as loader:
            seen = Preview(loader._source, _SIDE, has_targets=False).rows(0, 0, len(ordered))
            found["undone"] = mean_in_words(loader)
    except (OSError, ValueError) as error:  # a DataError is a ValueError; the predictions are there all the same
        return {**found, "images": error}
    (name,) = seen[0].images
    return {**found, "images": [seen[k].images[name] for k in np.searchsorted(ordered, numbers).tolist()]}
