"""Calibration, against its definition in its most obvious form."""

import numpy as np
import pytest

from fastprep.evaluation.calibration import calibration


def obvious(probabilities, right, n_bins):
    error, bins = 0.0, []
    for k in range(n_bins):
        low, high = k / n_bins, (k + 1) / n_bins
        inside = [i for i, p in enumerate(probabilities) if low < p <= high or (k == 0 and p == 0)]
        claimed = np.mean([probabilities[i] for i in inside]) if inside else 0.0
        share = np.mean([right[i] for i in inside]) if inside else 0.0
        error += len(inside) / len(probabilities) * abs(claimed - share)
        bins.append((len(inside), claimed, share))
    return error, bins


@pytest.mark.parametrize("n_bins", [1, 10, 15])
def test_the_error_is_that_of_its_definition(rng, monkeypatch, n_bins):
    monkeypatch.setattr("fastprep.evaluation.calibration._AT_ONCE", 100)
    probabilities = np.concatenate([rng.random(300), np.arange(n_bins + 1) / n_bins])  # the edges of the bins as well
    right = rng.random(len(probabilities)) < probabilities**2
    found = calibration(probabilities, right, n_bins)
    error, bins = obvious(probabilities.tolist(), right.tolist(), n_bins)
    assert found.error == pytest.approx(error)
    assert [each.n for each in found.bins] == [n for n, _, _ in bins]
    np.testing.assert_allclose([each.claimed for each in found.bins], [claimed for _, claimed, _ in bins])
    np.testing.assert_allclose([each.right for each in found.bins], [share for _, _, share in bins])


def test_what_is_as_often_right_as_it_claims_has_no_error():
    assert calibration(np.full(4, 0.75), np.array([True, True, True, False])).error == 0
    assert calibration(np.ones(4), np.zeros(4, bool)).error == 1
