"""Images as (channels, height, width), for backends and devices that compute in that layout; the loader's kernel writes it.

    KERAS_BACKEND=jax python examples/channels_first.py                 # the demo's solar cells
    KERAS_BACKEND=torch python examples/channels_first.py --train train.h5 --val val.h5
    python examples/channels_first.py                                   # TensorFlow: channels_first on a GPU only

prints the backend and the layout (`jax: channels_first, x is (32, 1, 64, 64)`), Keras' progress and, at the end,
`val loss 0.521712, val accuracy 0.767176`. The weights fit either layout: Keras keeps kernels as (height, width, in, out).
"""

from pathlib import Path
from typing import Literal

import fastprep.quiet  # before keras: leaves out the messages of TensorFlow that concern no user

import keras
import tyro
from keras import layers

import fastprep
from fastprep.demo import FOLDER, build, image_size

Layout = Literal["channels_last", "channels_first"]


def best_layout() -> Layout:
    """Return the layout that the backend's convolutions take without a transposition on this device."""
    if keras.backend.backend() == "torch":
        return "channels_first"  # torch has no other layout; Keras would transpose for each layer
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return "channels_first" if tf.config.list_physical_devices("GPU") else "channels_last"
    return "channels_first"  # XLA compiles either, on any device


def network(shape: tuple[int, int, int], classes: int, layout: Layout) -> keras.Model:
    """Build a small network for images in that layout."""
    keras.config.set_image_data_format(layout)  # the default of layers that take a data_format
    axis = 1 if layout == "channels_first" else -1  # BatchNormalization takes an axis instead
    x = inputs = keras.Input(shape)
    for filters in (16, 32, 64):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.MaxPooling2D()(layers.ReLU()(layers.BatchNormalization(axis, momentum=0.9)(x)))
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def main(
    train: Path | None = None,
    val: Path | None = None,
    *,
    demo: bool = False,
    epochs: int = 3,
    size: int = 64,
    batch_size: int = 32,
    classes: int = 2,
    layout: Layout | None = None,
    out: Path = Path("runs/channels_first.keras"),
) -> None:
    """Train a small network in the layout that suits the backend; without files, or with --demo, on the demo's solar cells."""
    if demo or train is None or val is None:
        if train or val:
            raise SystemExit("--train and --val go together, and without --demo")
        cells = build(FOLDER / f"cells-{image_size(size)}", image_size(size))
        train, val = cells["train"], cells["val"]
    layout = layout or best_layout()
    crop, centre = fastprep.RandomCrop(size, mirror=True), fastprep.CenterCrop(size)
    with (
        fastprep.Loader(train, batch_size, crop, layout=layout, scale=1 / 64, shuffle=True) as train_loader,
        fastprep.Loader(val, batch_size, centre, layout=layout, scale=1 / 64, mean=train_loader.mean) as val_loader,
    ):
        print(f"{keras.backend.backend()}: {layout}, x is {(batch_size, *train_loader.output_shape)}")
        model = network(train_loader.output_shape, classes, layout)
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(train_loader, validation_data=val_loader, epochs=epochs)  # the line that was changed
        loss, accuracy = model.evaluate(val_loader, verbose=0)
    print(f"val loss {loss:.6f}, val accuracy {accuracy:.6f}")
    out.parent.mkdir(parents=True, exist_ok=True)
    model.save(out)


if __name__ == "__main__":
    tyro.cli(main)
