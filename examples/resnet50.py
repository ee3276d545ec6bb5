"""ResNet50 of keras.applications, with a training step of your own (mixup) and, on request, mixed precision.

    python examples/resnet50.py                                         # the demo's solar cells
    python examples/resnet50.py --train train.h5 --val val.h5 --size 224 --precision mixed_float16
    python examples/resnet50.py --train train.h5 --val val.h5 --size 224 --weights imagenet

prints Keras' progress and, at the end, a line `val loss ..., val accuracy ...`.

From scratch, the mean of each channel is that of the training file. With weights (`imagenet`, or a file of weights without the
top layer), pixels must be what those weights were trained on: BGR, less the means below, and not scaled ("caffe" in
keras.applications). The loader subtracts the means, the first operation of the network reorders the channels, and
`preprocess_input` is not needed.
"""

from pathlib import Path
from typing import Any, Literal

import fastprep.quiet  # before keras: leaves out the messages of TensorFlow that concern no user

import keras
import tensorflow as tf
import tyro

import fastprep
from fastprep.demo import FOLDER, build, image_size

# In the channel order of the file. Grey images have one mean for the three channels that they become.
IMAGENET_MEAN = {"RGB": (123.68, 116.779, 103.939), "BGR": (103.939, 116.779, 123.68), "L": (114.799,)}


def as_bgr(x: Any, order: str | None) -> Any:
    """Turn a batch from the loader into the three channels that the network expects."""
    if x.shape[-1] == 1:
        return keras.ops.concatenate([x, x, x], axis=-1)
    return keras.ops.flip(x, axis=-1) if order == "RGB" else x


@keras.saving.register_keras_serializable("examples")
class Mixup(keras.Model):
    """Model that learns from blends of two images (mixup, https://arxiv.org/abs/1710.09412, with alpha = 1)."""

    def train_step(self, data: Any) -> dict[str, Any]:
        share = tf.random.uniform(())
        x, y = (tf.cast(share, part.dtype) * part + tf.cast(1 - share, part.dtype) * tf.reverse(part, [0]) for part in data)
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x, y, y_pred)
            scaled = self.optimizer.scale_loss(loss)  # for float16, whose small gradients would be 0; `apply` divides again
        self.optimizer.apply(tape.gradient(scaled, self.trainable_variables), self.trainable_variables)
        for metric in self.metrics:
            metric.update_state(loss) if metric.name == "loss" else metric.update_state(y, y_pred)
        return {metric.name: metric.result() for metric in self.metrics}


def network(shape: tuple[int, ...], classes: int, order: str | None, weights: str | None) -> keras.Model:
    """Build a ResNet50 with a new head; probabilities are float32 under any policy."""
    inputs = keras.Input(shape, dtype=keras.config.dtype_policy().compute_dtype)
    body = keras.applications.ResNet50(include_top=False, weights=weights, input_shape=(*shape[:2], 3), pooling="avg")
    return Mixup(inputs, keras.layers.Dense(classes, activation="softmax", dtype="float32")(body(as_bgr(inputs, order))))


def main(
    train: Path | None = None,
    val: Path | None = None,
    *,
    demo: bool = False,
    epochs: int = 2,
    size: int = 64,
    batch_size: int = 32,
    classes: int = 2,
    weights: str | None = None,
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32",
    out: Path = Path("runs/resnet50.keras"),
) -> None:
    """Train ResNet50 on crops of `size` pixels; without files, or with --demo, on the demo's solar cells."""
    if demo or train is None or val is None:
        if train or val:
            raise SystemExit("--train and --val go together, and without --demo")
        cells = build(FOLDER / f"cells-{image_size(size)}", image_size(size))
        train, val = cells["train"], cells["val"]
    keras.config.set_dtype_policy(precision)
    dtype = keras.config.dtype_policy().compute_dtype  # batches come in the type that the first layer computes in
    options: dict[str, Any] = {"batch_size": batch_size, "num_classes": classes, "dtype": dtype}
    with fastprep.Loader(train, crop=None, batch_size=1, mean=None) as file:
        order = file.channel_order
    if weights and order not in IMAGENET_MEAN:
        raise SystemExit(f"--weights needs images whose channel_order is one of {', '.join(IMAGENET_MEAN)}, got {order}")
    mean = IMAGENET_MEAN[order] if weights else "file"
    crop = fastprep.RandomCrop(size, mirror=True)
    with (
        fastprep.Loader(train, crop=crop, shuffle=True, mean=mean, **options) as train_loader,
        fastprep.Loader(val, crop=fastprep.CenterCrop(size), mean=train_loader.mean, **options) as val_loader,
    ):
        model = network(train_loader.output_shape, classes, order, weights)
        model.compile(keras.optimizers.Adam(1e-4 if weights else 1e-3), "categorical_crossentropy", metrics=["accuracy"])
        model.fit(train_loader, validation_data=val_loader, epochs=epochs)  # the line that was changed
        loss, accuracy = model.evaluate(val_loader, verbose=0)
    print(f"val loss {loss:.6f}, val accuracy {accuracy:.6f}")
    out.parent.mkdir(parents=True, exist_ok=True)
    model.save(out)


if __name__ == "__main__":
    tyro.cli(main)
