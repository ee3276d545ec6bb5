"""Reports of runs and evaluations that nobody has made: their numbers are drawn, and no network is needed."""

import numpy as np

from fastprep.evaluation.config import Config as EvaluationConfig
from fastprep.evaluation.findings import Findings, calibrations_of, mistakes_of
from fastprep.evaluation.page import page_of
from fastprep.evaluation.report import Evaluated
from fastprep.training.config import Config
from fastprep.training.page import RunReport
from fastprep.training.run_folder import RunFolder
from fastprep.training.state import RunState
from fastprep.training.throughput import Meter

NAMES = [
    "猫 (家猫)",
    "قطة منزلية",
    "😀 emoji",
    "<script>alert(1)</script>",
    "so long a name " * 30,
    "<img src=x onerror=alert(2)>",
]


def drawn_state(n_epochs, *, several=False, unmeasured=0):
    """Return the state of a run after some epochs; the first ones have no measurements."""
    rng = np.random.default_rng(n_epochs)
    names = ["loss", "accuracy", "learning_rate", *(["auc"] if several else [])]
    names += [f"val_{name}" for name in names if name != "learning_rate"]
    history = {name: rng.random(n_epochs).tolist() for name in names}
    best = int(np.argmax(history["val_accuracy"]))
    meters = [Meter(2.0, 0.5, 1000 + k) for k in range(unmeasured, n_epochs)]
    values = history["val_accuracy"][best], history["val_loss"][best]
    return RunState(
        n_epochs, 0, history, best + 1, *values, Meter(2.0 * n_epochs, 0.5 * n_epochs, 1000 * n_epochs), meters=meters
    )


def run_page(state, folder="runs/one", remarks=(), world=1, **options):
    """Return the report of a run."""
    config = Config(**{"train": "train.h5", "val": "val.h5", "epochs": state.epoch, **options})
    lines = ["training: 43 images of 12x14x3, contiguous", f"classes ({', '.join(NAMES)})"]
    return RunReport(RunFolder(folder), config, lines, world).page(state, remarks)


def drawn_evaluation(n=60, classes=6, *, several=False, labels=True, names=None, samples=None):
    """Return predictions that are right more often than not."""
    rng = np.random.default_rng(classes)
    names = names or [NAMES[k] if k < len(NAMES) else f"class {k}" for k in range(classes)]
    truth = (rng.random((n, classes)) < 0.3).astype(np.uint8) if several else rng.integers(0, classes, n)
    ones = truth if several else np.eye(classes)[truth]
    rows = np.clip(0.45 * ones + 0.65 * rng.random((n, classes)), 0, 1)
    rows = rows if several else rows / rows.sum(axis=1, keepdims=True)
    files = [f"{k}<b>.png" for k in range(n)]
    kinds = {"plain crop": [rows], "ten-crop": [rows]}
    return Evaluated(kinds, ["runs/one"], "probs", truth if labels else None, names, files, samples, several)


def evaluation_page(evaluated, image=None, runs=None, comparisons=(), notes=()):
    """Return the report of an evaluation, with this image for all mistakes, or a grey one; an error stands for those unread."""

    def unused(numbers):
        raise OSError("unread")

    found = mistakes_of(evaluated, unused)
    if found:
        image = np.full((8, 8, 1), 100, np.uint8) if image is None else image
        found["images"] = image if isinstance(image, Exception) else [image] * len(found["mistakes"])
    meters = {"runs/one, ten-crop": Meter(2.0, 0.1, 60)}
    config = EvaluationConfig(runs=("runs/one",), data="<i>test.h5")
    findings = Findings(config, list(comparisons), list(notes), meters, calibrations_of(evaluated), **found, runs=runs or {})
    return page_of(evaluated, findings)
