"""A class for each pixel: masks that are cropped, mirrored and resized with their images, and a small U-Net.

    python examples/segmentation.py                                     # discs and bars, drawn for it
    python examples/segmentation.py --train train.h5 --val val.h5 --masks masks --classes 3

prints Keras' progress and, at the end, a line for each class:

    class 0: intersection over union 0.9623

Masks are a dataset of class numbers, (N, height, width), in the files of the images. `fastprep.Mask` reads it with the images, so
the loss sees the class of exactly that pixel which the network sees, whatever was drawn.
"""

from pathlib import Path
from typing import Any

import fastprep.quiet  # before keras: leaves out the messages of TensorFlow that concern no user

import h5py
import keras
import numpy as np
import tyro
from keras import layers

import fastprep

FOLDER = Path("fastprep-demo")


def network(shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Build a small U-Net that ends in a probability of each class for each pixel."""
    x = inputs = keras.Input(shape)
    passed = []
    for filters in (16, 32, 32):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        passed.append(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(64, 3, padding="same", activation="relu")(x)
    for filters, skip in zip((32, 32, 16), reversed(passed), strict=True):
        x = layers.Concatenate()([layers.UpSampling2D()(x), skip])
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
    return keras.Model(inputs, layers.Conv2D(classes, 1, activation="softmax", dtype="float32")(x))


def discs_and_bars(path: Path, n: int, side: int, seed: int) -> Path:
    """Write images of one disc and one bar each, on a noisy ground, and masks that are 1 in the disc and 2 in the bar."""
    if path.exists():
        return path
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    masks = np.zeros((n, side, side), np.uint8)
    images = rng.normal(100, 25, (n, side, side, 3))
    for image, mask in zip(images, masks, strict=True):
        middle, radius = rng.uniform(0.2, 0.8, 2) * side, rng.uniform(0.1, 0.25) * side
        mask[(y - middle[0]) ** 2 + (x - middle[1]) ** 2 < radius**2] = 1
        angle, offset = rng.uniform(0, np.pi), rng.uniform(0.4, 0.6) * side
        mask[abs((y - offset) * np.cos(angle) + (x - offset) * np.sin(angle)) < side / 16] = 2
        image[mask > 0] += rng.uniform(-60, 90, (3, 3))[mask[mask > 0]]
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["images"], file["masks"] = images.clip(0, 255).astype(np.uint8), masks
    return path


def main(
    train: Path | None = None,
    val: Path | None = None,
    *,
    demo: bool = False,
    epochs: int = 10,
    size: int = 64,
    batch_size: int = 16,
    masks: str = "masks",
    classes: int = 3,
    out: Path = Path("runs/segmentation.keras"),
) -> None:
    """Train on the masks in dataset `masks`; without files, or with --demo, on discs and bars."""
    if demo or train is None or val is None:
        if train or val:
            raise SystemExit("--train and --val go together, and without --demo")
        train = discs_and_bars(FOLDER / f"discs-{size}" / "train.h5", 400, size * 5 // 4, seed=1)
        val = discs_and_bars(FOLDER / f"discs-{size}" / "val.h5", 100, size * 5 // 4, seed=2)
    options: dict[str, Any] = {"labels": fastprep.Mask(masks), "mean": 127.5, "scale": 1 / 64}
    crop = fastprep.RandomResizedCrop(size, scale=(0.4, 1), mirror=True)
    with (
        fastprep.Loader(train, batch_size, crop, shuffle=True, **options) as train_loader,
        fastprep.Loader(val, batch_size, fastprep.CenterCrop(size), **options) as val_loader,
    ):
        model = network(train_loader.output_shape, classes)
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(train_loader, validation_data=val_loader, epochs=epochs)
        found = model.predict(val_loader, verbose=0).argmax(axis=-1)
        wanted = np.concatenate([y for _, y in val_loader])
    for k in range(classes):
        both, either = ((found == k) & (wanted == k)).sum(), ((found == k) | (wanted == k)).sum()
        print(f"class {k}: intersection over union {both / max(either, 1):.4f}")
    out.parent.mkdir(parents=True, exist_ok=True)
    model.save(out)


if __name__ == "__main__":
    tyro.cli(main)
