"""The worst mistakes, against sorting one by one."""

import numpy as np

from fastprep.evaluation.mistakes import least_certain, worst_mistakes


def test_the_least_probable_labels_come_first_and_equal_ones_in_the_order_of_the_file(rng):
    rows = rng.integers(0, 5, (200, 4)) / 4  # with many ties
    labels = rng.integers(0, 4, 200)
    wrong = [k for k in range(200) if int(np.argmax(rows[k])) != labels[k]]
    wanted = sorted(wrong, key=lambda k: (rows[k, labels[k]], k))
    mistakes, n_wrong = worst_mistakes(rows, labels, several=False, most=10)
    assert n_wrong == len(wrong)
    assert [mistake.row for mistake in mistakes] == wanted[:10]
    for mistake in mistakes:
        said, label = mistake.claims
        assert (said.what, said.number, said.probability) == ("predicted", rows[mistake.row].argmax(), rows[mistake.row].max())
        assert (label.what, label.number, label.probability) == ("label", labels[mistake.row], rows[mistake.row, label.number])


def test_of_several_labels_the_decisions_furthest_from_them_come_first():
    rows = np.array([[0.9, 0.2, 0.1], [0.4, 0.6, 0.1], [0.95, 0.05, 0.7], [0.5, 0.1, 0.1]])
    labels = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0]])
    mistakes, n_wrong = worst_mistakes(rows, labels, several=True)
    assert (n_wrong, [mistake.row for mistake in mistakes]) == (3, [2, 1, 3])  # 0.5 is not above the threshold
    assert [(claim.what, claim.number) for claim in mistakes[0].claims] == [("predicted", 0), ("missed", 1), ("predicted", 2)]
    assert [(claim.what, claim.number) for claim in mistakes[1].claims] == [("missed", 0), ("predicted", 1)]
    assert worst_mistakes(rows[:1], labels[:1], several=True) == ([], 0)


def test_nothing_is_wrong_where_all_is_right():
    assert worst_mistakes(np.eye(3), np.arange(3), several=False) == ([], 0)


def test_the_least_certain_predictions_come_first_and_equal_ones_in_the_order_of_the_file(rng):
    rows = rng.integers(0, 5, (60, 4)) / 4
    found = least_certain(rows, most=9)
    assert [each.row for each in found] == sorted(range(60), key=lambda k: (rows[k].max(), k))[:9]
    for each in found:
        assert each.claims == [("predicted", rows[each.row].argmax(), rows[each.row].max())]
