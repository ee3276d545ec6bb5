"""Two images in, a map of distances out: a stereo pair as two inputs of one network, and the disparity of each pixel.

    pip install scikit-image
    python examples/two_inputs.py                                       # a motorcycle, seen by two cameras side by side
    python examples/two_inputs.py --train train.h5 --val val.h5 --shifts 24

prints Keras' progress and, at the end, a line like

    val disparity: off by 2.17 pixels (always the mean of training: 5.19)

The files have three datasets: images `left` and `right`, (N, height, width, 3), and `disparity`, (N, height, width), which says
how many pixels further left the right camera sees what a pixel of the left image shows; -1 where nobody knows. The loader cuts
the same part out of all three. It may flip them, but mirroring would exchange the cameras.
"""

from pathlib import Path
from typing import Any

import fastprep.quiet  # before keras: leaves out the messages of TensorFlow that concern no user

import h5py
import keras
import numpy as np
import tyro
from keras import layers, ops

import fastprep

FOLDER = Path("fastprep-demo")


@keras.saving.register_keras_serializable("examples")
class Costs(layers.Layer):
    """How far the features of the left image are from those of the right one, shifted by 0, 1, ... pixels."""

    def __init__(self, shifts: int, **options: Any) -> None:
        super().__init__(**options)
        self.shifts = shifts

    def call(self, left: Any, right: Any) -> Any:
        """Return a map of differences for each shift, (n, height, width, shifts, features)."""
        width = left.shape[2]
        padded = ops.pad(right, [(0, 0), (0, 0), (self.shifts - 1, 0), (0, 0)])
        shifted = [padded[:, :, self.shifts - 1 - k :][:, :, :width] for k in range(self.shifts)]
        return ops.stack([ops.abs(left - other) for other in shifted], axis=3)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, for a saved network."""
        return {**super().get_config(), "shifts": self.shifts}


@keras.saving.register_keras_serializable("examples")
class Expected(layers.Layer):
    """Expected shift of each pixel: the mean of all shifts, less likely where they cost more."""

    def call(self, costs: Any) -> Any:
        """Return (n, height, width)."""
        probabilities = ops.softmax(-costs[..., 0], axis=-1)
        return ops.sum(probabilities * ops.arange(costs.shape[3], dtype=costs.dtype), axis=-1)


def network(shapes: dict[str, tuple[int, int, int]], shifts: int) -> keras.Model:
    """Build a network that describes both images alike, compares them at all shifts, and judges their differences."""
    inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.items()}
    features = keras.Sequential([layers.Conv2D(8, 3, padding="same", activation=kind) for kind in ("relu", None)])
    x = Costs(shifts)(features(inputs["left"]), features(inputs["right"]))
    x = layers.Conv3D(8, 3, padding="same", activation="relu")(x)
    x = layers.Conv3D(8, 3, padding="same", activation="relu")(x)
    return keras.Model(inputs, Expected(dtype="float32")(layers.Conv3D(1, 3, padding="same")(x)))


@keras.saving.register_keras_serializable("examples")
def off_by(y: Any, found: Any) -> Any:
    """Return by how many pixels disparities are off on average, where they are known."""
    known = ops.cast(y >= 0, "float32")
    return ops.sum(ops.abs(y - found) * known) / ops.maximum(ops.sum(known), 1)


def write_parts(path: Path, pair: dict[str, np.ndarray], columns: slice, side: int, step: int) -> Path:
    """Write square parts, one every `step` pixels, of some columns of both images and their disparity."""
    pair = {name: values[:, columns] for name, values in pair.items()}
    height, width = pair["left"].shape[:2]
    corners = [(y, x) for y in range(0, height - side + 1, step) for x in range(0, width - side + 1, step)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in pair.items():
            file[name] = np.stack([values[y : y + side, x : x + side] for y, x in corners])
    return path


def motorcycle(size: int) -> tuple[Path, Path]:
    """Write parts of the left two thirds of the motorcycle for training, and of the rest for validation, half as large."""
    try:
        from skimage.data import stereo_motorcycle
    except ImportError:
        raise SystemExit(
            "the motorcycle is in scikit-image: pip install scikit-image, or name files by --train and --val"
        ) from None
    left, right, disparity = (
        values[:498].reshape(166, 3, 247, 3, -1).mean((1, 3), dtype="float32") for values in stereo_motorcycle()
    )
    known = np.where(np.isfinite(disparity), disparity / 3, -1)[..., 0]  # in pixels that are three times as large
    pair = {"left": left.round().astype("uint8"), "right": right.round().astype("uint8"), "disparity": known.astype("float32")}
    folder, side = FOLDER / f"motorcycle-{size}", size + 16
    train = write_parts(folder / "train.h5", pair, slice(0, 165), side, 6)
    return train, write_parts(folder / "val.h5", pair, slice(165, None), side, 12)


def main(
    train: Path | None = None,
    val: Path | None = None,
    *,
    demo: bool = False,
    epochs: int = 6,
    size: int = 48,
    batch_size: int = 16,
    shifts: int = 24,
    out: Path = Path("runs/two_inputs.keras"),
) -> None:
    """Train on stereo pairs with disparities below `shifts`; without files, or with --demo, on a motorcycle."""
    if demo or train is None or val is None:
        if train or val:
            raise SystemExit("--train and --val go together, and without --demo")
        train, val = motorcycle(size)
    options: dict[str, Any] = {
        "images": {"left": "left", "right": "right"},
        "labels": fastprep.Mask("disparity", interpolation="bilinear"),
        "mean": 127.5,  # of both; {"left": ..., "right": ...} gives each its own
        "scale": 1 / 64,
    }
    with (
        fastprep.Loader(train, batch_size, fastprep.RandomCrop(size, flip=True), shuffle=True, **options) as train_loader,
        fastprep.Loader(val, batch_size, fastprep.CenterCrop(size), **options) as val_loader,
    ):
        model = network(train_loader.output_shape, shifts)
        model.compile("adam", loss=off_by)
        model.fit(train_loader, validation_data=val_loader, epochs=epochs)
        found = model.predict(val_loader, verbose=0)
        wanted, known = (np.concatenate([np.array(y) for _, y in loader]) for loader in (val_loader, train_loader))
    errors = [np.abs(guess - wanted)[wanted >= 0].mean() for guess in (found, known[known >= 0].mean())]
    print(f"val disparity: off by {errors[0]:.2f} pixels (always the mean of training: {errors[1]:.2f})")
    out.parent.mkdir(parents=True, exist_ok=True)
    model.save(out)


if __name__ == "__main__":
    tyro.cli(main)
