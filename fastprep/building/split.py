"""Split of images into training, validation and test, stratified by class and reproducible."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from fastprep.building.scan import SourceFile
from fastprep.errors import InputError

SPLITS = ("train", "val", "test")
_UNIT = 1_000_000  # shares are whole parts of this, so that no rounding depends on the order of additions


def check_shares(shares: Sequence[float]) -> None:
    """Check the shares of training, validation and test.

    Raises
    ------
    InputError
        If they are not three non-negative numbers that add up to 1, the first above 0.
    """
    if not (np.isfinite(shares).all() and min(shares) >= 0 and shares[0] > 0 and abs(sum(shares) - 1) < 1e-5):
        got = " ".join(f"{share:g}" for share in shares)
        raise InputError(f"--split must be three shares that add up to 1, that of training above 0; got {got}")


def shuffled(images: Sequence[SourceFile], seed: int) -> list[SourceFile]:
    """Return images in an order that depends only on the seed and on their names, and not on other images.

    Parameters
    ----------
    images : sequence of SourceFile
    seed : int

    Returns
    -------
    list of SourceFile
    """
    return sorted(images, key=lambda image: hashlib.blake2b(f"{seed}/{image.shown}".encode(), digest_size=16).digest())


def stratify(images: Sequence[SourceFile], shares: Sequence[float]) -> None:
    """Assign each image to a split, class by class, so that the shares are right in each class and over all classes.

    Parameters
    ----------
    images : sequence of SourceFile
        Images with labels, in the order of `shuffled`; their `split` is set.
    shares : sequence of float
        Shares of training, validation and test; see `check_shares`.

    Notes
    -----
    Within a class, each image goes to the split that lacks most so far. What a split lacks is carried over to the next class, so
    that many small classes together give validation and test their shares, although none of them has a whole image to give. The
    first image of a class is for training, because a class that was never trained on can't be recognised.
    """
    classes: dict[str, list[SourceFile]] = defaultdict(list)
    for image in images:
        classes[image.label].append(image)
    parts = [round(share * _UNIT) for share in shares]
    parts[0] = _UNIT - parts[1] - parts[2]
    missing = [0, 0, 0]
    for label in sorted(classes):
        members = classes[label]
        if len(members) == 1:
            members[0].split = "train"
            continue
        missing = [min(max(value, -_UNIT), _UNIT) for value in missing]
        for position, image in enumerate(members):
            missing = [value + part for value, part in zip(missing, parts, strict=True)]
            choice = 0 if position == 0 else max(range(3), key=lambda k: (parts[k] > 0, missing[k], -k))
            missing[choice] -= _UNIT
            image.split = SPLITS[choice]
