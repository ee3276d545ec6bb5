"""Crop tables: the positions of the oracle, draws that depend only on (seed, epoch, sample), and clear refusals."""

import numpy as np
import pytest
import reference

import fastprep
from fastprep.transforms import FLIPPED, MIRRORED

SAMPLES = np.arange(4000)


@pytest.mark.parametrize("order", ["tutorial", "torchvision"])
@pytest.mark.parametrize(
    ("height", "width", "h", "w"), [(256, 256, 227, 227), (9, 8, 4, 5), (7, 7, 7, 7), (10, 13, 3, 6), (6, 5, 1, 1)]
)
def test_ten_crop_and_center_crop_cut_what_the_oracle_cuts(order, height, width, h, w, rng):
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    table = fastprep.TenCrop((h, w), order=order).table(height, width, np.array([5, 9]), seed=0, epoch=0)
    assert table.dtype == np.int32
    assert table[:, 0].tolist() == [0] * 10 + [1] * 10
    wanted = np.asarray(reference.ten_crop(image, (h, w), order))
    np.testing.assert_array_equal(reference.crop(np.stack([image, image]), table, (h, w)), np.concatenate([wanted, wanted]))
    center = fastprep.CenterCrop((h, w), order=order).table(height, width, np.array([5]), seed=0, epoch=0)
    place = (reference.center_offset(height, h, order), reference.center_offset(width, w, order))
    assert center.tolist() == [[0, *place, 0]]


def test_ten_crop_orders_differ_where_the_issue_is_227_of_256():
    tables = [fastprep.TenCrop(227, order=o).table(256, 256, np.array([0]), 0, 0) for o in ("tutorial", "torchvision")]
    assert not np.array_equal(*tables)


def test_random_crop_reaches_every_place_equally_often():
    table = fastprep.RandomCrop((5, 4), mirror=True, flip=True).table(8, 9, SAMPLES, seed=3, epoch=1)
    assert np.array_equal(table[:, 0], SAMPLES)
    for column, n_values in ((1, 4), (2, 6), (3, 4)):
        counts = np.bincount(table[:, column], minlength=n_values)
        expected = len(SAMPLES) / n_values
        # chi-square with at most 5 degrees of freedom exceeds 25 with probability 1.4e-4; seed and samples are fixed
        assert len(counts) == n_values
        assert ((counts - expected) ** 2 / expected).sum() < 25
    assert abs(np.corrcoef(table[:, 1], table[:, 2])[0, 1]) < 0.05


@pytest.mark.parametrize(("options", "flags"), [({}, {0}), ({"mirror": True}, {0, MIRRORED}), ({"flip": True}, {0, FLIPPED})])
def test_random_crop_turns_only_as_asked(options, flags):
    table = fastprep.RandomCrop(3, **options).table(8, 8, SAMPLES[:100], seed=0, epoch=0)
    assert set(table[:, 3].tolist()) == flags


def test_a_draw_depends_on_seed_epoch_and_sample_only():
    crop = fastprep.RandomCrop(20, mirror=True)
    whole = crop.table(64, 64, SAMPLES, seed=7, epoch=2)[:, 1:]
    shuffled = np.random.default_rng(0).permutation(SAMPLES)
    np.testing.assert_array_equal(crop.table(64, 64, shuffled, seed=7, epoch=2)[:, 1:], whole[shuffled])
    np.testing.assert_array_equal(crop.table(64, 64, SAMPLES[17:18], seed=7, epoch=2)[:, 1:], whole[17:18])
    for seed, epoch in ((8, 2), (7, 3), (2, 7)):
        same = (crop.table(64, 64, SAMPLES, seed, epoch)[:, 1:] == whole).all(axis=1).mean()
        assert same < 0.01


def test_draws_stay_what_they_were_in_the_first_release():
    """A change here changes every user's epochs: it needs a line in the changelog."""
    table = fastprep.RandomCrop(227, mirror=True, flip=True).table(
        256, 256, np.array([0, 1, 2, 1_000_000_000_000]), seed=7, epoch=3
    )
    assert table.tolist() == [[0, 2, 17, 3], [1, 3, 17, 3], [2, 2, 3, 0], [3, 24, 20, 2]]


@pytest.mark.parametrize("kind", [fastprep.RandomCrop, fastprep.CenterCrop, fastprep.TenCrop])
def test_refusals(kind):
    with pytest.raises(ValueError, match="crop is larger than the image: 9x9 from 8x12 pixels"):
        kind(9).table(8, 12, SAMPLES, 0, 0)
    for size in (0, -1, (3, 0), (1, 2, 3), True, 2.5):
        with pytest.raises(ValueError, match=r"size must be a positive integer or \(height, width\), got"):
            kind(size)
    if kind is not fastprep.RandomCrop:
        with pytest.raises(ValueError, match='order must be "tutorial" or "torchvision"'):
            kind(3, order="keras")
