"""Several processes that train one model by Keras' `fit` on JAX, under `keras.distribution.DataParallel`.

    for rank in 0 1; do
        python examples/engines/jax_data_parallel.py --rank $rank --world 2 --train train.h5 &
    done; wait

prints a line for each rank at the end (`rank 1 of 2: loss 0.6427, weights 0c4eac5ad9b2`). The same again goes on from the last
save, which all processes read.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")
import jax
import keras
import numpy as np
import tyro
from keras import layers

import fastprep


def network(shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Build a small network that ends in logits."""
    x = inputs = keras.Input(shape)
    for filters in (8, 16):
        x = layers.MaxPooling2D()(layers.Conv2D(filters, 3, padding="same", activation="relu")(x))
    return keras.Model(inputs, layers.Dense(classes)(layers.GlobalAveragePooling2D()(x)))


class Save(keras.callbacks.Callback):
    """Write weights, optimizer and position in the data to a single file every few steps, on rank 0; all ranks read them."""

    def __init__(self, path: Path, loader: fastprep.Loader, every: int) -> None:
        super().__init__()
        self.path, self.loader, self.every = path, loader, every

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if (batch + 1) % self.every == 0:
            self.save()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.save()

    def variables(self) -> list[Any]:
        return [*self.model.variables, *self.model.optimizer.variables]

    def save(self) -> None:
        if jax.process_index() == 0:  # every process has all of the weights, the same ones
            temporary = self.path.with_suffix(".tmp.npz")
            state = json.dumps(self.loader.state_dict())
            np.savez(temporary, *[np.asarray(variable) for variable in self.variables()], state=state)
            os.replace(temporary, self.path)

    def restore(self) -> None:
        with np.load(self.path) as saved:
            for k, variable in enumerate(self.variables()):
                variable.assign(saved[f"arr_{k}"])
            self.loader.load_state_dict(json.loads(str(saved["state"])))


def main(
    train: Path,
    *,
    rank: int,
    world: int,
    val: Path | None = None,
    coordinator: str = "localhost:23456",
    epochs: int = 3,
    size: int = 64,
    batch_size: int = 32,
    classes: int = 2,
    every: int = 50,
    out: Path = Path("runs/jax_data_parallel.npz"),
) -> None:
    """Train with batches of `batch_size` on each process, saving every so many steps, and going on from `out` if that exists."""
    out.parent.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")  # what processes without GPUs speak to each other by
    keras.distribution.initialize(coordinator, world, rank)  # which calls jax.distributed.initialize
    keras.utils.set_random_seed(0)  # all processes begin with the same weights
    keras.distribution.set_distribution(keras.distribution.DataParallel())  # before loader and model are made
    crop = fastprep.RandomCrop(size, mirror=True)
    options: dict[str, Any] = {"shuffle": True, "shard": "auto", "drop_remainder": True}
    with fastprep.Loader(train, batch_size, crop, scale=1 / 64, **options) as loader:
        model = network(loader.output_shape, classes)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss, metrics=["accuracy"])
        model.optimizer.build(model.trainable_variables)
        save = Save(out, loader, every)
        save.set_model(model)
        if out.exists():
            save.restore()
        # each process validates all images: the metrics are those of one process, and no share has to be even
        val_loader = val and fastprep.Loader(val, batch_size, fastprep.CenterCrop(size), scale=1 / 64, mean=loader.mean)
        first = loader.next_epoch
        history = model.fit(
            loader, validation_data=val_loader, initial_epoch=first, epochs=epochs, callbacks=[save], verbose=2 * (rank == 0)
        ).history
    digest = hashlib.sha256(b"".join(weights.tobytes() for weights in model.get_weights())).hexdigest()[:12]
    results = "".join(f"{name} {values[-1]:.4f}, " for name, values in history.items())
    print(f"rank {rank} of {world}: {results}weights {digest}")


if __name__ == "__main__":
    tyro.cli(main)
