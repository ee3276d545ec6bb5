"""Covariance of the channels: that of numpy for files of every layout, stored beside the mean, and asked for by `Lighting`."""

import h5py
import numpy as np
import pytest

import fastprep
from fastprep import DataError
from fastprep.dataset import mean_and_covariance
from fastprep.dataset.covariances import Moments
from fastprep.h5 import read_metadata
from fastprep.loader import Loader


def numpys(images):
    return np.cov(images.reshape(-1, images.shape[-1]).T.astype(np.float64), bias=True)


LAYOUTS = {
    "contiguous": {},
    "chunked": {"chunks": (5, 12, 14, 3)},
    "compressed": {"chunks": (1, 12, 14, 3), "compression": "gzip"},
    "parts of images": {"chunks": (2, 5, 6, 3)},
}


@pytest.mark.parametrize("dtype", ["uint8", "float32", "uint16"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_covariance_is_numpys_for_files_of_every_layout(make_file, layout, dtype):
    path, images, _ = make_file(dtype=dtype, **LAYOUTS[layout])
    np.testing.assert_allclose(fastprep.image_covariance(path), numpys(images), rtol=1e-10)
    mean, covariance = mean_and_covariance(path, "images", channels=[2, 0], indices=[1, 4, 7])
    np.testing.assert_allclose(covariance, numpys(images[[1, 4, 7]][..., [2, 0]]), rtol=1e-10)
    np.testing.assert_array_equal(mean, fastprep.image_mean(path, channels=[2, 0], indices=[1, 4, 7]))


def test_covariance_of_other_axes_and_of_several_files_is_numpys(tmp_path, rng):
    first, second = (rng.integers(0, 256, (n, 3, 12, 14), dtype=np.uint8) for n in (6, 9))
    for name, images in (("a.h5", first), ("b.h5", second)):
        with h5py.File(tmp_path / name, "w") as file:
            file["images"] = images
    wanted = numpys(np.concatenate([first, second]).transpose(0, 2, 3, 1))
    got = fastprep.image_covariance([tmp_path / "a.h5", tmp_path / "b.h5"], axes="NCHW")
    np.testing.assert_allclose(got, wanted, rtol=1e-10)


def test_sums_of_blocks_lose_nothing_of_values_far_from_zero(rng):
    images = (1e7 + rng.normal(0, 1, (40, 6, 5, 3))).astype(np.float64)
    moments = Moments()
    for block in np.split(images, 8):
        moments.add(block)
    np.testing.assert_allclose(moments.covariance, numpys(images), rtol=1e-6, atol=1e-8)


@pytest.fixture
def path(make_file):
    path, images, _ = make_file()
    with h5py.File(path, "r+") as file:
        file["images"].attrs.update({"covariance": numpys(images), "channel_order": "RGB"})
    return path, images


def test_lighting_takes_the_covariance_of_the_file(path):
    path, images = path
    with Loader(path, 5, None, color=fastprep.Lighting(0.2), mean=None) as loader:
        assert loader.color == (fastprep.Lighting(0.2, numpys(images), white=255),)
        x, _ = loader.batch(1, 0)
        samples = loader.samples(1, 0)
        offsets = fastprep.Lighting(0.2, numpys(images)).matrices(samples, 0, 1)[:, None, None, :, 3].astype(np.float32)
        np.testing.assert_allclose(x, images[samples] + offsets, rtol=1e-6)
        assert np.abs(offsets).max() > 1
    with Loader(path, 5, None, color=[fastprep.Lighting()], mean=None, channels="BGR") as loader:
        np.testing.assert_array_equal(loader.color[0].covariance, numpys(images)[::-1, ::-1])


def test_lighting_says_how_a_file_gets_a_covariance(path, make_file):
    path, _ = path
    with h5py.File(path, "r+") as file:
        del file["images"].attrs["covariance"]
    with pytest.raises(DataError, match=r"no covariance is stored .*--mean --store --overwrite` .*image_covariance"):
        Loader(path, 5, None, color=fastprep.Lighting())
    with h5py.File(path, "r+") as file:
        del file["images"].attrs["mean"]
    with pytest.raises(DataError, match=r"attribute 'covariance' of the images\): `.*--mean --store` computes"):
        Loader(path, 5, None, color=fastprep.Lighting(), mean=None)
    with h5py.File(path, "r+") as file:
        file["images"].attrs["covariance"] = np.ones(3)
    assert read_metadata(path, "images").covariance is None
    with pytest.raises(DataError, match="attribute 'covariance' must hold 9 finite numbers, found"):
        Loader(path, 5, None, color=fastprep.Lighting(), mean=None)
    with h5py.File(path, "r+") as file:
        file["images"].attrs["covariance"] = np.eye(3)
    other, _, _ = make_file(name="other.h5")
    with h5py.File(other, "r+") as file:
        file["images"].attrs["covariance"] = 2 * np.eye(3)
    with pytest.raises(DataError, match="the stored covariance differs from that in"):
        Loader([path, other], 5, None, color=fastprep.Lighting(), mean=None)


def test_colours_of_other_numbers_than_uint8_need_the_value_of_white(make_file):
    path, _, _ = make_file(dtype="float32")
    for color in (fastprep.ColorJitter(contrast=0.4), fastprep.Lighting(covariance=np.eye(3))):
        with pytest.raises(ValueError, match=rf"images are float32, so {type(color).__name__} needs white=.*dataset 'images'"):
            Loader(path, 5, None, color=color)
    Loader(path, 5, None, color=fastprep.ColorJitter(0.4, 0, 0.4)).close()  # has no grey
    with Loader(path, 5, None, color=fastprep.ColorJitter(contrast=0.4, white=1)) as loader:
        assert loader.color[0].white == 1


def test_colours_that_do_not_fit_the_channels_are_refused_at_once(tmp_path, rng):
    with h5py.File(tmp_path / "grey.h5", "w") as file:
        file["images"] = rng.integers(0, 256, (4, 12, 14, 1), dtype=np.uint8)
    options = {"labels": None, "mean": None}
    with Loader(tmp_path / "grey.h5", 2, None, color=fastprep.ColorJitter(0.4, 0.4), **options) as loader:
        assert loader.batch(0, 0).shape == (2, 12, 14, 1)
    for color, problem in (
        (fastprep.ColorJitter(hue=0.1), "images with one channel have no saturation"),
        (fastprep.Lighting(covariance=np.eye(3)), r"covariance of Lighting has the shape \(3, 3\)"),
        (fastprep.ChannelPermutation(), "no ChannelPermutation"),
    ):
        with pytest.raises(ValueError, match=problem):
            Loader(tmp_path / "grey.h5", 2, None, color=color, **options)
