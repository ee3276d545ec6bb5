"""Quality of predictions of several labels an image, against its definitions in their most obvious form."""

import numpy as np
import pytest

from fastprep.evaluation import metrics, several_labels


def draw(n=40, classes=4, levels=6, seed=0):
    """Probabilities of few values, so that many are equal, and labels that have to do with them."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(1, levels, (n, classes)) / levels
    return rows, (rng.random((n, classes)) < rows).astype(np.uint8)


@pytest.mark.parametrize("seed", range(5))
def test_areas_are_those_of_their_definitions(seed):
    rows, labels = draw(seed=seed)
    for p, y in zip(rows.T, labels.T, strict=True):
        pairs = [float(a > b) + (a == b) / 2 for a in p[y == 1] for b in p[y == 0]]
        assert several_labels.area_under_roc(p, y) == pytest.approx(np.mean(pairs))
        precisions = [y[p >= threshold].mean() for threshold in p[y == 1]]
        assert several_labels.average_precision(p, y) == pytest.approx(np.mean(precisions))


def test_classes_that_say_nothing_are_left_out_of_the_means():
    rows, labels = draw()
    labels[:, 0], labels[:, 1] = 0, 1
    scores = several_labels.scores(rows, labels)
    rest = several_labels.scores(rows[:, 2:], labels[:, 2:])
    assert (scores["auc"], scores["average_precision"]) == (rest["auc"], rest["average_precision"])
    lines = several_labels.by_class(rows, labels)
    assert [line["auc"] for line in lines[:2]] == ["", ""]
    assert [line["images"] for line in lines[:2]] == [0, len(rows)]
    nothing = several_labels.scores(rows[:, :2], labels[:, :2])
    assert (nothing["auc"], nothing["average_precision"]) == (None, None)


def test_decisions_are_counted_one_by_one_and_by_image():
    rows = np.array([[0.9, 0.2], [0.6, 0.7], [0.5, 0.4]])  # 0.5 is not above the threshold
    labels = np.array([[1, 0], [1, 0], [1, 0]])
    scores = several_labels.scores(rows, labels)
    assert (scores["accuracy"], scores["exact"]) == (pytest.approx(4 / 6), pytest.approx(1 / 3))
    assert scores["loss"] == pytest.approx(-np.log([0.9, 0.8, 0.6, 0.3, 0.5, 0.6]).mean())
    assert several_labels.usual_answers(labels) == {"accuracy": 1.0, "exact": 1.0}
    first, second = several_labels.by_class(rows, labels)
    assert (first["predicted"], first["recall"], first["precision"]) == (2, pytest.approx(2 / 3), 1.0)
    assert (second["predicted"], second["recall"], second["precision"], second["f1"]) == (1, 0.0, 0.0, 0.0)


def test_certain_predictions_have_finite_losses_and_logits():
    rows = np.array([[0.0, 1.0]])
    assert several_labels.scores(rows, np.array([[1, 0]]))["loss"] == pytest.approx(87.3, abs=0.1)
    assert np.isfinite(metrics.logit(rows)).all()
    np.testing.assert_allclose(metrics.sigmoid(metrics.logit(np.array([0.2, 0.5, 0.97]))), [0.2, 0.5, 0.97])
    np.testing.assert_array_equal(metrics.sigmoid(np.array([-1e4, 0.0, 1e4])), [0.0, 0.5, 1.0])
