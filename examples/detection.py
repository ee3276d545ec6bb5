"""Boxes around objects: mapped with each crop, clipped, padded to a fixed number, and learned by a small detector.

    python examples/detection.py                                        # crosses and frames, drawn for it
    python examples/detection.py --train train.h5 --val val.h5 --boxes boxes --classes 2

prints Keras' progress and, at the end, a line like

    found 151 of 188 objects, and 8 that are none

Boxes are a dataset (N, M, 5): left, top, right and bottom edge in pixels, and the class. Rows of -1 are none, in the file as in a
batch. The image is a grid of cells; the cell in which the middle of a box lies has to say so, and where its edges are.
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
STRIDE = 8  # pixels of a cell


def network(shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Build a network that ends, for each cell, in logits of an object and of each class, and four edges from its middle."""
    x = inputs = keras.Input(shape)
    for filters in (16, 32, 64):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(64, 3, padding="same", activation="relu")(x)
    return keras.Model(inputs, layers.Conv2D(5 + classes, 1, dtype="float32")(x))


@keras.saving.register_keras_serializable("examples")
def cell_loss(y: Any, cells: Any) -> Any:
    """Compare what the cells say with the boxes (n, M, 5) of a batch: one loss for each image."""
    height, width, depth = cells.shape[1:]
    cells = ops.reshape(cells, (-1, height * width, depth))
    middle_x, middle_y = ((y[:, :, k] + y[:, :, k + 2]) / 2 / STRIDE for k in (0, 1))
    number = ops.cast(ops.floor(middle_y) * width + ops.floor(middle_x), "int32")
    is_box = ops.cast(y[:, :, 4] >= 0, "float32")
    owner = ops.one_hot(number, height * width) * is_box[:, :, None]  # (n, M, cells)
    has_box = ops.max(owner, axis=1)
    share = owner / ops.maximum(ops.sum(owner, axis=1, keepdims=True), 1)  # of a cell with two boxes, the mean of both
    middles = ops.stack([ops.floor(middle_x), ops.floor(middle_y)] * 2, axis=-1) + 0.5
    edges = ops.einsum("nmc,nmk->nck", share, y[:, :, :4] / STRIDE - middles)
    classes = ops.einsum("nmc,nmk->nck", share, ops.one_hot(ops.cast(ops.maximum(y[:, :, 4], 0), "int32"), depth - 5))
    object_loss = ops.binary_crossentropy(has_box, cells[..., 0], from_logits=True)
    edge_loss = ops.mean(ops.abs(cells[..., 1:5] - edges), axis=-1)
    class_loss = ops.categorical_crossentropy(classes, cells[..., 5:], from_logits=True)
    return ops.sum(object_loss + has_box * (edge_loss + class_loss), axis=1)


def boxes_of(cells: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Return the class and the edges of each object that the cells of an image tell of."""
    return [
        (int(cell[5:].argmax()), (np.array([column, row] * 2) + 0.5 + cell[1:5]) * STRIDE)
        for row, line in enumerate(cells)
        for column, cell in enumerate(line)
        if cell[0] > 0
    ]


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Return the intersection of two boxes over their union."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    both = sides.clip(0).prod()
    return both / ((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - both)


def crosses_and_frames(path: Path, n: int, side: int, seed: int) -> Path:
    """Write images of up to three crosses (class 0) and frames (class 1), and their boxes."""
    if path.exists():
        return path
    rng = np.random.default_rng(seed)
    images, boxes = rng.normal(90, 15, (n, side, side, 3)), np.full((n, 3, 5), -1.0)
    for image, objects in zip(images, boxes, strict=True):
        for k in range(rng.integers(1, 4)):
            long, kind = int(rng.integers(12, 24)), int(rng.integers(0, 2))
            top, left = rng.integers(0, side - long, 2)
            objects[k] = left, top, left + long, top + long, kind
            line = np.abs(np.arange(long) - (long - 1) / 2)
            stroke = (
                np.minimum(*np.meshgrid(line, line)) < 2 if kind == 0 else np.maximum(*np.meshgrid(line, line)) > long / 2 - 3
            )
            image[top : top + long, left : left + long][stroke] = rng.uniform(150, 255, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["images"], file["boxes"] = images.clip(0, 255).astype(np.uint8), boxes
    return path


def main(
    train: Path | None = None,
    val: Path | None = None,
    *,
    demo: bool = False,
    epochs: int = 15,
    size: int = 64,
    batch_size: int = 16,
    boxes: str = "boxes",
    classes: int = 2,
    out: Path = Path("runs/detection.keras"),
) -> None:
    """Train on the boxes in dataset `boxes`; without files, or with --demo, on crosses and frames."""
    if demo or train is None or val is None:
        if train or val:
            raise SystemExit("--train and --val go together, and without --demo")
        train = crosses_and_frames(FOLDER / f"crosses-{size}" / "train.h5", 600, size * 5 // 4, seed=1)
        val = crosses_and_frames(FOLDER / f"crosses-{size}" / "val.h5", 100, size * 5 // 4, seed=2)
    options: dict[str, Any] = {"labels": fastprep.Boxes(boxes, min_visible=0.4), "mean": 127.5, "scale": 1 / 64}
    crop = fastprep.RandomCrop(size, mirror=True, flip=True)
    with (
        fastprep.Loader(train, batch_size, crop, shuffle=True, **options) as train_loader,
        fastprep.Loader(val, batch_size, fastprep.CenterCrop(size), **options) as val_loader,
    ):
        model = network(train_loader.output_shape, classes)
        model.compile("adam", cell_loss)
        model.fit(train_loader, validation_data=val_loader, epochs=epochs)
        predicted = model.predict(val_loader, verbose=0)
        wanted = np.concatenate([y for _, y in val_loader])
    n_found = n_wrong = 0
    for cells, objects in zip(predicted, wanted, strict=True):
        told = boxes_of(cells)
        near = [[kind == box[4] and overlap(edges, box[:4]) > 0.5 for kind, edges in told] for box in objects if box[4] >= 0]
        n_found += sum(any(row) for row in near)
        n_wrong += sum(not any(row[k] for row in near) for k in range(len(told)))
    print(f"found {n_found} of {int((wanted[..., 4] >= 0).sum())} objects, and {n_wrong} that are none")
    out.parent.mkdir(parents=True, exist_ok=True)
    model.save(out)


if __name__ == "__main__":
    tyro.cli(main)
