"""Descriptions of transforms. They turn (seed, epoch, sample) into the tables that kernels execute."""

from fastprep.transforms.crops import FLIPPED, MIRRORED, CenterCrop, Crop, RandomCrop, TenCrop, check_crop, check_fits, check_size

__all__ = ["FLIPPED", "MIRRORED", "CenterCrop", "Crop", "RandomCrop", "TenCrop", "check_crop", "check_fits", "check_size"]
