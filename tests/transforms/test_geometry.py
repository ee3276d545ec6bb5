"""Crops that turn and resize: tables that lie inside images, the eight symmetries, and the pixels of Pillow."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import fastprep
from fastprep.kernels import WarpSpec, warp
from fastprep.transforms import FLIPPED, MIRRORED, TRANSPOSED, rows_of

SAMPLES = np.arange(4000)
SIDES = st.integers(1, 12) | st.integers(1, 700)
SIZES = SIDES | st.tuples(SIDES, SIDES)


def test_turned_crops_are_the_eight_symmetries_alike(rng):
    images = rng.integers(0, 256, (1, 7, 7, 3), dtype=np.uint8)
    crop = fastprep.RandomCrop(7, mirror=True, turn=True)
    made = warp(images, crop.rows(7, 7, np.array([0]), seed=0, epoch=0), (7, 7))[0]
    symmetries = [np.rot90(side, k) for k in range(4) for side in (images[0], np.fliplr(images[0]))]
    assert sum(np.array_equal(made, one) for one in symmetries) == 1

    flags = crop.table(7, 7, SAMPLES, seed=3, epoch=1)[:, 3]
    counts = np.bincount(flags, minlength=8)
    expected = len(SAMPLES) / 8
    # chi-square with 7 degrees of freedom exceeds 30 with probability 1e-4; seed and samples are fixed
    assert len(counts) == 8
    assert ((counts - expected) ** 2 / expected).sum() < 30


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("flip", [False, True])
def test_turns_come_before_mirroring_and_flipping(mirror, flip, rng):
    """By the numbers of quarters that each flag stands for, as numpy.rot90 counts them."""
    image = rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)
    crop = fastprep.RandomCrop(4, mirror=mirror, flip=flip, turn=True)
    plain = fastprep.RandomCrop(4, mirror=mirror, flip=flip)
    samples = np.arange(64)
    table, before = crop.table(6, 9, samples, 5, 2), plain.table(6, 9, samples, 5, 2)
    np.testing.assert_array_equal(table[:, :3], before[:, :3])
    rows = crop.rows(6, 9, samples, 5, 2)
    made = warp(np.tile(image, (len(samples), 1, 1, 1)), rows, (4, 4))
    found = set()
    for k, (_, y, x, flags) in enumerate(before):
        part = image[y : y + 4, x : x + 4]
        ways = []
        for quarter in range(4):
            turned = np.rot90(part, quarter)
            turned = turned[:, ::-1] if flags & MIRRORED else turned
            ways.append(turned[::-1] if flags & FLIPPED else turned)
        matches = [quarter for quarter in range(4) if np.array_equal(made[k], ways[quarter])]
        assert len(matches) == 1
        found.add(matches[0])
    assert found == {0, 1, 2, 3}


def test_a_crop_that_does_not_turn_has_no_transposed_row():
    flags = fastprep.RandomCrop(3, mirror=True, flip=True).table(8, 8, SAMPLES, 0, 0)[:, 3]
    assert not (flags & TRANSPOSED).any()


def test_only_square_crops_are_turned():
    for kind in (fastprep.RandomCrop, fastprep.RandomResizedCrop):
        with pytest.raises(ValueError, match="turn=True needs square crops, got 3x4"):
            kind((3, 4), turn=True)


def test_draws_of_turned_and_resized_crops_stay_what_they_were():
    """A change here changes every user's epochs: it needs a line in the changelog."""
    samples = np.array([0, 1, 2, 1_000_000_000_000])
    turned = fastprep.RandomCrop(227, mirror=True, flip=True, turn=True).table(256, 256, samples, seed=7, epoch=3)
    assert turned.tolist() == [[0, 2, 17, 6], [1, 3, 17, 0], [2, 2, 3, 0], [3, 24, 20, 1]]
    resized = fastprep.RandomCrop(224, mirror=True, resize=256).rows(300, 400, samples, seed=7, epoch=3)
    assert resized.crops.tolist() == [[0, 0, 0, 1], [1, 0, 0, 1], [2, 0, 0, 0], [3, 0, 0, 0]]
    places = [[2, 70], [4, 70], [2, 14], [27, 80]]  # in the resized images, of 256x341 pixels
    np.testing.assert_allclose(resized.boxes[:, :2], np.array(places) * [300 / 256, 400 / 341], rtol=1e-15)
    np.testing.assert_allclose(resized.boxes[:, 2:], np.tile([224 * 300 / 256, 224 * 400 / 341], (4, 1)), rtol=1e-15)


def crops_of_resized_images(size, resize):
    yield fastprep.CenterCrop(size, resize=resize)
    yield fastprep.CenterCrop(size, resize=resize, order="torchvision")
    yield fastprep.TenCrop(size, resize=resize)
    yield fastprep.TenCrop(size, resize=resize, order="torchvision")
    yield fastprep.RandomCrop(size, resize=resize, mirror=True, flip=True, turn=isinstance(size, int))


@settings(max_examples=150)
@given(height=SIDES, width=SIDES, size=SIZES, resize=SIZES, seed=st.integers(0, 2**40))
def test_every_box_lies_inside_the_image(height, width, size, resize, seed):
    samples = np.array([seed, 0, 7])
    sides = (size, size) if isinstance(size, int) else size
    whole = fastprep.Resize(resize).fitted(height, width)
    for crop in [*crops_of_resized_images(size, resize), whole, fastprep.RandomResizedCrop(size, (1e-6, 1))]:
        if hasattr(crop, "resize") and any(side > limit for side, limit in zip(sides, whole.height_width, strict=True)):
            with pytest.raises(ValueError, match=r"crop is larger than the (resized )?image"):
                crop.rows(height, width, samples, seed, epoch=1)
            continue
        rows = crop.rows(height, width, samples, seed, epoch=1)
        spec = WarpSpec((height, width, 3), "uint8", crop.height_width, geometry=crop.geometry(height, width))
        assert spec.checked(rows, n_slots=3).geometry == rows.geometry == spec.geometry
        assert len(rows) == 3 * crop.n_crops


def pillow(image, size):
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))


@pytest.mark.parametrize(
    ("shape", "size", "resize", "resized"),
    [
        ((40, 53), 21, 28, (28, 37)),
        ((53, 40), (19, 23), 28, (37, 28)),
        ((37, 37), 24, (29, 33), (29, 33)),
        ((17, 23), (30, 41), (35, 50), (35, 50)),  # larger than the image
        ((1, 5), 3, 3, (3, 15)),
    ],
)
def test_crops_of_resized_images_are_those_of_pillow(shape, size, resize, resized, rng):
    images = rng.integers(0, 256, (3, *shape, 3), dtype=np.uint8)
    whole = np.stack([pillow(image, resized) for image in images]).astype(np.float32)
    for crop in crops_of_resized_images(size, resize):
        rows = crop.rows(*shape, np.arange(3), seed=4, epoch=2)
        made = warp(images, rows, crop.height_width)
        h, w = crop.height_width
        table = crop.table(*resized, np.arange(3), seed=4, epoch=2)
        assert len(made) == len(table) == 3 * crop.n_crops
        for out, (slot, y, x, flags) in zip(made, table, strict=True):
            part = whole[slot, y : y + h, x : x + w]
            part = part.transpose(1, 0, 2) if flags & TRANSPOSED else part
            part = part[::-1] if flags & FLIPPED else part
            part = part[:, ::-1] if flags & MIRRORED else part
            assert np.abs(out - part).max() <= 1


def test_ten_crops_of_resized_images_are_those_of_torchvision(rng):
    v2 = pytest.importorskip("torchvision.transforms.v2")
    image = rng.integers(0, 256, (50, 71, 3), dtype=np.uint8)
    wanted = v2.Compose([v2.Resize(32), v2.TenCrop(22)])(Image.fromarray(image))
    crop = fastprep.TenCrop(22, resize=32, order="torchvision")
    made = warp(image[None], crop.rows(50, 71, np.array([0]), seed=0, epoch=0), (22, 22))
    for ours, theirs in zip(made, wanted, strict=True):
        assert np.abs(ours - np.asarray(theirs)).max() <= 1


def test_images_that_have_the_resized_size_are_cut_out_with_the_bits_of_today():
    for crop in crops_of_resized_images(9, 12):
        rows = crop.rows(12, 12, np.arange(5), seed=1, epoch=0)
        assert rows.boxes is None
        assert crop.geometry(12, 12) == "crop"
        np.testing.assert_array_equal(rows.crops, crop.table(12, 12, np.arange(5), seed=1, epoch=0))


def test_crops_that_know_nothing_of_turns_and_sizes_have_the_text_of_saved_states():
    assert repr(fastprep.RandomCrop(227)) == "RandomCrop(size=(227, 227), mirror=False, flip=False)"
    assert repr(fastprep.RandomCrop((3, 4), mirror=True)) == "RandomCrop(size=(3, 4), mirror=True, flip=False)"
    assert repr(fastprep.CenterCrop(227)) == "CenterCrop(size=(227, 227), order='tutorial')"
    assert repr(fastprep.TenCrop(5, order="torchvision")) == "TenCrop(size=(5, 5), order='torchvision')"


@pytest.mark.parametrize(
    ("crop", "text"),
    [
        (fastprep.RandomCrop(3, turn=True), "RandomCrop(size=(3, 3), mirror=False, flip=False, turn=True)"),
        (fastprep.RandomCrop(3, resize=9), "RandomCrop(size=(3, 3), mirror=False, flip=False, resize=9)"),
        (fastprep.CenterCrop(3, resize=[9, 8]), "CenterCrop(size=(3, 3), order='tutorial', resize=(9, 8))"),
        (fastprep.TenCrop(3, resize=9), "TenCrop(size=(3, 3), order='tutorial', resize=9)"),
    ],
)
def test_a_text_says_all_of_a_crop_and_makes_it_anew(crop, text):
    assert repr(crop) == text
    again = eval(text, {name: getattr(fastprep, name) for name in ("RandomCrop", "CenterCrop", "TenCrop")})
    assert again == crop == pickle.loads(pickle.dumps(crop))
    assert hash(again) == hash(crop)
    assert crop != type(crop)(3)
    assert crop != type(crop)(3, resize=10)


@pytest.mark.parametrize("kind", [fastprep.RandomCrop, fastprep.CenterCrop, fastprep.TenCrop])
def test_refusals(kind):
    for resize in (0, -1, (3, 0), (1, 2, 3), True, 2.5, "256"):
        with pytest.raises(ValueError, match=r"resize must be a positive integer or \(height, width\), got"):
            kind(3, resize=resize)
    with pytest.raises(ValueError, match="crop is larger than the resized image: 9x9 from 8x12 pixels"):
        kind(9, resize=8).rows(40, 60, np.arange(3), 0, 0)


def test_a_crop_of_a_users_own_needs_none_of_this():
    class Corner:
        height_width, n_crops = (2, 3), 1

        def table(self, height, width, samples, seed, epoch):
            return np.array([[k, 0, 0, 0] for k in range(len(samples))], np.int32)

    rows = rows_of(Corner(), 8, 9, np.arange(4), 0, 0)
    assert rows.geometry == "crop"
    assert rows.crops.tolist() == [[k, 0, 0, 0] for k in range(4)]
