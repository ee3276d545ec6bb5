"""Turned, resized and mapped images in the batches of a loader: the oracle's bits, whatever reads the file and in which parts."""

import itertools

import h5py
import numpy as np
import pytest
import reference
from conftest import host
from crop_cases import assert_same_bits
from loader_batches import check_pure

import fastprep
from fastprep import CenterCrop, RandomAffine, RandomCrop, RandomResizedCrop, Resize, TenCrop
from fastprep.loader import Loader
from fastprep.transforms import TRANSPOSED, fitted, rows_of

pytestmark = pytest.mark.usefixtures("no_thread_left")

N, HEIGHT, WIDTH = 13, 12, 14
CROPS = {
    "parts": RandomResizedCrop(8, (0.2, 1), mirror=True, flip=True),
    "turned parts": RandomResizedCrop(7, (0.2, 1), mirror=True, turn=True),
    "turns": RandomCrop(7, mirror=True, turn=True),
    "resized": RandomCrop((6, 7), resize=8, mirror=True, flip=True),
    "resized and turned": RandomCrop(17, resize=19, turn=True),
    "centre": CenterCrop((5, 7), resize=(9, 8)),
    "ten": TenCrop(6, resize=9, order="torchvision"),
    "whole": Resize(5),
    "affine": RandomAffine(None, 45, (0.2, 0.1), (0.6, 1.5), (-20, 20, -10, 10), fill=9.5, mirror=True),
    "middle": RandomAffine((7, 9), degrees=90, fill=[1.0, 2.0, 3.0], flip=True),
}


@pytest.fixture
def make_numbered(tmp_path, rng):
    """Return a function that writes a file of different images, and returns its path and the images with channels last."""

    def make(dtype="uint8", channels=3, axes="NHWC", mean=True):
        images = rng.integers(0, 256, (N, HEIGHT, WIDTH, channels or 1)).astype(dtype)
        if dtype != "uint8":
            images = (images * (200 if dtype == "uint16" else 0.37)).astype(dtype)
        stored = images[..., 0] if not channels else images.transpose(["NHWC".index(axis) for axis in axes])
        path = tmp_path / "images.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("images", data=stored, chunks=(4, *stored.shape[1:]), compression="gzip")
            file["labels"] = np.arange(N)
            if mean:
                file["images"].attrs["mean"] = images.mean(axis=(0, 1, 2), dtype=np.float64).astype(np.float32)
        return path, images

    return make


def wanted_batch(images, crop, samples, loader, epoch, **options):
    """Return what the oracle makes of the rows that are drawn for these samples."""
    crop = fitted(crop, HEIGHT, WIDTH)
    rows = rows_of(crop, HEIGHT, WIDTH, samples, loader.seed, epoch)
    mean = None if loader.mean is None else np.asarray(loader.mean, np.float32)
    return reference.transform(
        images[samples], rows.crops, crop.height_width, rows.boxes, rows.matrices, getattr(crop, "fill", 0.0),
        mean=mean, scale=options.pop("scale", None), **options,
    )  # fmt: skip


def assert_batches_are_the_oracles(loader, images, crop, **options):
    for epoch in range(2):
        for step, (x, y) in enumerate(loader):
            samples = loader.samples(epoch, step)
            assert np.array_equal(y, samples.repeat(crop.n_crops))
            assert_same_bits(host(x), wanted_batch(images, crop, samples, loader, epoch, **options))


@pytest.mark.parametrize("name", CROPS)
def test_batches_are_what_the_oracle_makes(make_numbered, name):
    path, images = make_numbered()
    with Loader(path, 5, CROPS[name], mean="file", scale=1 / 64, shuffle=True, seed=11) as loader:
        assert loader.mean.shape == (3,)
        assert loader.output_shape == (*fitted(CROPS[name], HEIGHT, WIDTH).height_width, 3)
        assert_batches_are_the_oracles(loader, images, CROPS[name], scale=1 / 64)


@pytest.mark.parametrize(
    ("dtype", "layout"),
    [case for case in itertools.product(("float32", "float16", "bfloat16"), ("channels_last", "channels_first"))],
)
def test_batches_have_the_type_and_layout_that_was_asked_for(make_numbered, dtype, layout):
    path, images = make_numbered()
    for name in ("turned parts", "turns", "whole", "affine"):
        with Loader(path, 5, CROPS[name], dtype=dtype, layout=layout, scale=(0.5, 0.25, 1 / 64), seed=3, shuffle=True) as loader:
            assert_batches_are_the_oracles(loader, images, CROPS[name], scale=(0.5, 0.25, 1 / 64), dtype=dtype, layout=layout)


@pytest.mark.parametrize(
    "file",
    [
        {"dtype": "float32"},
        {"dtype": "float64"},
        {"dtype": "uint16"},
        {"axes": "NCHW"},
        {"axes": "NCWH", "dtype": "float32"},
        {"channels": 0},
        {"channels": 1, "dtype": "uint16"},
        {"channels": 5},
    ],
    ids=str,
)
def test_files_of_every_kind(make_numbered, file):
    path, images = make_numbered(**file)
    axes = "NHW" if file.get("channels") == 0 else file.get("axes", "NHWC")
    for name in ("turned parts", "resized", "affine"):
        with Loader(path, 4, CROPS[name], axes=axes, seed=2, shuffle=True) as loader:
            assert_batches_are_the_oracles(loader, images, CROPS[name])


def test_one_fill_for_each_channel_that_is_picked(make_numbered):
    path, images = make_numbered(mean=False)
    crop = CROPS["middle"]
    with Loader(path, 5, crop, channels=[2, 0, 1], mean=None) as loader:
        assert_batches_are_the_oracles(loader, images[..., [2, 0, 1]], crop)
    with pytest.raises(
        ValueError, match=r"fill must be a finite number, or 2 of them, got \(1\.0, 2\.0, 3\.0\) \(file '.*images.h5'"
    ):
        Loader(path, 5, crop, channels=[2, 0], mean=None)


@pytest.mark.parametrize("name", CROPS)
def test_batches_do_not_depend_on_workers_shards_and_interruptions(make_numbered, name):
    path, _ = make_numbered()
    check_pure(path, {"crop": CROPS[name]})


def test_a_side_to_resize_to_becomes_a_size_once_the_images_are_known(make_numbered):
    path, _ = make_numbered()
    with Loader(path, 4, Resize(24)) as loader:
        assert loader.crop == Resize((24, 28))
        assert loader.output_shape == (24, 28, 3)
        state = loader.state_dict()
    with Loader(path, 4, Resize((24, 28))) as loader:
        loader.load_state_dict(state)
    with Loader(path, 4, RandomAffine(degrees=3)) as loader:
        assert loader.crop == RandomAffine((HEIGHT, WIDTH), degrees=3)


def test_a_state_of_another_crop_is_refused_and_one_of_earlier_releases_is_not(make_numbered):
    path, _ = make_numbered()
    for crop, other in (
        (RandomCrop(7), RandomCrop(7, turn=True)),
        (CenterCrop(7), CenterCrop(7, resize=9)),
        (RandomResizedCrop(7), RandomResizedCrop(7, (0.5, 1))),
        (RandomAffine(7), RandomAffine(7, fill=1)),
    ):
        with Loader(path, 4, crop) as loader:
            state = loader.state_dict()
        with Loader(path, 4, other) as loader, pytest.raises(ValueError, match=r"crop .*\(here "):
            loader.load_state_dict(state)
    with Loader(path, 4, RandomCrop(7, mirror=True)) as loader:
        state = loader.state_dict()
        assert "RandomCrop(size=(7, 7), mirror=True, flip=False)" in repr(state)
        loader.load_state_dict(state)


def test_what_does_not_fit_is_said_before_there_is_a_batch(make_numbered):
    path, _ = make_numbered()
    for crop, problem in (
        (RandomAffine(7, shear=89.9999, scale=(1e-3, 1)), r"must keep within 2\*\*30 pixels of the image"),
        (RandomCrop, "crop must be like RandomCrop"),
        (RandomResizedCrop, "crop must be like RandomCrop"),
    ):
        with pytest.raises(ValueError, match=problem):
            Loader(path, 4, crop)
    for crop in CROPS.values():
        with pytest.raises(ValueError, match=r"mean must be a number for each channel .* pass its mean over height and width"):
            Loader(path, 4, crop, mean=np.zeros((HEIGHT, WIDTH, 3)))


@pytest.mark.parametrize("kind", [CenterCrop, TenCrop, RandomCrop])
def test_a_crop_that_is_larger_than_the_resized_image_is_refused_at_once(make_numbered, kind):
    path, _ = make_numbered()
    with pytest.raises(ValueError, match=r"crop is larger than the resized image: 9x9 from 8x9 pixels \(file '.*images.h5'"):
        Loader(path, 4, kind(9, resize=8))


def test_each_of_these_does_something(make_numbered):
    """Otherwise the comparisons above would compare the same plain crops."""
    for name, crop in CROPS.items():
        crop = fitted(crop, HEIGHT, WIDTH)
        rows = rows_of(crop, HEIGHT, WIDTH, np.arange(N), 5, 0)
        turned = (rows.crops[:, 3] & TRANSPOSED).any()
        assert rows.boxes is not None or rows.matrices is not None or turned, name
        assert turned == (getattr(crop, "turn", False)), name
    assert {type(crop) for crop in CROPS.values()} == {getattr(fastprep, kind) for kind in KINDS}


KINDS = ("CenterCrop", "RandomAffine", "RandomCrop", "RandomResizedCrop", "Resize", "TenCrop")
