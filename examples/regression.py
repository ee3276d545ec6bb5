"""Several numbers to predict for each image: one head, one loss and one metric each, by name, in a dict.

    python examples/regression.py                                       # the demo's solar cells
    python examples/regression.py --train train.h5 --val val.h5 --labels targets --names width height

prints Keras' progress and, at the end, the error of each head beside that of always predicting the mean of the training targets:

    defect: mean squared error 0.150042 (always the mean: 0.186545)
    mono: mean squared error 0.067275 (always the mean: 0.241610)

Labels are any dataset of (N,) or (N, k) numbers, `labels="targets"` here, and the loader hands them on unchanged: y is (n, k).
Keras wants a dict with an entry for each output, so `Heads` splits y into columns before it computes loss and metrics. The rest
is plain Keras.
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
from fastprep.demo import FOLDER, build, image_size, split


@keras.saving.register_keras_serializable("examples")
class Heads(keras.Model):
    """Model with a dict of outputs, (n, 1) each, that takes y as a single array: column k is for output k."""

    def columns(self, y: Any) -> dict[str, Any]:
        y = keras.ops.reshape(y, (-1, len(self.output)))
        return {name: y[:, k : k + 1] for k, name in enumerate(self.output)}  # in `output_names` Keras sorts the names

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True) -> Any:  # type: ignore
        return super().compute_loss(x, self.columns(y), y_pred, sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None) -> Any:  # type: ignore
        return super().compute_metrics(x, self.columns(y), y_pred, sample_weight)


def network(shape: tuple[int, int, int], names: tuple[str, ...]) -> keras.Model:
    """Build a small network that ends in one number for each name."""
    x = inputs = keras.Input(shape)
    for filters in (16, 32, 64):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.GlobalAveragePooling2D()(x)
    return Heads(inputs, {name: layers.Dense(1, name=name)(x) for name in names})


def solar_cells(size: int) -> dict[str, Path]:
    """Write the demo's cells with two targets each: the probability of a defect, and whether the cell is monocrystalline."""
    from elpv_dataset.utils import load_dataset

    files = build(FOLDER / f"cells-targets-{size}", size)
    _, probability, kind = load_dataset()
    targets = np.stack([probability, kind == "mono"], axis=1).astype("float32")
    for name, samples in split((probability > 0.5).astype(np.int64), kind).items():
        with h5py.File(files[name], "a") as file:
            if "targets" not in file:
                file["targets"] = targets[samples]
    return files


def main(
    train: Path | None = None,
    val: Path | None = None,
    *,
    demo: bool = False,
    epochs: int = 3,
    size: int = 64,
    batch_size: int = 32,
    labels: str = "targets",
    names: tuple[str, ...] = ("defect", "mono"),
    out: Path = Path("runs/regression.keras"),
) -> None:
    """Predict the numbers in dataset `labels`, called `names`; without files, or with --demo, those of the demo's solar cells."""
    if demo or train is None or val is None:
        if train or val:
            raise SystemExit("--train and --val go together, and without --demo")
        cells = solar_cells(image_size(size))
        train, val = cells["train"], cells["val"]
    crop = fastprep.RandomCrop(size, mirror=True)
    with (
        fastprep.Loader(train, batch_size, crop, labels=labels, scale=1 / 64, shuffle=True) as train_loader,
        fastprep.Loader(
            val, batch_size, fastprep.CenterCrop(size), labels=labels, scale=1 / 64, mean=train_loader.mean
        ) as val_loader,
    ):
        model = network(train_loader.output_shape, names)
        model.compile("adam", loss=dict.fromkeys(names, "mse"), metrics={name: ["mae"] for name in names})
        model.fit(train_loader, validation_data=val_loader, epochs=epochs)  # the line that was changed
        predicted = model.predict(val_loader, verbose=0)  # not shuffled: row i is sample i
        known, wanted = (np.asarray(loader.labels).reshape(-1, len(names)) for loader in (train_loader, val_loader))
    for k, name in enumerate(names):
        error = np.mean((predicted[name][:, 0] - wanted[:, k]) ** 2)
        print(
            f"{name}: mean squared error {error:.6f} (always the mean: {np.mean((known[:, k].mean() - wanted[:, k]) ** 2):.6f})"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    model.save(out)


if __name__ == "__main__":
    tyro.cli(main)
