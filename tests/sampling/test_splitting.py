"""Splits and folds: exact shares of every class, whole groups, each sample once, and the same numbers on every machine."""

import logging
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastprep import folds, split
from fastprep.sampling import hashing
from fastprep.sampling.order import permute
from fastprep.sampling.rounding import shared_out, whole_groups

LABELS = st.lists(st.integers(0, 6), min_size=8, max_size=120)
PERCENT = st.lists(st.integers(1, 30), min_size=2, max_size=6)

# what seed 7 gives for 20 samples of classes 0, 1, 2, 0, 1, 2, ...: never to change, because runs and users rely on it
TRAIN, VAL, TEST = [1, 2, 3, 5, 6, 7, 9, 12, 14, 16, 17, 19], [0, 11, 13, 18], [4, 8, 10, 15]
FOLDS = [[0, 1, 3, 4, 14], [5, 6, 10, 16, 18], [9, 11, 15, 17, 19], [2, 7, 8, 12, 13]]
GROUPED = [[3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14], [0, 1, 2, 15, 16, 17, 18, 19]]


def shares_of(weights):
    """Return shares as a user types them, and as exact fractions."""
    total = sum(weights)
    exact = [Fraction(weight, total) for weight in weights]
    return [float(share) for share in exact], exact


@settings(max_examples=150)
@given(labels=LABELS, weights=PERCENT, seed=st.integers(-3, 3))
def test_every_class_and_all_samples_are_shared_out_exact_to_one_sample(labels, weights, seed):
    shares, exact = shares_of(weights)
    labels = np.array(labels)
    if min(exact) * len(labels) < 1:  # it may be refused, because a part would be empty
        labels = np.tile(labels, 20)
    parts = split(labels, shares, seed=seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    for part, share in zip(parts, exact, strict=True):
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
        assert abs(len(part) - share * len(labels)) < 1 + Fraction(1, 10**9)  # the shares were rounded to floats
        for label in np.unique(labels):
            wanted = share * int((labels == label).sum())
            assert abs(int((labels[part] == label).sum()) - wanted) < 1 + Fraction(1, 10**9)


@pytest.mark.parametrize(
    ("counts", "shares"),
    [([9, 6, 9, 5, 9, 10, 4], "1/5 1/10 1/4 1/4 1/10 1/10"), ([4, 6], "1/10 1/6 1/10 1/6 11/30 1/10")],
)
def test_a_part_that_got_too_many_samples_at_first_hands_some_on(counts, shares):
    """In these tables the first guess gives a part one sample too many, or too few; 40,000 random tables had no others."""
    shares = [Fraction(share) for share in shares.split()]
    table = np.array(shared_out(counts, shares))
    assert table.sum(axis=1).tolist() == counts
    for j, share in enumerate(shares):
        assert abs(int(table[:, j].sum()) - share * sum(counts)) < 1
        assert all(abs(int(n) - share * count) < 1 for n, count in zip(table[:, j], counts, strict=True))


def test_shares_that_come_out_even_are_met_exactly():
    labels = np.repeat(["cat", "dog", "owl"], [70, 20, 10])
    for number, (part, share) in enumerate(zip(split(labels, (0.7, 0.2, 0.1)), (7, 2, 1), strict=True)):
        counts = np.unique(labels[part], return_counts=True)[1]
        assert counts.tolist() == [7 * share, 2 * share, share], number


def test_a_split_is_drawn_anew_with_each_seed_and_the_same_on_every_machine():
    labels = np.arange(20) % 3
    train, val, test = split(labels, (0.6, 0.2, 0.2), seed=7)
    assert train.tolist() == TRAIN
    assert val.tolist() == VAL
    assert test.tolist() == TEST
    assert [val.tolist() for _, val in folds(labels, 4, seed=7)] == FOLDS
    groups = np.arange(20) // 3
    assert [part.tolist() for part in split(labels, (0.6, 0.4), seed=7, groups=groups)] == GROUPED
    others = [tuple(split(labels, (0.6, 0.4), seed=seed)[0].tolist()) for seed in range(20)]
    assert len(set(others)) == 20


def test_each_sample_is_as_likely_in_a_part_as_its_share():
    labels = np.arange(40) % 4
    times = sum(np.bincount(split(labels, (0.75, 0.25), seed=seed)[1], minlength=40) for seed in range(600))
    assert abs(times / 600 - 0.25).max() < 0.08  # 4.5 standard deviations of a binomial share


@given(labels=LABELS, n_folds=st.integers(2, 8), seed=st.integers(0, 3))
def test_folds_hold_each_sample_once_and_differ_by_one_sample_of_each_class(labels, n_folds, seed):
    labels = np.array(labels)
    pairs = folds(labels, n_folds, seed=seed)
    assert len(pairs) == n_folds
    for train, val in pairs:
        assert sorted([*train, *val]) == list(range(len(labels)))
    assert sorted(np.concatenate([val for _, val in pairs]).tolist()) == list(range(len(labels)))
    for label in (*np.unique(labels), None):
        sizes = [len(val) if label is None else int((labels[val] == label).sum()) for _, val in pairs]
        assert max(sizes) - min(sizes) <= 1


@given(
    groups=st.lists(st.integers(0, 12), min_size=30, max_size=90),
    n_classes=st.integers(1, 4),
    seed=st.integers(0, 3),
    n_folds=st.integers(2, 4),
)
def test_groups_are_never_divided(groups, n_classes, seed, n_folds):
    groups = np.array([f"patient {number}" for number in groups])
    labels = np.arange(len(groups)) % n_classes
    n_groups = len(np.unique(groups))
    for make in (
        lambda: split(labels, (0.7, 0.3), groups=groups, seed=seed),
        lambda: [val for _, val in folds(labels, n_folds, groups=groups, seed=seed)],
    ):
        try:
            parts = make()
        except ValueError:
            assert n_groups < 13  # few groups, and unequal ones
            continue
        assert sorted(np.concatenate(parts).tolist()) == list(range(len(groups)))
        for a in range(len(parts)):
            for b in range(a):
                assert not set(groups[parts[a]]) & set(groups[parts[b]])


@given(
    groups=st.lists(st.integers(0, 9), min_size=12, max_size=60),
    n_classes=st.integers(1, 4),
    weights=PERCENT,
    seed=st.integers(0, 9),
)
def test_groups_are_placed_the_largest_first_where_the_squared_error_is_least(groups, n_classes, weights, seed):
    """The rule in fractions, one group after another: of all classes, and of all samples, relative to what a part should have."""
    groups = np.unique(groups, return_inverse=True)[1]
    classes = np.arange(len(groups)) * 7 // 3 % n_classes
    _, shares = shares_of(weights)
    order = np.random.default_rng(seed).permutation(groups.max() + 1)
    part_of = whole_groups(classes, groups, order, shares)
    kinds = [*range(n_classes), None]

    def count(members, kind):
        return sum(1 for k in members if kind is None or classes[k] == kind)

    everyone = range(len(groups))
    has = [[] for _ in shares]
    for group in sorted(order.tolist(), key=lambda group: -count(np.flatnonzero(groups == group), None)):
        members = np.flatnonzero(groups == group).tolist()
        errors = []
        for part, share in enumerate(shares):
            error = Fraction(0)
            for kind in kinds:
                wanted = share * count(everyone, kind)
                for samples, sign in (([*has[part], *members], 1), (has[part], -1)):
                    error += sign * (count(samples, kind) - wanted) ** 2 / wanted if wanted else 0
            errors.append(error)
        assert errors[part_of[group]] <= min(errors) + Fraction(1, 10**9)  # floats can't tell errors apart that are nearer
        has[part_of[group]] += members


@given(labels=LABELS, n_folds=st.integers(2, 8), seed=st.integers(-3, 3))
def test_folds_are_dealt_out_class_by_class_in_the_drawn_order(labels, n_folds, seed):
    drawn = permute(np.arange(len(labels)), len(labels), hashing.key(seed, -1, 1)).tolist()
    hand, wanted = 0, [[] for _ in range(n_folds)]
    for label in sorted(set(labels)):
        for sample in sorted((k for k, other in enumerate(labels) if other == label), key=lambda k: drawn[k]):
            wanted[hand % n_folds].append(sample)
            hand += 1
    assert [val.tolist() for _, val in folds(labels, n_folds, seed=seed)] == [sorted(fold) for fold in wanted]


def test_many_small_groups_meet_the_shares_of_every_class_closely():
    rng = np.random.default_rng(3)
    groups = rng.integers(0, 200, 3000)
    labels = (rng.random(200) < 0.2).astype(int)[groups]  # a group is of one class, as a patient often is
    for part, share in zip(split(labels, (0.8, 0.1, 0.1), groups=groups), (0.8, 0.1, 0.1), strict=True):
        for label in (0, 1):
            n_class, n_group = (labels == label).sum(), np.bincount(groups).max()
            assert abs((labels[part] == label).sum() - share * n_class) < n_group / 2


def test_labels_may_be_texts_rows_columns_whole_floats_bools_or_a_number_of_samples():
    numbers = np.arange(30) % 3
    wanted = [part.tolist() for part in split(numbers, (0.5, 0.5))]
    names = np.array(["ant", "bee", "cat"])[numbers]
    for labels in (names, names.astype(object), names.astype("S"), numbers[:, None], numbers.astype(float), numbers.tolist()):
        assert [part.tolist() for part in split(labels, (0.5, 0.5))] == wanted
    rows = np.eye(3)[:, ::-1][numbers]  # rows sort the other way round than columns of ones
    assert [part.tolist() for part in split(rows, (0.5, 0.5))] == wanted
    assert len(split(numbers > 0, (0.5, 0.5))[0]) == 15
    assert [part.tolist() for part in split(30, (0.5, 0.5))] == [part.tolist() for part in split(np.zeros(30), (0.5, 0.5))]
    measured = np.linspace(0, 1, 30)
    assert [part.tolist() for part in split(measured, (0.5, 0.5), stratify=numbers)] == wanted
    assert len(split(measured, (0.5, 0.5), stratify=False)[0]) == 15


def test_a_class_that_is_too_small_for_every_part_is_reported(caplog):
    with caplog.at_level(logging.WARNING):
        split([0] * 20 + [1], (0.8, 0.2))
    assert "split: some of the 2 classes have too few samples, or groups, for every part: part 1 lacks 1" in caplog.text


def test_a_class_that_is_too_small_for_every_fold_is_reported(caplog):
    with caplog.at_level(logging.WARNING):
        folds([0] * 20 + [1] * 3, 3)
        folds(23, 5)
        assert caplog.text == ""
        pairs = folds([0] * 20 + [1, 1], 3, seed=7)
    number = next(k for k, (_, val) in enumerate(pairs) if not set(val) & {20, 21})
    assert f"folds: some of the 2 classes have too few samples, or groups, for every fold: fold {number} lacks 1" in caplog.text
    folds(np.arange(20) % 4, 20)
    assert caplog.messages[-1].endswith("fold 7 lacks 3, ...")


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: split([0, 1] * 5, (0.8, 0.3)), r"must be two numbers above 0 or more, which add up to 1, got \(0.8, 0.3\)"),
        (lambda: split([0, 1] * 5, (1.0,)), "shares must be two numbers"),
        (lambda: split([0, 1] * 5, (1.0, 0.0)), "shares must be two numbers above 0"),
        (lambda: split([0, 1] * 5, 0.2), "shares must be two numbers"),
        (lambda: split([0, 1, 1], (0.9, 0.05, 0.05)), "leave a sample for each part, but 0.05 of 3 samples is none"),
        (lambda: split(np.linspace(0, 1, 9), (0.5, 0.5)), r"labels must be classes .* found float64 \(9,\) that are not whole"),
        (lambda: split(np.zeros((9, 4, 4)), (0.5, 0.5)), r"found float64 \(9, 4, 4\); pass stratify=False"),
        (lambda: split([], (0.5, 0.5)), "an entry for each sample"),
        (lambda: split(None, (0.5, 0.5)), "split needs labels"),
        (lambda: split((np.zeros(9), np.ones(9)), (0.5, 0.5)), "labels must be those of one output, got 2 outputs: pass one"),
        (lambda: split([np.zeros(9), np.ones(9)], (0.5, 0.5)), "labels must be those of one output, got 2 outputs: pass one"),
        (lambda: folds([np.zeros(9), [1] * 9], 2), r"got 2 outputs: pass one of them to folds, or rows .* numpy\.stack"),
        (lambda: split([0, np.inf] * 5, (0.5, 0.5)), r"found float64 \(10,\) that are not whole numbers; pass stratify=False"),
        (lambda: split([0, np.nan] * 5, (0.5, 0.5)), "that are not whole numbers"),
        (
            lambda: split([0, 1] * 5, (0.5, 0.5), groups=[0, -np.inf] * 5),
            "that are not whole numbers; number or name",
        ),
        (lambda: folds({"a": np.zeros(9)}, 3), "labels must be those of one output, got 1 outputs"),
        (lambda: split([0, 1] * 5, (0.5, 0.5), groups=[1, 2]), r"must be one for each of the 10 samples, got shape \(2,\)"),
        (lambda: split([0, 1] * 5, (0.5, 0.5), stratify=[1, 2]), r"stratify must be True, False, or a class for each of the 10"),
        (lambda: split([0, 1] * 5, (0.5, 0.5), groups=[1] * 10), "0.5 of 10 samples in 1 groups is none"),
        (lambda: split([0, 1] * 5, (0.5, 0.5), seed=0.5), "seed must be an integer, got 0.5"),
        (lambda: folds([0, 1] * 5, 1), "n_folds must be an integer of at least 2, got 1"),
        (lambda: folds([0, 1] * 5, 11), "n_folds must be at most the number of samples, 10, got 11"),
        (lambda: folds([0, 1] * 5, 3, groups=[0, 1] * 5), "n_folds must be at most the number of groups, 2, got 3"),
    ],
)
def test_wrong_arguments_say_the_rule_and_what_was_found(call, text):
    with pytest.raises(ValueError, match=text):
        call()
