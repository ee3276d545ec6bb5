"""report.html of an evaluation: results, confusion, classes, calibration, mistakes, and the runs that were tested."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastprep.errors import one_line
from fastprep.evaluation import several_labels
from fastprep.evaluation.calibration_chart import calibration_part
from fastprep.evaluation.config import Config
from fastprep.evaluation.confusion import classes_part, confusion_part
from fastprep.evaluation.findings import Findings
from fastprep.evaluation.mistakes import Mistake
from fastprep.evaluation.report import Evaluated, lines_of_comparisons
from fastprep.evaluation.score_table import cells_of
from fastprep.presentation.stats import counted
from fastprep.reports.markup import Html, element, joined, name, table, tiles
from fastprep.reports.options import options
from fastprep.reports.page import Section, page
from fastprep.reports.pictures import data_uri
from fastprep.training.curves import learning_curves, speed_curves

_SMALL = 64  # pixels of the longer side up to which images are enlarged
_SHOWN = 136  # pixels that an image has on a page
_MOST_RUNS = 4  # that have their curves
_MOST_PREDICTED = 50  # classes in the table of an evaluation without labels


def page_of(evaluated: Evaluated, findings: Findings) -> str:
    """Return the report of an evaluation."""
    sections = [Section("Results", _results(evaluated, findings))]
    for kind in evaluated.probabilities if evaluated.labels is not None else ():
        sections += _of_kind(evaluated, findings, kind)
    if evaluated.labels is None:
        sections.append(Section("Predictions", _predicted(evaluated, findings)))
    else:
        sections.append(Section("Worst mistakes", _mistakes(evaluated, findings)))
    sections.append(Section("Throughput", _speed(findings)))
    sections += _runs(findings)
    sections.append(Section("Configuration", options(findings.config, Config(runs=()))))
    data = str(findings.config.data)
    return page(f"Evaluation on {Path(data).name}", element("p", data, class_="note"), sections)


def _results(evaluated: Evaluated, findings: Findings) -> Html:
    n = len(next(iter(evaluated.probabilities.values())))
    several = f"; several labels an image, each predicted where its probability is above {several_labels.THRESHOLD}"
    said = f"{n:,} images, {len(evaluated.class_names):,} classes{several if evaluated.several else ''}."
    parts = [element("p", said), *(element("p", note) for note in findings.notes)]
    if evaluated.scores:
        header, rows = cells_of(evaluated)
        parts.insert(0, _tiles(evaluated, findings))
        parts.append(table(header, ([name(first, 120), *rest] for first, *rest in rows), "Results"))
        average = "logits" if evaluated.average == "logits" else "probabilities"
        note = f"Over crops and models, {average} are averaged. Intervals are Wilson's score intervals of 95 %."
        parts.append(element("p", note, class_="note"))
    parts += [element("p", line) for line in lines_of_comparisons(findings.comparisons)]
    if evaluated.scores and (n_models := len(evaluated.models)) > 1:
        parts.append(element("p", f"All that follows is of the average of {n_models} models.", class_="note"))
    return joined(parts)


def _tiles(evaluated: Evaluated, findings: Findings) -> Html:
    """Return the numbers that are looked for first, of all models together by the last kind of crops."""
    kind, score = list(evaluated.probabilities)[-1], evaluated.scores[-1]
    key, what = ("exact", "with all labels right") if evaluated.several else ("top_1", "right")
    low, high = score[f"{key}_interval"]
    shown = [(f"{score[key]:.2%}", f"{what}, {score['name']}; 95%: {low:.1%}-{high:.1%}")]
    if score.get("auc") is not None:
        shown.append((f"{score['auc']:.4f}", "AUC"))
    shown += [(f"{score['loss']:.4g}", "loss"), (f"{findings.calibrations[kind].error:.4f}", "calibration error")]
    return tiles([*shown, (f"{findings.n_wrong:,}", "mistakes")])


def _of_kind(evaluated: Evaluated, findings: Findings, kind: str) -> list[Section]:
    """Return confusion, classes and calibration by one kind of crops."""
    names, file = evaluated.class_names, f"classes-{kind.replace(' ', '-')}.csv"
    matrix = Html() if evaluated.several else confusion_part(evaluated.confusions[kind], names)
    return [
        Section(f"Confusion matrix, {kind}", matrix),
        Section(f"Classes, {kind}", classes_part(evaluated.by_class[kind], names, file)),
        Section(f"Calibration, {kind}", calibration_part(findings.calibrations[kind], several=evaluated.several)),
    ]


def _mistakes(evaluated: Evaluated, findings: Findings) -> Html:
    kind, n = list(evaluated.probabilities)[-1], len(np.asarray(evaluated.labels))
    wrong = ("have a wrong decision", "has a wrong decision") if evaluated.several else ("are wrong", "is wrong")
    said = f"By {kind}, {findings.n_wrong:,} of {counted(n, 'image')} {wrong[findings.n_wrong == 1]}."
    if not findings.mistakes:
        return element("p", said)
    which = "with the decisions that are furthest from the labels" if evaluated.several else "whose label is the least probable"
    return joined((element("p", said), _pictures(evaluated, findings, which)))


def _pictures(evaluated: Evaluated, findings: Findings, which: str) -> Html:
    """Return the images of the findings, with what is claimed of each."""
    n = len(findings.mistakes)
    few = "This is the one" if n == 1 else f"These are the {n}"
    if isinstance(findings.images, Exception):
        problem = element("p", f"Their images can't be read: {one_line(findings.images)}", class_="problem")
        captions = (element("li", _caption(evaluated, mistake)) for mistake in findings.mistakes)
        return joined((problem, element("ul", *captions)))
    pairs = zip(findings.mistakes, findings.images, strict=True)
    figures = (element("figure", _image(pixels), element("figcaption", _caption(evaluated, each))) for each, pixels in pairs)
    said = f"{few} {which}, as centre crops; {findings.undone}."
    return joined((element("p", said), element("div", *figures, class_="images")))


def _image(pixels: NDArray[np.uint8]) -> Html:
    height, width = pixels.shape[:2]
    larger, small = max(height, width), "small" if max(height, width) <= _SMALL else None
    sides = {"width": max(1, round(width * _SHOWN / larger)), "height": max(1, round(height * _SHOWN / larger))}
    return element("img", src=data_uri(pixels), alt="", class_=small, loading="lazy", **sides)


def _caption(evaluated: Evaluated, mistake: Mistake) -> Html:
    sample = mistake.row if evaluated.samples is None else int(evaluated.samples[mistake.row])
    lines = [
        element("div", f"{claim.what} ", element("b", name(evaluated.class_names[claim.number])), f" {claim.probability:.1%}")
        for claim in mistake.claims
    ]
    lines.append(element("div", f"sample {sample}"))
    if evaluated.file_names is not None:
        lines.append(element("div", name(str(evaluated.file_names[mistake.row]))))
    return joined(lines)


def _predicted(evaluated: Evaluated, findings: Findings) -> Html:
    """Return how often each class is predicted, and the least certain images, where there are no labels to compare with."""
    kind, rows = list(evaluated.probabilities.items())[-1]
    if evaluated.several:
        counts = (rows > several_labels.THRESHOLD).sum(axis=0)
    else:
        counts = np.bincount(rows.argmax(axis=1), minlength=rows.shape[1])
    order = np.argsort(-counts, kind="stable")[:_MOST_PREDICTED].tolist()
    lines = ([name(evaluated.class_names[k]), f"{counts[k]:,}", f"{counts[k] / len(rows):.1%}"] for k in order)
    more = f" The {len(order)} most frequent of {len(counts):,} classes." if len(order) < len(counts) else ""
    said = element("p", f"There are no labels to compare with. How often classes are predicted, by {kind}:{more}")
    parts = [said, table(["class", "images", "of all"], lines, "Predicted classes")]
    if findings.mistakes:
        parts.append(_pictures(evaluated, findings, "whose prediction is the least probable"))
    parts.append(element("p", "predictions.csv beside this page has the prediction of each image.", class_="note"))
    return joined(parts)


def _speed(findings: Findings) -> Html:
    rows = (
        [name(what, 80), f"{meter.images:,}", f"{meter.seconds:.1f} s", f"{meter.rate:,.0f}", f"{meter.share:.1%}"]
        for what, meter in findings.meters.items()
    )
    note = "From the first batch, for which Keras builds the network, to the last one; ten-crop has ten crops of each image."
    header = ["predictions", "images", "time", "images/s", "waiting for images"]
    return joined((table(header, rows, "Throughput"), element("p", note, class_="note")))


def _runs(findings: Findings) -> list[Section]:
    """Return the curves of the runs whose models were tested."""
    shown = list(findings.runs.items())[:_MOST_RUNS]
    sections = []
    for run, state in shown:
        curves = joined((learning_curves(state), element("h3", "Throughput"), speed_curves(state) or element("p", "Not known.")))
        sections.append(Section(f"Training of {run}", curves))
    return sections
