"""Standardised images in the batches of a loader: the oracle's bits, whatever reads the file and in which parts."""

import itertools

import h5py
import numpy as np
import pytest
import reference
from conftest import host
from crop_cases import assert_same_bits
from loader_batches import check_pure

import fastprep
from fastprep import (
    ChannelPermutation,
    ColorJitter,
    MixUpOrCutMix,
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
from fastprep.transforms import compose_colors, rows_of

pytestmark = pytest.mark.usefixtures("no_thread_left")

N, SIZE, LAYOUTS = 23, (7, 9), ("channels_last", "channels_first")
CROPS = {
    "cut": RandomCrop(SIZE, mirror=True),
    "resized": RandomResizedCrop(SIZE, (0.3, 1), mirror=True),
    "mapped": RandomAffine(SIZE, 30, fill=9),
    "ten": TenCrop(SIZE),
}


@pytest.fixture
def path(make_file):
    path, _, _ = make_file(n=N)
    with h5py.File(path, "r+") as file:
        file["labels"][...] = np.arange(N)
        file["images"].attrs["channel_order"] = "RGB"
    return path


def all_of(path):
    with h5py.File(path, "r") as file:
        return file["images"][()], file["images"].attrs["mean"]


@pytest.mark.parametrize("name", CROPS)
@pytest.mark.parametrize(("dtype", "layout"), list(itertools.product(reference.DTYPES, LAYOUTS)))
def test_batches_are_what_the_oracle_makes(path, name, dtype, layout):
    images, mean = all_of(path)
    crop = CROPS[name]
    options = {"shuffle": True, "seed": 11, "dtype": dtype, "layout": layout, "standardize": True}
    for changes in ({"mean": None}, {"scale": (0.5, 1, 0.25)}):
        with Loader(path, 5, crop, **options, **changes) as loader:
            for step, (x, _) in enumerate(loader):
                samples = loader.samples(0, step)
                rows = rows_of(crop, 12, 14, samples, 11, 0)
                wanted = reference.transform(
                    images[samples], rows.crops, SIZE, rows.boxes, rows.matrices, 9, mean=None if "mean" in changes else mean,
                    scale=changes.get("scale"), dtype=dtype, layout=layout, standardize=True,
                )  # fmt: skip
                assert_same_bits(x, wanted)


def test_colours_come_before_and_erasing_and_blending_after(path):
    images, _ = all_of(path)
    crop, color, erase, blend = CROPS["resized"], ColorJitter(0.4, 0.4, 0.4, 0.1), RandomErasing(0.7, value=0.5), MixUpOrCutMix()
    options = {"color": color, "erase": erase, "blend": blend, "num_classes": N, "mean": None, "standardize": True}
    with Loader(path, 5, crop, seed=11, shuffle=True, **options) as loader:
        for step, (x, _) in enumerate(loader):
            draw = loader.samples(0, step), 11, 0
            rows = rows_of(crop, 12, 14, *draw)
            plain = reference.transform(
                images[draw[0]], rows.crops, SIZE, rows.boxes, erasures=erase.rectangles(*SIZE, *draw), erase_value=0.5,
                colors=compose_colors([color.matrices(*draw, "RGB")]).astype(np.float32), standardize=True,
            )  # fmt: skip
            table = blend.table(*draw, *SIZE)
            assert_same_bits(x, reference.blend(plain, table.weights, table.rectangles))


@pytest.mark.parametrize(
    "options",
    [
        {"policy": RandAugment()},
        {"policy": TrivialAugment(), "crop": TenCrop(SIZE)},
        {"color": ChannelPermutation(0.5), "crop": Resize((9, 8))},
        {"channels": [2, 0], "crop": RandomCrop(6, turn=True)},
    ],
    ids=str,
)
def test_whatever_makes_images_is_the_same_and_standardised_at_the_end(path, options):
    options = {"crop": CROPS["resized"], "mean": None, "seed": 3, "shuffle": True, **options}
    with Loader(path, 5, **options) as plain, Loader(path, 5, **options, standardize=True) as loader:
        for (made, _), (x, _) in zip(plain, loader, strict=True):
            assert_same_bits(x, np.stack([reference.standardized(image) for image in host(made)]))


def test_masks_stay_as_they_are(path, rng):
    with h5py.File(path, "r+") as file:
        file["depth"] = rng.uniform(0, 9, (N, 12, 14)).astype(np.float32)
    options = {"labels": fastprep.Mask("depth", interpolation="bilinear"), "mean": None, "seed": 3}
    with Loader(path, 5, CROPS["resized"], **options) as plain:
        _, wanted = plain.batch(0, 0)
        with Loader(path, 5, CROPS["resized"], **options, standardize=True) as loader:
            assert_same_bits(loader.batch(0, 0)[1], wanted)


@pytest.mark.parametrize("name", CROPS)
def test_batches_do_not_depend_on_workers_shards_and_interruptions(path, name):
    check_pure(path, {"crop": CROPS[name], "standardize": True, "erase": RandomErasing(0.5)})


@pytest.mark.parametrize(("saved", "here"), [(True, False), (False, True)])
def test_a_state_of_images_that_were_not_standardised_is_refused(path, saved, here):
    with Loader(path, 4, CROPS["cut"], standardize=saved) as loader:
        state = loader.state_dict()
        loader.load_state_dict(state)
    texts = {True: "'True'", False: "None"}
    problem = f"standardize {texts[saved]} \\(here {texts[here]}\\)"
    with Loader(path, 4, CROPS["cut"], standardize=here) as loader, pytest.raises(ValueError, match=problem):
        loader.load_state_dict(state)


@pytest.mark.parametrize("value", ["channel", 1, None, np.ones(3)])
def test_what_is_neither_true_nor_false_is_refused(path, value):
    with pytest.raises(ValueError, match=r"standardize must be True, for mean 0 .* over all pixels and channels .*, got"):
        Loader(path, 4, None, standardize=value)


@pytest.mark.parametrize("erase", [None, RandomErasing(1, (1, 1))])
def test_an_image_with_a_number_that_is_not_finite_is_named(make_file, erase):
    path, images, _ = make_file(dtype="float32")
    with h5py.File(path, "r+") as file:
        file["images"][3, 5, 5] = np.nan
    with (
        Loader(path, 4, None, mean=None, standardize=True, erase=erase) as loader,
        pytest.raises(fastprep.DataError, match=r"sample 3.* NaN or infinity"),
    ):
        loader.batch(0, 0)
    with Loader(path, 4, None, mean=None, standardize=True, check_finite=False) as loader:
        x = host(loader.batch(0, 0)[0])
        assert np.isnan(x[3]).all()
        assert np.isfinite(x[:3]).all()
        assert_same_bits(x[:3], np.stack([reference.standardized(image) for image in images[:3]]))


def test_numbers_that_fit_once_they_are_standardised_are_no_error(make_file):
    """Integers of 16 bits become as large as 65535, which float16 does not hold."""
    path, images, _ = make_file(dtype="uint16")
    with pytest.raises(ValueError, match="dtype 'float16' holds numbers up to 65504"):
        Loader(path, 4, None, mean=None, dtype="float16")
    with Loader(path, 4, None, mean=None, dtype="float16", standardize=True) as loader:
        wanted = np.stack([reference.standardized(image.astype(np.float32)) for image in images[:4]]).astype(np.float16)
        assert_same_bits(loader.batch(0, 0)[0], wanted)
