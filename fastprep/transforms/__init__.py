"""Descriptions of transforms. They turn (seed, epoch, sample) into the tables that kernels execute."""

from fastprep.transforms.affine import RandomAffine
from fastprep.transforms.augmentation import Augmentation, Blend, Color, Erase, check_transforms
from fastprep.transforms.blending import CutMix, MixUp, MixUpOrCutMix
from fastprep.transforms.colors import ChannelPermutation, ColorJitter, compose_colors, fitted_colors
from fastprep.transforms.crops import (
    CenterCrop,
    Crop,
    RandomCrop,
    TenCrop,
    TooSmallError,
    check_crop,
    check_fits,
    check_size,
    fitted,
)
from fastprep.transforms.erasing import RandomErasing
from fastprep.transforms.geometry import geometry_of, is_drawn, rows_of
from fastprep.transforms.lighting import Lighting
from fastprep.transforms.policies import Policy, RandAugment, TrivialAugment
from fastprep.transforms.resizing import RandomResizedCrop, Resize
from fastprep.transforms.table import FLIPPED, MIRRORED, TRANSPOSED, BlendTable, TransformTable
from fastprep.transforms.targets import Boxes, Mask, Points, Target

__all__ = [
    "FLIPPED",
    "MIRRORED",
    "TRANSPOSED",
    "Augmentation",
    "Blend",
    "BlendTable",
    "Boxes",
    "CenterCrop",
    "ChannelPermutation",
    "Color",
    "ColorJitter",
    "Crop",
    "CutMix",
    "Erase",
    "Lighting",
    "Mask",
    "MixUp",
    "MixUpOrCutMix",
    "Points",
    "Policy",
    "RandAugment",
    "RandomAffine",
    "RandomCrop",
    "RandomErasing",
    "RandomResizedCrop",
    "Resize",
    "Target",
    "TenCrop",
    "TooSmallError",
    "TransformTable",
    "TrivialAugment",
    "check_crop",
    "check_fits",
    "check_size",
    "check_transforms",
    "compose_colors",
    "fitted",
    "fitted_colors",
    "geometry_of",
    "is_drawn",
    "rows_of",
]
