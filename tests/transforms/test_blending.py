"""MixUp and CutMix: shares of the beta distribution, rectangles as in the paper, and draws by (seed, epoch, sample) alone."""

import math

import numpy as np
import pytest

import fastprep
from fastprep.transforms import CutMix, MixUp, MixUpOrCutMix
from fastprep.transforms.draws import Draws, Stream

SAMPLES = np.arange(4000)
EVERY = [MixUp(0.3), CutMix(), MixUpOrCutMix()]


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5, 1, 2, 30])
def test_shares_have_the_beta_distribution(alpha):
    drawn = np.sort(Draws(SAMPLES, 3, 1).symmetric_beta(Stream.MIXED_SHARE, alpha))
    np.testing.assert_array_equal(drawn * 2**16, np.rint(drawn * 2**16))
    assert (drawn >= 0).all()
    assert (drawn <= 1).all()
    theirs = np.rint(np.sort(np.random.default_rng(1).beta(alpha, alpha, 100_000)) * 2**16) / 2**16
    edges = np.union1d(drawn, theirs)
    distance = np.abs(
        np.searchsorted(drawn, edges, "right") / len(drawn) - np.searchsorted(theirs, edges, "right") / len(theirs)
    ).max()
    # Kolmogorov and Smirnov for two samples: larger with probability 1e-3; seeds and samples are fixed
    assert distance < 1.95 * math.sqrt(1 / len(drawn) + 1 / len(theirs))
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(drawn.mean() - 0.5) < 4 * math.sqrt(variance / len(drawn))
    assert abs(drawn.var() / variance - 1) < 0.1


def test_mixup_has_shares_and_no_rectangles():
    table = MixUp(0.4, p=0.7).table(SAMPLES, 3, 1, 20, 30)
    assert (table.weights.dtype, table.rectangles.dtype) == (np.float32, np.int32)
    assert not table.rectangles.any()
    assert abs((table.weights < 1).mean() - 0.7) < 0.03


def paper_box(share, center_y, center_x, height, width):
    """Return y, x, height and width as the paper's program finds them, for one image."""
    ratio = math.sqrt(1 - share)
    cut_w, cut_h = int(width * ratio), int(height * ratio)
    left, right = max(center_x - cut_w // 2, 0), min(center_x + cut_w // 2, width)
    top, bottom = max(center_y - cut_h // 2, 0), min(center_y + cut_h // 2, height)
    return [top, left, bottom - top, right - left]


def test_cutmix_cuts_as_the_papers_program_and_weighs_by_the_area_that_is_left():
    numbers, height, width = SAMPLES[:500], 20, 31
    table, draws = CutMix(0.7).table(numbers, 3, 1, height, width), Draws(numbers, 3, 1)
    shares = draws.symmetric_beta(Stream.CUT_SHARE, 0.7)
    centers = draws.integers(Stream.CUT_Y, height), draws.integers(Stream.CUT_X, width)
    for k, (share, y, x) in enumerate(zip(shares.tolist(), *centers, strict=True)):
        box = paper_box(share, int(y), int(x), height, width)
        box = box if box[2] and box[3] else [0, 0, 0, 0]
        assert table.rectangles[k].tolist() == box
        assert table.weights[k] == np.float32(1 - box[2] * box[3] / (height * width))
    assert len(np.unique(centers[0])) == height
    assert len(np.unique(centers[1])) == width
    assert {0, height} <= set(table.rectangles[:, 0] + table.rectangles[:, 2])


def test_as_many_are_cut_and_switched_as_asked():
    assert abs((CutMix(30, p=0.3).table(SAMPLES, 3, 1, 40, 40).rectangles[:, 2] > 0).mean() - 0.3) < 0.03
    both = MixUpOrCutMix(MixUp(30), CutMix(30), switch_p=0.2).table(SAMPLES, 3, 1, 40, 40)
    is_cut = both.rectangles[:, 2] > 0
    assert abs(is_cut.mean() - 0.2) < 0.03
    np.testing.assert_array_equal(both.weights[~is_cut], MixUp(30).table(SAMPLES, 3, 1, 40, 40).weights[~is_cut])
    np.testing.assert_array_equal(both.rectangles[is_cut], CutMix(30).table(SAMPLES, 3, 1, 40, 40).rectangles[is_cut])


@pytest.mark.parametrize("blend", EVERY, ids=repr)
def test_the_middle_of_an_odd_batch_stays_as_it_is(blend):
    for n in (1, 7):
        table = blend.table(SAMPLES[100 : 100 + n], 3, 1, 40, 40)
        assert table.weights[n // 2] == 1
        assert not table.rectangles[n // 2].any()


@pytest.mark.parametrize("blend", EVERY, ids=repr)
def test_a_draw_depends_on_seed_epoch_and_sample_only(blend):
    def rows(numbers, seed, epoch):
        table = blend.table(numbers, seed, epoch, 40, 30)
        return np.concatenate([table.weights[:, None], table.rectangles], axis=1)

    whole = rows(SAMPLES, 7, 2)
    shuffled = np.random.default_rng(0).permutation(SAMPLES)
    np.testing.assert_array_equal(rows(shuffled, 7, 2), whole[shuffled])
    np.testing.assert_array_equal(rows(SAMPLES[17:19], 7, 2), whole[17:19])
    for seed, epoch in ((8, 2), (7, 3), (2, 7)):
        assert (rows(SAMPLES, seed, epoch) == whole).all(axis=1).mean() < 0.1


PINNED = {
    "rectangles": [[0, 0, 0, 0], [13, 4, 51, 42], [43, 20, 21, 28], [0, 0, 0, 0]],
    "weights": [0.0067596435546875, 0.302734375, 0.80859375, 0.6682281494140625],
}


def test_draws_stay_what_they_are():
    """A change here changes every user's epochs: it needs a line in the changelog."""
    table = MixUpOrCutMix(MixUp(0.8), CutMix(), 0.5).table(np.array([0, 1, 2, 1_000_000_000_000]), 7, 3, 64, 48)
    assert table.rectangles.tolist() == PINNED["rectangles"]
    assert table.weights.tolist() == PINNED["weights"]


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: MixUp(0), "alpha must be a number above 0, got 0"),
        (lambda: CutMix(math.inf), "alpha must be a number above 0"),
        (lambda: MixUp(p=-0.1), "p must be a probability"),
        (lambda: CutMix(p=True), "p must be a probability"),
        (lambda: MixUpOrCutMix(switch_p=3), "switch_p must be a probability"),
        (lambda: MixUpOrCutMix(0.8, 1.0), "mixup must be a MixUp, got 0.8"),
    ],
)
def test_refusals(make, problem):
    with pytest.raises(ValueError, match=problem):
        make()


def test_the_names_are_public():
    assert fastprep.MixUp is MixUp
    assert fastprep.CutMix is CutMix
    assert fastprep.MixUpOrCutMix is MixUpOrCutMix
