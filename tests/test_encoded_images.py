"""Encoded images of different sizes in the batches of a loader: the oracle's bits, image by image, of what Pillow decodes."""

import itertools

import h5py
import numpy as np
import pytest
from encoded_files import by_pillow_upright, check_batches, encoded, write_rows
from encoded_images import by_pillow, photograph
from optional_libraries import needs

from fastprep import (
    CenterCrop,
    ColorJitter,
    CutMix,
    Lighting,
    MixUp,
    RandAugment,
    RandomAffine,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    Resize,
    TenCrop,
    TrivialAugment,
)
from fastprep.loader import Loader

pytestmark = [needs("simplejpeg"), pytest.mark.usefixtures("no_thread_left")]

CROPS = {
    "parts": RandomResizedCrop(9, mirror=True, flip=True),
    "turned parts": RandomResizedCrop(8, (0.2, 1), mirror=True, turn=True),
    "cut": RandomCrop(13, mirror=True, flip=True),
    "turned": RandomCrop(9, mirror=True, turn=True),
    "resized, shorter side": RandomCrop(12, resize=15, mirror=True),
    "resized": RandomCrop((10, 12), resize=(13, 14)),
    "centre": CenterCrop(12),
    "centre, resized": CenterCrop((9, 11), resize=14),
    "centre, to one size": CenterCrop(12, resize=(12, 12)),
    "ten": TenCrop(8),
    "ten, torchvision": TenCrop(9, order="torchvision", resize=13),
    "whole": Resize((11, 8)),
    "enlarged": Resize((80, 7)),
    "affine": RandomAffine((9, 8), 30, (0.2, 0.1), (0.5, 2), 10, fill=7.5, mirror=True, flip=True),
    "affine, one fill a channel": RandomAffine(9, degrees=90, fill=(1.0, 2.0, 3.0)),
}
TRANSFORMS = {
    "rand": {"policy": RandAugment(2, 20)},
    "trivial": {"policy": TrivialAugment(fill=9.0)},
    "colours": {"color": [ColorJitter(0.4, 0.4, 0.4, 0.1), Lighting(0.1, np.eye(3))]},
    "erasing": {"erase": RandomErasing(1.0, value=(1.0, 2.0, 3.0))},
    "mixup": {"blend": MixUp()},
    "cutmix": {"blend": CutMix()},
    "standardised": {"standardize": True},
    "all": {
        "policy": RandAugment(2, 10),
        "color": ColorJitter(0.4),
        "erase": RandomErasing(0.8),
        "blend": MixUp(),
        "standardize": True,
    },
}


@pytest.fixture(scope="module")
def rows():
    return encoded()


@pytest.fixture(scope="module")
def images(rows):
    return [by_pillow_upright(row) for row in rows]


@pytest.fixture(scope="module")
def path(rows, tmp_path_factory):
    return write_rows(tmp_path_factory.mktemp("encoded") / "encoded.h5", rows)


@pytest.fixture(scope="module")
def alike(tmp_path_factory):
    """A file of images of one size, and what Pillow decodes."""
    rows = encoded(size=(41, 47))
    path = write_rows(tmp_path_factory.mktemp("alike") / "alike.h5", rows)
    return path, np.stack([by_pillow_upright(row) for row in rows])


@pytest.mark.parametrize("name", CROPS)
def test_each_image_is_cropped_as_if_all_had_its_size(path, images, name):
    with Loader(path, 5, CROPS[name], mean=[90, 100, 110], scale=1 / 64, shuffle=True, seed=11) as loader:
        assert loader.output_shape == (*CROPS[name].height_width, 3)
        check_batches(loader, images, scale=1 / 64)


@pytest.mark.parametrize("crop", ["parts", "cut"])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_everything_else_that_is_done_to_images(path, images, name, crop):
    options = {"mean": None, "num_classes": 13, "shuffle": True, "seed": 2, **TRANSFORMS[name]}
    if "blend" not in options:
        del options["num_classes"]
    with Loader(path, 6, CROPS[crop], **options) as loader:
        check_batches(loader, images, standardize=options.get("standardize", False))


@pytest.mark.parametrize(
    ("dtype", "layout"), list(itertools.product(("float32", "float16", "bfloat16"), ("channels_last", "channels_first")))
)
def test_batches_have_the_type_and_layout_that_was_asked_for(path, images, dtype, layout):
    for name in ("parts", "cut", "affine"):
        with Loader(path, 5, CROPS[name], dtype=dtype, layout=layout, mean=3, scale=0.3, standardize=name == "cut") as loader:
            check_batches(loader, images, 1, dtype=dtype, layout=layout, scale=0.3, standardize=name == "cut")


@pytest.mark.parametrize("channels", [[2, 1, 0], [1], [0, 0]])
def test_channels_that_are_picked(path, images, channels):
    with Loader(path, 5, CROPS["parts"], channels=channels, mean=None) as loader:
        assert loader.output_shape == (9, 9, len(channels))
        check_batches(loader, [image[..., channels] for image in images])


@pytest.mark.parametrize("crop", [None, CenterCrop(30), RandomCrop(30), Resize(20), RandomAffine(degrees=20)], ids=repr)
def test_images_of_one_size_take_every_crop(alike, crop):
    path, images = alike
    with Loader(path, 5, crop, mean=None, shuffle=True) as loader:
        check_batches(loader, images)


def test_batches_of_images_of_one_size_are_those_of_their_pixels(alike, tmp_path):
    """The same crops of the same samples, from rows of bytes and from an array."""
    path, images = alike
    with h5py.File(tmp_path / "pixels.h5", "w") as file:
        file["images"], file["labels"] = images, np.arange(len(images))
    options = {"policy": RandAugment(), "color": ColorJitter(0.3), "shuffle": True, "seed": 9, "mean": 100}
    for crop in CROPS.values():
        with Loader(path, 4, crop, **options) as ours, Loader(tmp_path / "pixels.h5", 4, crop, **options) as theirs:
            for (x, y), (x_wanted, y_wanted) in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(x, x_wanted)
                np.testing.assert_array_equal(y, y_wanted)


def test_the_smallest_images_there_are(tmp_path):
    rows = [
        by_pillow(np.full((height, width, 3), 50 * height + width, np.uint8), "PNG") for height in (1, 2, 3) for width in (1, 5)
    ]
    images = [by_pillow_upright(row) for row in rows]
    path = write_rows(tmp_path / "small.h5", rows)
    for crop in (RandomResizedCrop(4), Resize((3, 2)), RandomCrop(1), CenterCrop(3, resize=4), RandomAffine(3, 45)):
        with Loader(path, 4, crop, mean=None, shuffle=True) as loader:
            check_batches(loader, images)


def test_an_image_that_is_much_larger_than_the_others(tmp_path):
    rows = [
        by_pillow(photograph(20, 24), "JPEG"),
        by_pillow(photograph(900, 1300), "JPEG"),
        by_pillow(photograph(30, 21), "JPEG"),
    ]
    path = write_rows(tmp_path / "large.h5", rows)
    with Loader(path, 3, RandomResizedCrop(5), mean=None) as loader:
        check_batches(loader, [by_pillow_upright(row) for row in rows])


def test_the_text_of_a_loader_says_whether_images_may_have_any_size(path):
    with Loader(path, 5, CenterCrop(12), mean=None) as loader:
        assert "13 images of any size, 3 channels, encoded, 3 steps of 5" in repr(loader)
    with Loader(path, 5, None, mean=None) as loader:
        assert "13 images of 58x63x3 encoded, 3 steps of 5" in repr(loader)


def test_mean_images_are_refused_with_a_reason(path):
    with pytest.raises(ValueError, match="a number for each channel where images may have different sizes, got a mean image"):
        Loader(path, 5, CenterCrop(12), mean=np.zeros((58, 63, 3)))


def test_axes_and_shape_are_refused(path):
    for options, name in (({"axes": "NHWC"}, "axes"), ({"shape": (30, 30)}, "shape"), ({"shape": (30, 30, 3)}, "shape")):
        with pytest.raises(ValueError, match=f"say their shape themselves: leave {name} out") as error:
            Loader(path, 5, CenterCrop(12), **options)
        assert str(path) in str(error.value)


@pytest.mark.parametrize("crop", [None, Resize(20), RandomAffine(degrees=3)], ids=repr)
def test_two_sizes_need_a_crop_of_one_size_and_name_the_image(path, crop):
    with Loader(path, 5, crop, mean=None) as loader, pytest.raises(ValueError, match=r"different sizes: .*Resize") as error:
        list(loader)
    assert error.value.sample == 1
    assert (error.value.file, error.value.dataset) == (str(path), "images")


@pytest.mark.parametrize("crop", [RandomCrop(40), CenterCrop((40, 30)), TenCrop(40)], ids=repr)
def test_the_image_that_is_too_small_for_a_crop_is_named(tmp_path, crop):
    rows = encoded(6, least=45, most=60)
    rows[4] = by_pillow(photograph(39, 50), "JPEG")
    path = write_rows(tmp_path / "a.h5", rows)
    with Loader(path, 3, crop, mean=None, shuffle=True) as loader:
        with pytest.raises(ValueError, match=r"from 39x50 pixels.*leave it out by indices=") as error:
            list(loader)
        assert (error.value.sample, error.value.file, error.value.dataset) == (4, str(path), "images")
    with Loader(path, 3, crop, mean=None, shuffle=True, indices=[3, 4, 5]) as loader:
        with pytest.raises(ValueError, match="from 39x50 pixels") as error:
            list(loader)
        assert error.value.sample == 4
    with Loader(path, 3, crop, mean=None, indices=[0, 1, 2, 3, 5]) as loader:
        check_batches_of_part = [x.shape for x, _ in loader]
    assert [shape[0] for shape in check_batches_of_part] == [3 * crop.n_crops, 2 * crop.n_crops]


def test_the_first_image_may_be_too_small_if_it_is_left_out(tmp_path):
    rows = [by_pillow(photograph(10, 12), "JPEG"), *encoded(4)]
    path = write_rows(tmp_path / "a.h5", rows)
    images = [by_pillow_upright(row) for row in rows]
    for crop in (RandomCrop(20), CenterCrop(20), TenCrop(20)):
        with Loader(path, 2, crop, mean=None, indices=slice(1, None)) as loader:
            check_batches(loader, images[1:])
        with Loader(path, 2, crop, mean=None) as loader, pytest.raises(ValueError, match="from 10x12 pixels") as error:
            list(loader)
        assert error.value.sample == 0
