"""What the options of a run do to its images: presets, single options, and the arguments of the loaders that follow."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

from fastprep.command_lines import option
from fastprep.errors import InputError
from fastprep.training.options import AugmentationOptions
from fastprep.transforms import (
    CenterCrop,
    ColorJitter,
    Crop,
    CutMix,
    Lighting,
    MixUp,
    MixUpOrCutMix,
    Policy,
    RandAugment,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    TrivialAugment,
)

PRESETS: dict[str, dict[str, float]] = {
    "none": {},
    "crop": {},
    "imagenet": {"scale": 0.08, "jitter": 0.4},
    "strong": {"scale": 0.08, "jitter": 0.4, "erase": 0.25, "mixup": 0.2, "cutmix": 1.0},
}
"""What `--augment` sets of the options that are not given. Sizes of the effects as in the training references of torchvision and
timm."""


def given_options(options: AugmentationOptions) -> list[str]:
    """Return the names on the command line of the options that have another value than by default."""
    return [
        option(field.name) for field in dataclasses.fields(AugmentationOptions) if getattr(options, field.name) != field.default
    ]


def amount(options: AugmentationOptions, name: str) -> float:
    """Return the value of an option: as given, or as the preset says, or 0."""
    given = getattr(options, name)
    return PRESETS[options.augment].get(name, 0.0) if given is None else given


def blends(options: AugmentationOptions) -> bool:
    """Tell whether images are blended, so that labels have to be one-hot."""
    return amount(options, "mixup") > 0 or amount(options, "cutmix") > 0


def policy_of(text: str | None) -> Policy | None:
    """Return the policy that the option --policy names.

    Raises
    ------
    InputError
        If it names none, or one with numbers that are out of range.
    """
    if text is None or text == "trivial":
        return None if text is None else TrivialAugment()
    found = re.fullmatch(r"rand(?::([0-9]{1,4}):([0-9]{1,4}))?", text)
    if found is None:
        raise InputError(f"--policy must be trivial, rand, or rand:N:M such as rand:2:9, got {text!r}")
    try:
        return RandAugment(*(int(number) for number in found.groups() if number is not None))
    except ValueError as error:
        raise InputError(f"--policy {text}: {error}, as in rand:n:magnitude") from None


def training_transforms(options: AugmentationOptions, side: int, channels: Callable[[], int]) -> dict[str, Any]:
    """Return the arguments `crop`, `policy`, `color`, `erase` and `blend` of the loader of the training images.

    Parameters
    ----------
    options : AugmentationOptions
    side : int
        Side of the crops, in pixels.
    channels : callable
        Returns the number of channels of the images; one has no saturation to change. Called only if that matters.

    Raises
    ------
    InputError
        If --policy names no policy.
    """
    policy = policy_of(options.policy)
    if policy is not None and channels() == 1:
        policy = dataclasses.replace(policy, operations=tuple(name for name in policy.operations if name != "color"))
    jitter, hue, lighting = (amount(options, name) for name in ("jitter", "hue", "lighting"))
    color: list[Any] = [ColorJitter(jitter, jitter, jitter if jitter and channels() > 1 else 0.0, hue)] if jitter or hue else []
    color += [Lighting(lighting)] if lighting else []
    erase = amount(options, "erase")
    return {
        "crop": _training_crop(options, side),
        "policy": policy,
        "color": color or None,
        "erase": RandomErasing(erase) if erase else None,
        "blend": _blend(amount(options, "mixup"), amount(options, "cutmix")),
    }


def plain_crop(options: AugmentationOptions, side: int) -> CenterCrop:
    """Return the crop of images for validation."""
    return CenterCrop(side, resize=options.resize)


def _training_crop(options: AugmentationOptions, side: int) -> Crop:
    if options.augment == "none":
        return plain_crop(options, side)
    turns: dict[str, Any] = {"mirror": options.mirror, "flip": options.flip, "turn": options.turn}
    if scale := amount(options, "scale"):
        return RandomResizedCrop(side, (scale, 1.0), **turns)
    return RandomCrop(side, resize=options.resize, **turns)


def _blend(mixup: float, cutmix: float) -> Any:
    if mixup and cutmix:
        return MixUpOrCutMix(MixUp(mixup), CutMix(cutmix))
    return MixUp(mixup) if mixup else CutMix(cutmix) if cutmix else None
