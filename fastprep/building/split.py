"""Split images into training, validation and test, alike in their classes and the same every time."""

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
        If they are not three numbers from 0 that add up to 1, the first above 0.
    """
    if not (np.isfinite(shares).all() and min(shares) >= 0 and shares[0] > 0 and abs(sum(shares) - 1) < 1e-5):
        got = " ".join(f"{share:g}" for share in shares)
        raise InputError(f"--split must be three shares that add up to 1, that of training above 0; got {got}")


def shuffled(images: Sequence[SourceFile], seed: int) -> list[SourceFile]:
    """Return images in an order that depends on the seed and their names only, not on what else is there.

    Parameters
    ----------
    images : sequence of SourceFile
    seed : int

    Returns
    -------
    list of SourceFile
    """
    return sorted(images, key=lambda one: hashlib.blake2b(f"{seed}/{one.shown}".encode(), digest_size=16).digest())


def stratify(images: Sequence[SourceFile], shares: Sequence[float]) -> None:
    """Give each image a split, class by class, so that counts are right in each class and over all of them.

    Parameters
    ----------
    images : sequence of SourceFile
        With labels, in the order of `shuffled`; `split` is set.
    shares : sequence of float
        Of training, validation and test, see `check_shares`.

    Notes
    -----
    Within a class each image goes where most is missing so far. What is missing is carried over to the next class, so that
    many small classes have their share of validation and test together, though none of them has a whole image to give. The
    first image of a class is for training: what has never been seen there can't be told later.
    """
    classes: dict[str, list[SourceFile]] = defaultdict(list)
    for one in images:
        classes[one.label].append(one)
    parts = [round(share * _UNIT) for share in shares]
    parts[0] = _UNIT - parts[1] - parts[2]
    missing = [0, 0, 0]
    for label in sorted(classes):
        members = classes[label]
        if len(members) == 1:
            members[0].split = "train"
            continue
        missing = [min(max(value, -_UNIT), _UNIT) for value in missing]
        for place, one in enumerate(members):
            missing = [value + part for value, part in zip(missing, parts, strict=True)]
            choice = 0 if place == 0 else max(range(3), key=lambda k: (parts[k] > 0, missing[k], -k))
            missing[choice] -= _UNIT
            one.split = SPLITS[choice]
