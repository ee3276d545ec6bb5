"""report.html of an evaluation: what it tells, and how large it may become."""

import dataclasses
import re

import numpy as np
import pytest
from report_pages import NAMES, drawn_evaluation, drawn_state, evaluation_page

from fastprep.evaluation import metrics
from fastprep.evaluation.confusion import classes_part, confusion_part
from fastprep.evaluation.significance import interval


def test_a_report_tells_everything_of_every_kind_of_crops():
    evaluated = drawn_evaluation()
    page = evaluation_page(evaluated, runs={"runs/one": drawn_state(3)}, notes=["note: said"])
    confusion = metrics.confusion_matrix(evaluated.labels, evaluated.probabilities["ten-crop"].argmax(axis=1), len(NAMES))
    for kind in ("plain crop", "ten-crop"):
        for title in ("Confusion matrix", "Classes", "Calibration"):
            assert f">{title}, {kind}</h2>" in page
    assert page.count("<table") >= 5
    for count in confusion.ravel():
        assert f">{count}</td>" in page
    for k, row in enumerate(metrics.by_class(confusion)):
        low, high = interval(int(confusion[k, k]), row["images"])
        assert f"<td>{row['images']}</td><td>{row['recall']:.1%}</td><td>{low:.1%}-{high:.1%}</td>" in page
    assert "note: said" in page
    assert "<h2 id" in page
    assert "Training of runs/one" in page
    assert 'aria-label="Loss"' in page
    assert "<td>60</td><td>2.0 s</td><td>30</td><td>5.0%</td>" in page


def test_names_of_any_script_are_isolated_and_none_is_html():
    page = evaluation_page(drawn_evaluation())
    assert "<bdi>قطة منزلية</bdi>" in page
    assert "<bdi>😀 emoji</bdi>" in page
    assert "<bdi>&lt;script&gt;alert(1)&lt;/script&gt;</bdi>" in page
    assert not re.search(r"<(script|img src=x|i>|b>\.png)", page)
    assert f'title="{NAMES[4][:300].strip()}' in page


def test_mistakes_have_their_images_or_say_why_not(rng):
    evaluated = drawn_evaluation(samples=np.arange(100, 160))
    noise = rng.integers(0, 256, (160, 120, 3), dtype=np.uint8)
    wrong = (evaluated.probabilities["ten-crop"].argmax(axis=1) != evaluated.labels).sum()
    assert 0 < wrong <= 24
    page = evaluation_page(evaluated, image=noise)
    assert page.count('src="data:image/jpeg;base64,') == wrong  # as PNG each would have 60 kB
    assert f"By ten-crop, {wrong} of 60 images are wrong." in page
    assert re.search(r"<div>sample 1\d\d</div><div><bdi>\d+&lt;b&gt;.png</bdi></div>", page)
    assert evaluation_page(evaluated).count('src="data:image/png;base64,') == wrong
    unread = evaluation_page(evaluated, image=OSError("gone"))
    assert "Their images can&#x27;t be read: gone" in unread
    assert "<img" not in unread


def test_an_evaluation_without_a_mistake_says_so():
    evaluated = drawn_evaluation(classes=3)
    for rows in evaluated.rows.values():
        rows[0] = np.eye(3)[evaluated.labels]
    assert "By ten-crop, 0 of 60 images are wrong." in evaluation_page(evaluated)
    wrong = (evaluated.labels[7] + 1) % 3
    for rows in evaluated.rows.values():
        rows[0][7] = np.eye(3)[wrong]
    page = evaluation_page(dataclasses.replace(evaluated))  # without the results that are kept
    assert "By ten-crop, 1 of 60 images is wrong." in page
    assert "This is the one whose label is the least probable" in page


def test_of_several_models_a_report_says_that_it_is_of_their_average():
    one = drawn_evaluation()
    assert ">right, ten-crop; 95%" in evaluation_page(one)
    assert "average of" not in evaluation_page(one)
    rows = {kind: [*parts, parts[0][::-1]] for kind, parts in one.rows.items()}
    page = evaluation_page(dataclasses.replace(one, rows=rows, models=["runs/one", "runs/two"]))
    assert ">right, average of 2, ten-crop; 95%" in page
    assert "All that follows is of the average of 2 models." in page


def test_several_labels_have_areas_and_no_matrix():
    page = evaluation_page(drawn_evaluation(several=True), runs={"runs/one": drawn_state(2, several=True)})
    assert "Confusion matrix" not in page
    assert '<th scope="col">AUC</th>' in page
    assert "over each label of each image" in page
    assert "have a wrong decision" in page
    assert ">missed " in page
    assert 'aria-label="Area under the ROC curve"' in page


def test_without_labels_there_is_how_often_classes_are_predicted():
    evaluated = drawn_evaluation(labels=False)
    page = evaluation_page(evaluated)
    counts = np.bincount(evaluated.probabilities["ten-crop"].argmax(axis=1), minlength=6)
    for count in counts:
        assert f"<td>{count}</td><td>{count / 60:.1%}</td>" in page
    assert "Calibration" not in page
    assert "These are the 24 whose prediction is the least probable, as centre crops" in page
    assert page.count("<figcaption><div>predicted ") == 24
    assert "predictions.csv beside this page has the prediction of each image." in page
    several = evaluation_page(drawn_evaluation(several=True, labels=False))
    assert "predictions.csv beside" in several
    assert "least probable" not in several


@pytest.mark.parametrize("several", [False, True])
def test_a_thousand_classes_make_a_small_page(several):
    page = evaluation_page(drawn_evaluation(300 if several else 2000, 1000, several=several))
    assert len(page) < 250_000
    assert "The 100 classes of the lowest recall; classes-ten-crop.csv has all 1,000." in page


@pytest.mark.parametrize(
    ("classes", "cells", "map_of_it"), [(20, True, False), (21, False, True), (512, False, True), (513, False, False)]
)
def test_a_matrix_has_numbers_or_a_map_or_its_largest_pairs(rng, classes, cells, map_of_it):
    confusion = np.diag(rng.integers(5, 9, classes))
    confusion[3, 7] = 4
    part = confusion_part(confusion, [f"class {k}" for k in range(classes)])
    assert ("<td" in part and 'class="matrix"' in part) == cells
    assert ('class="map"' in part) == map_of_it
    if not cells:
        share = 4 / confusion[3].sum()
        assert f'<bdi>class 3</bdi></td><td class="l"><bdi>class 7</bdi></td><td>4</td><td>{share:.1%}</td>' in part
        assert part.count("<tr>") == 2


def test_classes_that_nobody_has_or_predicts_have_no_share():
    part = classes_part(metrics.by_class(np.array([[3, 0], [0, 0]])), ["a", "b"], "classes.csv")
    assert "<bdi>b</bdi></td><td>0</td><td></td><td></td><td>0</td><td></td><td></td><td>0.000</td>" in part
