"""A program as users write it, for the type checkers of users: `.ci/wheels` has mypy check it against an installed wheel.

It is not run. Each line with `type: ignore` is a mistake that a checker has to report.
Where it does not, the comment is unused, and that is an error by the settings beside this file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, assert_type

import keras
import numpy as np
from numpy.typing import NDArray

import fastprep


def loaders(folder: Path) -> tuple[fastprep.Loader, fastprep.Loader, fastprep.Loader]:
    """Open files by a path, a pattern and a list, with crops and augmentation."""
    crop = fastprep.RandomResizedCrop(224, scale=(0.25, 1), mirror=True)
    train = fastprep.Loader(
        [folder / "a.h5", os.fspath(folder / "b.h5")],
        128,
        crop,
        policy=fastprep.RandAugment(2, 9),
        color=[fastprep.ColorJitter(0.4, 0.4, 0.4), fastprep.Lighting(0.1)],
        erase=fastprep.RandomErasing(),
        blend=fastprep.MixUp(0.2),
        labels=np.arange(10),
        num_classes=10,
        class_weight={"cat": 2.0, "dog": 1},
        shuffle=True,
        seed=7,
        dtype="bfloat16",
        layout="channels_first",
        shard="auto",
    )
    val = fastprep.Loader(folder / "val.h5", 128, fastprep.CenterCrop((224, 192)), mean=train.mean, on_corrupt="skip")
    test = fastprep.Loader("test-*.h5", batch_size=64, crop=fastprep.TenCrop(227), mean=[104.0, 117.0, 123.0], scale=1 / 255)
    return train, val, test


def masks_boxes_and_points(path: str) -> fastprep.Loader:
    """Labels that follow their images, several outputs, several inputs, whole images, and a part of the file."""
    part, rest = fastprep.split(np.arange(100), [0.9, 0.1], seed=1)
    fastprep.Loader(path, 8, None, labels=(fastprep.Boxes("boxes", max_boxes=20), "classes"), indices=rest)
    fastprep.Loader(path, 8, fastprep.Resize(96), images={"rgb": "images", "depth": "depth"}, mean={"rgb": "file", "depth": None})
    fastprep.Loader(path, 8, fastprep.RandomAffine(64, degrees=10), labels={"eyes": fastprep.Points("eyes")}, transform=darker)
    return fastprep.Loader(path, 8, fastprep.RandomCrop(64, mirror=True), labels=fastprep.Mask("masks", axes="NHW"), indices=part)


def darker(x: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Change a batch in place, as `transform=`."""
    x *= rng.uniform(0.5, 1)


def trained(model: keras.Model, train: fastprep.Loader, val: fastprep.Loader, test: fastprep.Loader) -> NDArray[Any]:
    """Train with callbacks, read what a loader says of itself, and predict."""
    callbacks = [fastprep.EpochSync(train), fastprep.LoaderMetrics(train)]
    model.fit(train, validation_data=val, epochs=3, callbacks=callbacks)
    with train.profile("profile.json", steps=100):
        model.fit(train, epochs=1)
    assert_type(train.n_samples, int)
    assert_type(len(train), int)
    assert_type(train.batch_size, int)
    assert_type(train.next_epoch, int)
    assert_type(train.samples(0, 0), NDArray[np.int64])
    probabilities = fastprep.predict(model, test)
    return probabilities


def own_loop(path: Path) -> dict[str, Any]:
    """Iterate without Keras, keep the position, and go on from it."""
    mean = fastprep.image_mean(path)
    with fastprep.loader.Loader(path, 32, fastprep.RandomCrop(56), mean=mean, shuffle=True, device="cpu") as loader:
        for x, y in loader:
            print(x.shape, y.shape)
        state = loader.state_dict()
        loader.load_state_dict(state)
        loader.set_epoch(3)
        try:
            loader.batch(3, 0)
        except fastprep.DataError as error:
            assert_type(error.file, str)
            assert_type(error.sample, int | None)
        return state


def files(path: Path) -> None:
    """Write a file, and describe folds of it."""
    fastprep.h5.write_images(path, np.zeros((4, 8, 8, 3), np.uint8), np.arange(4), overwrite=True)
    for train, val in fastprep.folds(np.arange(100), 5, seed=1):
        assert_type(train, NDArray[np.int64])
        assert_type(val, NDArray[np.int64])
    assert_type(fastprep.__version__, str)


def wrong_uses(path: Path, model: keras.Model) -> None:
    """Make mistakes that a checker is to report, one a line."""
    fastprep.Loader(path)  # type: ignore[call-arg]
    fastprep.Loader(path, "32", None)  # type: ignore[arg-type]
    fastprep.Loader(3, 32, None)  # type: ignore[arg-type]
    fastprep.Loader(path, 32, 227)  # type: ignore[arg-type]
    fastprep.Loader(path, 32, fastprep.RandomCrop)  # type: ignore[arg-type]
    fastprep.Loader(path, 32, None, shufle=True)  # type: ignore[call-arg]
    fastprep.Loader(path, 32, None, layout="NCHW")  # type: ignore[arg-type]
    fastprep.Loader(path, 32, None, on_corrupt="ignore")  # type: ignore[arg-type]
    fastprep.Loader(path, 32, None, io="read")  # type: ignore[arg-type]
    fastprep.Loader(path, 32, None, erase=fastprep.MixUp(0.2))  # type: ignore[arg-type]
    fastprep.Loader(path, 32, None, True)  # type: ignore[call-arg, arg-type]
    fastprep.RandomCrop(8, miror=True)  # type: ignore[call-arg]
    fastprep.RandomCrop("8")  # type: ignore[arg-type]
    fastprep.predict(model, path)  # type: ignore[arg-type]
    fastprep.EpochSync(path)  # type: ignore[arg-type]
    _ = fastprep.Lodaer  # type: ignore[attr-defined]
    loader = fastprep.Loader(path, 32, None)
    loader.n_samples = 3  # type: ignore[misc]
    loader.batch_size = 3  # type: ignore[misc]
    loader.batch("0", 0)  # type: ignore[arg-type]
    loader.bach(0, 0)  # type: ignore[attr-defined]
    loader.n_samples.upper()  # type: ignore[attr-defined]
