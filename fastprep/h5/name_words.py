"""Words in the names of datasets and files, by which it is guessed what they hold."""

from __future__ import annotations

import re

IMAGE_WORDS = {"images", "image", "imgs", "img", "x", "data", "pixels", "features", "frames", "photos", "pictures", "fea"}
LABEL_WORDS = {"labels", "label", "y", "ans", "class", "classes", "target", "targets", "species", "category", "gt", "gnd"}
OTHER_WORDS = {
    *("mask", "masks", "depth", "depths", "seg", "segmentation", "mean", "names", "weights", "id", "ids", "index", "box"),
    *("boxes", "bbox", "keypoints", "landmarks", "embedding", "embeddings", "kernel", "bias"),
}
TRAIN_WORDS = {"train", "training"}
VAL_WORDS = {"val", "valid", "validation", "dev"}
TEST_WORDS = {"test", "testing"}

_SPLITS = "|".join(sorted(TRAIN_WORDS | VAL_WORDS | TEST_WORDS, key=len, reverse=True))
_JOINED = re.compile(rf"(x|y)({_SPLITS})|({_SPLITS})(x|y)")


def words_of(name: str) -> set[str]:
    """Return the words of a name, in lower case: of "train_set_x/Img2", train, set, x and img; of "Xtrain", x and train."""
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    words: set[str] = set()
    for word in re.split(r"[^a-z]+", spaced.lower()):
        joined = _JOINED.fullmatch(word)
        words |= {part for part in joined.groups() if part} if joined else {word} - {""}
    return words


def split_of(name: str) -> str:
    """Return the part of a data set that a name tells of: "train", "val", "test" or nothing."""
    words = words_of(name)
    for split, known in (("train", TRAIN_WORDS), ("val", VAL_WORDS), ("test", TEST_WORDS)):
        if words & known:
            return split
    return ""


def differ_in_split(name: str, other: str) -> bool:
    """Tell whether two names tell of different parts of a data set."""
    return {split_of(name), split_of(other)} in ({"train", "val"}, {"train", "test"}, {"val", "test"})


def belong_together(train: str, other: str) -> bool:
    """Tell whether images are for training by their name, and others those for validation or testing that belong to them."""
    if split_of(other) not in ("val", "test") or split_of(train) in ("val", "test"):
        return False
    parts = TRAIN_WORDS | VAL_WORDS | TEST_WORDS
    return split_of(train) == "train" or words_of(train) - parts == words_of(other) - parts
