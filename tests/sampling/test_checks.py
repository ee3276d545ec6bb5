"""Arguments that mean nothing: an error, not what Python makes of them."""

import numpy as np
import pytest

import fastprep
from fastprep.loader import Loader
from fastprep.sampling import check_flag


@pytest.mark.parametrize("value", ["no", "false", "", None, 2, 1.0, [True]])
@pytest.mark.parametrize("argument", ["shuffle", "drop_remainder", "check_finite"])
def test_a_flag_that_is_neither_true_nor_false_is_an_error(make_file, argument, value):
    with pytest.raises(ValueError, match=rf"{argument} must be True or False, got "):
        Loader(make_file()[0], 4, None, mean=None, **{argument: value})


@pytest.mark.parametrize("crop", [fastprep.RandomCrop, fastprep.RandomResizedCrop, fastprep.RandomAffine])
@pytest.mark.parametrize("argument", ["mirror", "flip"])
def test_so_it_is_in_a_crop(crop, argument):
    with pytest.raises(ValueError, match=rf"{argument} must be True or False, got 'no'"):
        crop(8, **{argument: "no"})


def test_turn_is_a_flag_too():
    with pytest.raises(ValueError, match="turn must be True or False, got 'yes'"):
        fastprep.RandomCrop(8, turn="yes")


@pytest.mark.parametrize("value", [True, False, np.True_, 0, 1, np.int64(1)])
def test_what_numpy_and_files_of_settings_have_for_them_is_taken(value):
    check_flag("shuffle", value)


@pytest.mark.parametrize("scale", [0, 0.0, [0, 0, 0]])
def test_a_scale_that_makes_all_images_alike_is_an_error(make_file, scale):
    with pytest.raises(ValueError, match="scale must not be 0 for all channels"):
        Loader(make_file()[0], 4, None, mean=None, scale=scale)


def test_a_channel_may_be_left_out_by_its_scale(make_file):
    with Loader(make_file()[0], 4, None, mean=None, scale=[1, 0, 1]) as loader:
        assert not loader.batch(0, 0)[0][..., 1].any()


def test_weights_that_are_all_0_are_an_error(make_file):
    path, _, labels = make_file()
    weights = {int(label): 0.0 for label in np.unique(labels)}
    cases = [
        ({"sample_weight": np.zeros(len(labels))}, "sample_weight must give a sample a weight above 0"),
        ({"class_weight": weights}, "class_weight must give a sample a weight above 0"),
        ({"class_weight": weights, "sample_weight": np.ones(len(labels))}, "sample_weight times class_weight must give"),
    ]
    for options, words in cases:
        with pytest.raises(ValueError, match=words):
            Loader(path, 4, None, mean=None, **options)


def test_an_output_may_be_switched_off_by_its_weights(make_file):
    path, _, labels = make_file()
    n = len(labels)
    options = {"labels": ("labels", "labels"), "sample_weight": (np.ones(n), np.zeros(n))}
    with Loader(path, 4, None, mean=None, **options) as loader:
        assert not loader.batch(0, 0)[2][1].any()
