"""A training loop of your own, without `fit`, that goes on at the exact next batch after Ctrl-C.

    python examples/own_loop.py                                         # the demo's solar cells; Ctrl-C, and the same again
    python examples/own_loop.py --train train.h5 --val val.h5 --size 96 --out runs/own_loop.npz

prints a line for each epoch (`epoch 3: loss 0.545227`), at Ctrl-C `stopped in epoch 4, after 544 samples of it`, and at the end
a line like `val accuracy 0.751908`. After any number of stops the weights are those of an uninterrupted run, bit for bit.
"""

import json
import os
import signal
from pathlib import Path
from typing import Any

import fastprep.quiet  # before keras: leaves out the messages of TensorFlow that concern no user

import keras
import numpy as np
import tensorflow as tf
import tyro
from keras import layers

import fastprep
from fastprep.demo import FOLDER, build, image_size


def network(shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Build a small network that ends in logits."""
    x = inputs = keras.Input(shape)
    for filters in (16, 32, 64):
        x = layers.MaxPooling2D()(layers.Conv2D(filters, 3, padding="same", activation="relu")(x))
    return keras.Model(inputs, layers.Dense(classes)(layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(x))))


def save(path: Path, variables: list[Any], state: dict[str, Any]) -> None:
    """Write weights, optimizer and position in the data to a single file; the old file stays until the new one is complete."""
    temporary = path.with_suffix(".tmp.npz")
    np.savez(temporary, *[np.asarray(variable) for variable in variables], state=json.dumps(state))
    os.replace(temporary, path)


def restore(path: Path, variables: list[Any]) -> dict[str, Any]:
    """Restore saved values, and return the saved position in the data."""
    with np.load(path) as saved:
        for k, variable in enumerate(variables):
            variable.assign(saved[f"arr_{k}"])
        return json.loads(str(saved["state"]))


def main(
    train: Path | None = None,
    val: Path | None = None,
    *,
    demo: bool = False,
    epochs: int = 3,
    size: int = 64,
    batch_size: int = 32,
    classes: int = 2,
    out: Path = Path("runs/own_loop.npz"),
) -> None:
    """Train a small network, going on from `out` if that exists; without files, or with --demo, on the demo's solar cells."""
    if demo or train is None or val is None:
        if train or val:
            raise SystemExit("--train and --val go together, and without --demo")
        cells = build(FOLDER / f"cells-{image_size(size)}", image_size(size))
        train, val = cells["train"], cells["val"]
    out.parent.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()  # so that two runs are the same to the last bit
    stop: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: stop.append(number))  # a step that is under way is finished first
    crop = fastprep.RandomCrop(size, mirror=True)
    with (
        fastprep.Loader(train, batch_size, crop, scale=1 / 64, shuffle=True) as train_loader,
        fastprep.Loader(val, batch_size, fastprep.CenterCrop(size), scale=1 / 64, mean=train_loader.mean) as val_loader,
    ):
        model, optimizer = network(train_loader.output_shape, classes), keras.optimizers.Adam()
        optimizer.build(model.trainable_variables)
        total = keras.Variable(0.0, name="total")  # sum of the losses of the epoch under way
        variables = [*model.variables, *optimizer.variables, total]  # dropout's random state is one of the model's
        if out.exists():
            train_loader.load_state_dict(restore(out, variables))

        @tf.function(reduce_retracing=True)
        def step(x: tf.Tensor, y: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                losses = keras.losses.sparse_categorical_crossentropy(y, model(x, training=True), from_logits=True)
                loss = tf.reduce_mean(losses)
            optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
            total.assign_add(tf.reduce_sum(losses))

        for epoch in range(train_loader.next_epoch, epochs):
            for x, y in train_loader.tensors():  # TensorFlow's, in the memory to which the loader's kernel wrote
                step(x, y)
                if stop:
                    break
            state = train_loader.state_dict()  # after the batch that was handed out last
            if state["seen"] == 0:  # the state is in the next epoch: this one is over
                print(f"epoch {epoch + 1}: loss {float(total) / train_loader.n_samples:.6f}", flush=True)
                total.assign(0.0)
            save(out, variables, state)
            if stop:
                print(f"stopped in epoch {state['epoch'] + 1}, after {state['seen']} samples of it")
                raise SystemExit(130)
        right = [tf.argmax(model(x, training=False), axis=1) == y for x, y in val_loader.tensors()]
    print(f"val accuracy {np.concatenate(right).mean():.6f}")


if __name__ == "__main__":
    tyro.cli(main)
