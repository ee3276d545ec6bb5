"""Options of augmentation: what each preset and each option makes of the loaders, and what is refused."""

import dataclasses

import pytest

from fastprep.errors import InputError
from fastprep.loader import Loader
from fastprep.training import augmentation, data, run
from fastprep.training.config import Config, check
from fastprep.transforms import (
    CenterCrop,
    ColorJitter,
    CutMix,
    Lighting,
    MixUp,
    MixUpOrCutMix,
    RandAugment,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    TrivialAugment,
)

JITTER = (ColorJitter(0.4, 0.4, 0.4),)
RESIZED = RandomResizedCrop(8, (0.08, 1.0), mirror=True)


@pytest.mark.parametrize(
    ("options", "crop", "color", "erase", "blend"),
    [
        ({}, RandomCrop(8, mirror=True), None, None, None),
        ({"augment": "none"}, CenterCrop(8), None, None, None),
        ({"augment": "none", "resize": 9}, CenterCrop(8, resize=9), None, None, None),
        ({"turn": True, "flip": True, "mirror": False}, RandomCrop(8, flip=True, turn=True), None, None, None),
        ({"resize": 9}, RandomCrop(8, mirror=True, resize=9), None, None, None),
        ({"augment": "imagenet"}, RESIZED, JITTER, None, None),
        ({"augment": "imagenet", "jitter": 0.0, "scale": 0.5}, RandomResizedCrop(8, (0.5, 1.0), mirror=True), None, None, None),
        ({"augment": "strong"}, RESIZED, JITTER, RandomErasing(0.25), MixUpOrCutMix(MixUp(0.2), CutMix(1.0))),
        ({"augment": "strong", "mixup": 0.0, "erase": 0.0}, RESIZED, JITTER, None, CutMix(1.0)),
        ({"mixup": 0.4}, RandomCrop(8, mirror=True), None, None, MixUp(0.4)),
        ({"hue": 0.1, "lighting": 0.2}, RandomCrop(8, mirror=True), (ColorJitter(hue=0.1), Lighting(0.2)), None, None),
    ],
)
def test_options_become_the_arguments_of_the_loader(options, crop, color, erase, blend):
    wanted = {"crop": crop, "policy": None, "color": color, "erase": erase, "blend": blend}
    made = augmentation.training_transforms(Config(**options), 8, lambda: 3)
    assert made | {"color": made["color"] and tuple(made["color"])} == wanted


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("trivial", TrivialAugment()),
        ("rand", RandAugment()),
        ("rand:3:15", RandAugment(3, 15)),
        ("rand:1:0", RandAugment(1, 0)),
        (None, None),
    ],
)
@pytest.mark.parametrize("augment", augmentation.PRESETS)
def test_a_policy_goes_with_every_preset(text, policy, augment):
    made = augmentation.training_transforms(Config(augment=augment, policy=text), 8, lambda: 3)
    plain = augmentation.training_transforms(Config(augment=augment), 8, lambda: 3)
    assert made == {**plain, "policy": policy}
    assert augmentation.given_options(Config(policy=text)) == ([] if text is None else ["--policy"])


def test_a_policy_of_grey_images_has_no_colour_and_nothing_asks_for_the_channels_without_one():
    grey = augmentation.training_transforms(Config(policy="rand:3:15"), 8, lambda: 1)["policy"]
    assert grey == RandAugment(3, 15, operations=[name for name in RandAugment().operations if name != "color"])
    augmentation.training_transforms(Config(), 8, lambda: pytest.fail("asked"))


def test_grey_images_have_no_saturation_to_change():
    assert augmentation.training_transforms(Config(augment="imagenet"), 8, lambda: 1)["color"] == [ColorJitter(0.4, 0.4)]


def test_validation_sees_the_centre_of_resized_images_whatever_training_sees():
    assert augmentation.plain_crop(Config(augment="strong", resize=256), 224) == CenterCrop(224, resize=256)


@pytest.mark.parametrize("standardize", [False, True])
def test_images_for_validation_are_standardised_as_those_of_training(make_file, standardize):
    path, _, _ = make_file(n=8)
    config = Config(train=str(path), val=str(path), standardize=standardize, batch_size=4)
    train, val = data._open(config, Loader, 10, "file", device="cpu")
    with train, val, run._unlabelled(config, train, 1) as unlabelled:
        assert [loader.standardize for loader in (train, val, unlabelled)] == [standardize] * 3


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"augment": "none", "turn": True}, "--turn and --flip go with random crops"),
        ({"augment": "none", "flip": True}, "--turn and --flip go with random crops"),
        ({"augment": "none", "scale": 0.5}, "--scale goes with random crops"),
        ({"policy": "auto"}, "--policy must be trivial, rand, or rand:N:M such as rand:2:9, got 'auto'"),
        ({"policy": "rand:2"}, "--policy must be"),
        ({"policy": "rand:2:9:1"}, "--policy must be"),
        ({"policy": ""}, "--policy must be"),
        ({"policy": "rand:2:31"}, r"--policy rand:2:31: magnitude must be an integer in 0\.\.30, got 31, as in rand:n:magnitude"),
        ({"policy": "rand:0:9"}, r"--policy rand:0:9: n must be an integer in 1\.\.16, got 0"),
        ({"scale": 1.5}, "--scale must be at least 0 and at most 1, got 1.5"),
        ({"hue": 0.6}, "--hue must be at least 0 and at most 0.5, got 0.6"),
        ({"mixup": -1.0}, "--mixup must be at least 0, got -1.0"),
        ({"resize": 0}, "--resize must be at least 1, got 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, options, problem):
    path = tmp_path / "x.h5"
    path.touch()
    with pytest.raises(InputError, match=problem):
        check(dataclasses.replace(Config(train=str(path), val=str(path)), **options))
