"""Resized images and random parts of them: whole images as Pillow resizes them, parts distributed as torchvision's."""

import math
import pickle

import numpy as np
import pytest
from PIL import Image

import fastprep
from fastprep.kernels import warp
from fastprep.transforms import FLIPPED, MIRRORED, TRANSPOSED

SAMPLES = np.arange(20_000)
KINDS = [
    fastprep.RandomResizedCrop(24, mirror=True, flip=True, turn=True),
    fastprep.RandomCrop(24, mirror=True, turn=True, resize=30),
    fastprep.CenterCrop(24, resize=30),
    fastprep.TenCrop(24, resize=30),
    fastprep.Resize((24, 31)),
    fastprep.RandomAffine(24, 40, (0.1, 0.2), (0.5, 2), (-10, 10, -5, 5), mirror=True, flip=True),
]


@pytest.mark.parametrize("crop", KINDS, ids=repr)
def test_a_row_depends_on_seed_epoch_and_sample_only(crop):
    def values(samples, seed=7, epoch=2):
        rows = crop.rows(50, 64, samples, seed, epoch)
        places = rows.boxes if rows.matrices is None else rows.matrices.reshape(-1, 6)
        slots, rest = rows.crops[:, 0], rows.crops[:, 1:]
        assert np.array_equal(slots, np.arange(len(samples)).repeat(crop.n_crops))
        return np.concatenate([rest, places], axis=1).reshape(len(samples), -1)

    samples = np.arange(3000)
    whole = values(samples)
    order = np.random.default_rng(0).permutation(samples)
    np.testing.assert_array_equal(values(order), whole[order])
    np.testing.assert_array_equal(values(order[:211]), whole[order[:211]])
    np.testing.assert_array_equal(values(np.array([17, 17, 17])), whole[[17, 17, 17]])
    is_random = getattr(crop, "is_random", False)
    for seed, epoch in ((8, 2), (7, 3), (2, 7)):
        same = (values(samples, seed, epoch) == whole).all(axis=1).mean()
        assert same < 0.01 if is_random else same == 1


def test_draws_stay_what_they_were():
    """A change here changes every user's epochs: it needs a line in the changelog."""
    samples = np.array([0, 1, 2, 1_000_000_000_000])
    rows = fastprep.RandomResizedCrop(224, mirror=True, turn=True).rows(300, 400, samples, seed=7, epoch=3)
    assert rows.crops.tolist() == [[0, 0, 0, 4], [1, 0, 0, 2], [2, 0, 0, 0], [3, 0, 0, 3]]
    assert rows.boxes.tolist() == [[52, 143, 241, 212], [36, 56, 207, 170], [130, 28, 106, 96], [18, 115, 278, 258]]


def drawn_by_numpy(rng, height, width, scale, ratio, n):
    """Return y, x, height and width of parts: what torchvision documents of get_params, with another generator."""
    boxes = []
    for _ in range(n):
        for _ in range(10):
            area = height * width * rng.uniform(*scale)
            aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < w <= width and 0 < h <= height:
                boxes.append((rng.integers(0, height - h, endpoint=True), rng.integers(0, width - w, endpoint=True), h, w))
                break
        else:
            w, h = width, height
            if width / height < ratio[0]:
                h = round(width / ratio[0])
            elif width / height > ratio[1]:
                w = round(height * ratio[1])
            boxes.append(((height - h) // 2, (width - w) // 2, h, w))
    return np.array(boxes)


def drawn_by_torchvision(height, width, scale, ratio, n):
    torch = pytest.importorskip("torch")
    transforms = pytest.importorskip("torchvision.transforms")
    torch.manual_seed(0)
    image = torch.empty(3, height, width)
    return np.array([transforms.RandomResizedCrop.get_params(image, scale, ratio) for _ in range(n)])


def largest_distance(ours, theirs):
    """Return the statistic of Kolmogorov and Smirnov of two samples, as a multiple of its scale."""
    values = np.concatenate([ours, theirs])
    shares = [np.searchsorted(np.sort(sample), values, side="right") / len(sample) for sample in (ours, theirs)]
    return np.abs(shares[0] - shares[1]).max() / math.sqrt(1 / len(ours) + 1 / len(theirs))


CASES = [
    (300, 400, (0.08, 1.0), (3 / 4, 4 / 3)),
    (64, 64, (0.5, 1.0), (0.5, 2.0)),
    (40, 200, (0.2, 1.0), (3 / 4, 4 / 3)),  # the last resort for most
    (90, 60, (0.3, 1.0), (0.8, 1.0)),  # and for some
]


def compare_distributions(boxes, wanted, height, width):
    """The probability that one of these distances is above 2 is 0.0007; seeds are fixed."""

    def statistics(found):
        y, x, h, w = found.astype(float).T
        yield h * w / (height * width)
        yield w / h
        yield y
        yield x
        yield y / np.maximum(height - h, 1)
        yield x / np.maximum(width - w, 1)

    for ours, theirs in zip(statistics(boxes), statistics(wanted), strict=True):
        assert largest_distance(ours, theirs) < 2


@pytest.mark.parametrize(("height", "width", "scale", "ratio"), CASES)
def test_parts_are_distributed_as_a_plain_statement_of_them_says(height, width, scale, ratio, rng):
    boxes = fastprep.RandomResizedCrop(224, scale, ratio).rows(height, width, SAMPLES, seed=5, epoch=1).boxes
    compare_distributions(boxes, drawn_by_numpy(rng, height, width, scale, ratio, 20_000), height, width)


@pytest.mark.large
@pytest.mark.parametrize(("height", "width", "scale", "ratio"), CASES)
def test_parts_are_distributed_as_those_of_torchvision(height, width, scale, ratio):
    theirs = drawn_by_torchvision(height, width, scale, ratio, 100_000)
    boxes = fastprep.RandomResizedCrop(224, scale, ratio).rows(height, width, np.arange(100_000), seed=5, epoch=1).boxes
    compare_distributions(boxes, theirs, height, width)


def test_the_numbers_of_a_part_are_independent():
    y, x, h, w = fastprep.RandomResizedCrop(9, (0.1, 0.4), (0.9, 1.1)).rows(100, 100, SAMPLES, 0, 0).boxes.T
    free = np.stack([y / (100 - h), x / (100 - w), h * w, w / h])
    assert np.abs(np.corrcoef(free) - np.eye(4)).max() < 0.03


def test_a_part_of_which_no_try_fits_is_the_largest_central_one():
    for height, width, ratio, wanted in [
        (10, 100, (0.5, 2.0), (0, 40, 10, 20)),
        (100, 10, (0.5, 2.0), (40, 0, 20, 10)),
        (1, 9, (0.1, 0.2), (0, 4, 1, 1)),
        (9, 1, (5.0, 6.0), (4, 0, 1, 1)),
    ]:
        boxes = fastprep.RandomResizedCrop(3, (1, 1), ratio).rows(height, width, np.arange(50), 0, 0).boxes
        assert (boxes == wanted).all()


def test_a_part_is_what_pillow_resizes(rng):
    images = rng.integers(0, 256, (12, 45, 60, 3), dtype=np.uint8)
    crop = fastprep.RandomResizedCrop((22, 22), mirror=True, flip=True, turn=True)
    rows = crop.rows(45, 60, np.arange(12), seed=1, epoch=4)
    made = warp(images, rows, (22, 22))
    for image, out, flags, (y, x, h, w) in zip(images, made, rows.crops[:, 3], rows.boxes, strict=True):
        part = Image.fromarray(image).resize((22, 22), Image.Resampling.BILINEAR, box=(x, y, x + w, y + h))
        part = np.asarray(part).astype(np.float32)
        part = part.transpose(1, 0, 2) if flags & TRANSPOSED else part
        part = part[::-1] if flags & FLIPPED else part
        part = part[:, ::-1] if flags & MIRRORED else part
        assert np.abs(out - part).max() <= 1
    assert len(set(rows.crops[:, 3].tolist())) > 4


@pytest.mark.parametrize(("size", "shape", "wanted"), [
    (20, (30, 45), (20, 30)),
    (20, (45, 30), (30, 20)),
    (20, (31, 46), (20, 29)),
    (60, (30, 45), (60, 90)),
    (5, (1, 9), (5, 45)),
    ((7, 50), (30, 45), (7, 50)),
])  # fmt: skip
def test_a_whole_image_is_resized_as_by_pillow_and_its_side_as_by_torchvision(size, shape, wanted, rng):
    images = rng.integers(0, 256, (2, *shape, 3), dtype=np.uint8)
    crop = fastprep.Resize(size).fitted(*shape)
    assert crop.height_width == wanted
    made = warp(images, crop.rows(*shape, np.array([4, 9]), 0, 0), wanted)
    for image, out in zip(images, made, strict=True):
        resized = Image.fromarray(image).resize(wanted[::-1], Image.Resampling.BILINEAR)
        assert np.abs(out - np.asarray(resized)).max() <= 1


def test_an_image_of_the_right_size_stays_as_it_is(rng):
    images = rng.integers(0, 256, (2, 8, 9, 3), dtype=np.uint8)
    crop = fastprep.Resize(8).fitted(8, 9)
    rows = crop.rows(8, 9, np.arange(2), 0, 0)
    assert (crop.geometry(8, 9), rows.geometry) == ("crop", "crop")
    np.testing.assert_array_equal(warp(images, rows, (8, 9)), images)


def test_equality_text_and_pickling():
    crops = [
        fastprep.Resize(8),
        fastprep.Resize((8, 8)),
        fastprep.RandomResizedCrop(8),
        fastprep.RandomResizedCrop(8, (0.5, 1)),
        fastprep.RandomResizedCrop(8, ratio=(1, 1)),
        fastprep.RandomResizedCrop(8, mirror=True),
        fastprep.RandomResizedCrop(8, turn=True),
    ]
    for k, crop in enumerate(crops):
        assert pickle.loads(pickle.dumps(crop)) == crop
        assert eval(repr(crop), {kind: getattr(fastprep, kind) for kind in ("Resize", "RandomResizedCrop")}) == crop
        assert [other == crop for other in crops] == [j == k for j in range(len(crops))]
        assert len({repr(other) for other in crops}) == len({*crops}) == len(crops)
    assert fastprep.RandomResizedCrop(8, [0.5, np.float32(1)]) == fastprep.RandomResizedCrop((8, 8), (0.5, 1.0))
    assert repr(fastprep.Resize([8, 9])) == "Resize(size=(8, 9))"


def test_refusals():
    for kind in (fastprep.Resize, fastprep.RandomResizedCrop):
        for size in (0, -1, (3, 0), (1, 2, 3), True, 2.5, None):
            with pytest.raises(ValueError, match=r"size must be a positive integer or \(height, width\), got"):
                kind(size)
    for name in ("scale", "ratio"):
        for values in (0.5, "ab", (0.5,), (0.1, 0.2, 0.3), (True, True), None):
            with pytest.raises(ValueError, match=rf"{name} must be \(least, largest\), got"):
                fastprep.RandomResizedCrop(3, **{name: values})
        for values in ((0, 1), (-1, 1), (0.9, 0.5), (math.nan, 1), (0.5, math.nan), (0.5, math.inf)):
            with pytest.raises(ValueError, match=f"{name} must be positive and ascending"):
                fastprep.RandomResizedCrop(3, **{name: values})
    with pytest.raises(ValueError, match=r"scale must be positive and ascending, at most 1, got \(0.5, 1.5\)"):
        fastprep.RandomResizedCrop(3, (0.5, 1.5))
