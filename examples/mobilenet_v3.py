"""MobileNetV3Small of keras.applications: class weights, mixed precision, and Keras' own callbacks, as for any other data.

    python examples/mobilenet_v3.py                                     # the demo's solar cells
    python examples/mobilenet_v3.py --train train.h5 --val val.h5 --size 224 --precision mixed_bfloat16

prints Keras' progress and at the end `val loss 0.691629, val accuracy 0.687023`. That is the share of the larger class, because
three epochs from scratch are only a beginning. Stopped by Ctrl-C and run again, it goes on with the epoch that was interrupted.
(The best epoch so far is then forgotten, because EarlyStopping and ModelCheckpoint do not save it.)

This network maps pixels of 0..255 to -1..1 itself (`--preprocessing inside`, the default of keras.applications), so the loader
subtracts nothing: mean=None. With `--preprocessing outside` the loader's kernel does the same in the pass over the pixels that it
makes anyway, with mean=127.5 and scale=1/127.5, and the network has one layer fewer.
"""

from pathlib import Path
from typing import Any, Literal

import fastprep.quiet  # before keras: leaves out the messages of TensorFlow that concern no user

import keras
import numpy as np
import tyro

import fastprep
from fastprep.demo import FOLDER, build, image_size

PREPROCESSING: dict[str, dict[str, Any]] = {"inside": {"mean": None}, "outside": {"mean": 127.5, "scale": 1 / 127.5}}


def network(shape: tuple[int, int, int], classes: int, preprocessing: str) -> keras.Model:
    """Build a MobileNetV3Small with a new head; without ImageNet's weights it takes one channel as well as three."""
    body = keras.applications.MobileNetV3Small(
        shape, include_top=False, weights=None, pooling="avg", include_preprocessing=preprocessing == "inside"
    )
    return keras.Model(body.input, keras.layers.Dense(classes, activation="softmax", dtype="float32")(body.output))


def balanced(labels: np.ndarray) -> dict[int, float]:
    """Return class weights with which all classes count equally, by the formula of scikit-learn's class_weight="balanced"."""
    classes, counts = np.unique(labels, return_counts=True)
    return {int(k): len(labels) / (len(classes) * int(n)) for k, n in zip(classes, counts, strict=True)}


def main(
    train: Path | None = None,
    val: Path | None = None,
    *,
    demo: bool = False,
    epochs: int = 3,
    size: int = 64,
    batch_size: int = 32,
    classes: int = 2,
    patience: int = 5,
    preprocessing: Literal["inside", "outside"] = "inside",
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32",
    out: Path = Path("runs/mobilenet_v3.keras"),
) -> None:
    """Train MobileNetV3Small on crops of `size` pixels; without files, or with --demo, on the demo's solar cells."""
    if demo or train is None or val is None:
        if train or val:
            raise SystemExit("--train and --val go together, and without --demo")
        cells = build(FOLDER / f"cells-{image_size(size)}", image_size(size))
        train, val = cells["train"], cells["val"]
    keras.config.set_dtype_policy(precision)
    options: dict[str, Any] = {"batch_size": batch_size, **PREPROCESSING[preprocessing]}
    with fastprep.Loader(train, crop=None, batch_size=1, mean=None) as file:
        weights = balanced(np.asarray(file.labels))
    crop = fastprep.RandomCrop(size, mirror=True)
    with (
        # not fit(class_weight=...), which Keras ignores for data that it takes unchanged
        fastprep.Loader(train, crop=crop, shuffle=True, class_weight=weights, **options) as train_loader,
        fastprep.Loader(val, crop=fastprep.CenterCrop(size), **options) as val_loader,
    ):
        model = network(train_loader.output_shape, classes, preprocessing)
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], weighted_metrics=[])
        callbacks = [
            keras.callbacks.EarlyStopping("val_loss", patience=patience, restore_best_weights=True),
            keras.callbacks.ModelCheckpoint(out, monitor="val_loss", save_best_only=True),
            keras.callbacks.BackupAndRestore(out.with_suffix(".backup")),
            fastprep.EpochSync(train_loader),  # after a restart the loader must begin with the same epoch as Keras
        ]
        out.parent.mkdir(parents=True, exist_ok=True)
        model.fit(train_loader, validation_data=val_loader, epochs=epochs, callbacks=callbacks)  # the line that was changed
        loss, accuracy = model.evaluate(val_loader, verbose=0)
    print(f"val loss {loss:.6f}, val accuracy {accuracy:.6f}")


if __name__ == "__main__":
    tyro.cli(main)
