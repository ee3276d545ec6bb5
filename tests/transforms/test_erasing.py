"""Erased rectangles: distributed as those of torchvision, inside the image, and drawn by (seed, epoch, sample) alone."""

import math

import numpy as np
import pytest

import fastprep

SAMPLES = np.arange(4000)


def torchvision_sides(height, width, scale, ratio, rng):
    """Return height and width of a rectangle as ``RandomErasing.get_params`` draws them; (0, 0) for none."""
    for _ in range(10):
        area = height * width * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if h < height and w < width:
            return h, w
    return 0, 0


@pytest.mark.parametrize(
    ("height", "width", "options"),
    [(60, 40, {}), (33, 65, {"scale": (0.3, 1.0), "ratio": (0.1, 2.0)}), (8, 8, {"scale": (0.9, 1.0), "ratio": (0.9, 1.1)})],
)
def test_rectangles_are_distributed_as_torchvisions(height, width, options):
    erasing, rng = fastprep.RandomErasing(p=1, **options), np.random.default_rng(5)
    rectangles = erasing.rectangles(height, width, SAMPLES, 3, 1)
    assert rectangles.dtype == np.int32
    theirs = np.array([torchvision_sides(height, width, erasing.scale, erasing.ratio, rng) for _ in SAMPLES])
    for column, most in enumerate((height, width)):
        ours = np.bincount(rectangles[:, 2 + column], minlength=most + 1)
        wanted = np.bincount(theirs[:, column], minlength=most + 1)
        # Kolmogorov and Smirnov for two samples: larger with probability 1e-3; seeds and samples are fixed
        assert np.abs(np.cumsum(ours - wanted)).max() / len(SAMPLES) < 1.95 * math.sqrt(2 / len(SAMPLES))
        starts, sides = rectangles[:, column], rectangles[:, 2 + column]
        assert (starts >= 0).all()
        assert (starts + sides <= most).all()
        places = ((starts + 0.5) / (most - sides + 1))[sides > 0]  # uniform in 0..1 but for whole pixels
        assert abs((places - 0.5).sum()) <= 4 * math.sqrt(len(places) / 12)


def test_as_many_are_erased_as_asked():
    for p in (0, 0.3, 1):
        rectangles = fastprep.RandomErasing(p).rectangles(64, 64, SAMPLES, 3, 1)
        assert abs((rectangles[:, 2] > 0).mean() - p) < 0.03
        assert not rectangles[rectangles[:, 2] == 0].any()


def test_a_draw_depends_on_seed_epoch_and_sample_only():
    erasing = fastprep.RandomErasing()
    whole = erasing.rectangles(64, 48, SAMPLES, 7, 2)
    shuffled = np.random.default_rng(0).permutation(SAMPLES)
    np.testing.assert_array_equal(erasing.rectangles(64, 48, shuffled, 7, 2), whole[shuffled])
    np.testing.assert_array_equal(erasing.rectangles(64, 48, SAMPLES[17:18], 7, 2), whole[17:18])
    for seed, epoch in ((8, 2), (7, 3), (2, 7)):
        assert (erasing.rectangles(64, 48, SAMPLES, seed, epoch) == whole).all(axis=1).mean() < 0.3


PINNED = [[42, 10, 18, 34], [52, 22, 6, 16], [15, 20, 19, 21]]


def test_draws_stay_what_they_are():
    """A change here changes every user's epochs: it needs a line in the changelog."""
    rectangles = fastprep.RandomErasing(p=1).rectangles(64, 48, np.array([0, 1, 1_000_000_000_000]), 7, 3)
    assert rectangles.tolist() == PINNED


def test_values_are_kept_as_numbers():
    assert fastprep.RandomErasing(value=[1, 2, 3]) == fastprep.RandomErasing(value=np.array([1.0, 2, 3]))
    assert fastprep.RandomErasing(value=7).value == 7


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"p": 1.5}, "p must be a probability"),
        ({"scale": (0.5, 2)}, "scale must be positive and ascending, at most 1"),
        ({"ratio": (0, 1)}, "ratio must be positive and ascending"),
        ({"value": math.inf}, "value must be a finite number, or one for each channel, got inf"),
        ({"value": "random"}, "value must be a finite number"),
        ({"value": ()}, "value must be a finite number"),
    ],
)
def test_refusals(options, problem):
    with pytest.raises(ValueError, match=problem):
        fastprep.RandomErasing(**options)
