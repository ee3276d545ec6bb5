"""Tables of images of different sizes: each image gets the rows that it would have by itself."""

import numpy as np
import pytest

from fastprep.transforms import (
    Augmentation,
    CenterCrop,
    ColorJitter,
    RandAugment,
    RandomAffine,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    Resize,
    TenCrop,
    rows_of,
)
from fastprep.transforms.crops import TooSmallError

CROPS = [
    RandomCrop(20, mirror=True, flip=True, turn=True),
    RandomCrop((20, 15), mirror=True, resize=40),
    RandomCrop(20, resize=(41, 33)),
    CenterCrop(20),
    CenterCrop(20, order="torchvision"),
    CenterCrop(20, resize=31),
    TenCrop(20),
    TenCrop(21, order="torchvision", resize=32),
    Resize((17, 23)),
    RandomResizedCrop(20, mirror=True),
    RandomResizedCrop(20, (0.9, 1.0), (2.9, 3.0)),  # often no part has such sides
    RandomResizedCrop(20, (0.9, 1.0), (0.3, 0.31)),
    RandomAffine(20, degrees=30, translate=(0.2, 0.1), scale=(0.5, 2), shear=10),
]


@pytest.mark.parametrize("crop", CROPS, ids=repr)
def test_each_image_gets_the_rows_that_it_has_by_itself(crop, rng):
    heights, widths = rng.integers(50, 400, 50), rng.integers(50, 400, 50)
    samples = rng.permutation(1000)[:50]
    table = rows_of(crop, heights, widths, samples, 7, 3)
    for k in range(50):
        rows = slice(k * crop.n_crops, (k + 1) * crop.n_crops)
        alone = rows_of(crop, int(heights[k]), int(widths[k]), samples[k : k + 1], 7, 3)
        assert alone.geometry == table.geometry
        np.testing.assert_array_equal(table.crops[rows, 0], k)
        np.testing.assert_array_equal(table.crops[rows, 1:], alone.crops[:, 1:])
        for part in ("boxes", "matrices"):
            if getattr(alone, part) is not None:
                np.testing.assert_array_equal(getattr(table, part)[rows], getattr(alone, part))
        np.testing.assert_array_equal(table.sizes[rows], [(heights[k], widths[k])] * crop.n_crops)


@pytest.mark.parametrize("crop", [RandomCrop(20), RandomResizedCrop(20), TenCrop(20, resize=30)], ids=repr)
def test_policies_colours_and_erasing_follow(crop, rng):
    augmentation = Augmentation(
        crop, (ColorJitter(0.4, 0.4, 0.4),), RandomErasing(), channel_order="RGB", policy=RandAugment(white=255)
    )
    heights, widths, samples = rng.integers(21, 400, 9), rng.integers(21, 400, 9), np.arange(9) * 5
    table = augmentation.table((heights, widths, 3), samples, 7, 3)
    assert table.geometry == augmentation.geometry(heights, widths) == "matrix"
    for k in range(9):
        rows = slice(k * crop.n_crops, (k + 1) * crop.n_crops)
        alone = augmentation.table((int(heights[k]), int(widths[k]), 3), samples[k : k + 1], 7, 3)
        for part in ("matrices", "colors", "erasures"):
            np.testing.assert_array_equal(getattr(table, part)[rows], getattr(alone, part))
        np.testing.assert_array_equal(table.sizes[rows], [(heights[k], widths[k])] * crop.n_crops)


@pytest.mark.parametrize("crop", [RandomCrop(20, resize=40), Resize((40, 50)), CenterCrop((40, 50), resize=(40, 50))], ids=repr)
def test_images_that_need_no_resizing_have_boxes_like_the_others(crop):
    """A table has one kind of geometry, and a box of the output's size gives the pixels as they are."""
    heights, widths = np.array([40, 80]), np.array([50, 100])
    assert crop.geometry(heights, widths) == rows_of(crop, heights, widths, np.arange(2), 0, 0).geometry == "box"


def test_the_image_that_is_too_small_is_named():
    with pytest.raises(TooSmallError, match="crop is larger than the image: 20x30 from 25x29 pixels") as error:
        rows_of(RandomCrop((20, 30)), np.array([25, 25, 19]), np.array([30, 29, 40]), np.arange(3), 0, 0)
    assert error.value.number == 1
    with pytest.raises(TooSmallError, match="larger than the resized image: 50x50 from 40x48 pixels") as error:
        rows_of(CenterCrop(50, resize=40), np.array([25, 30]), np.array([30, 60]), np.arange(2), 0, 0)
    assert error.value.number == 0
