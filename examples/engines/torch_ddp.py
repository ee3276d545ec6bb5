"""Several processes that train one Keras model on torch, by `DistributedDataParallel` in a loop of your own.

    torchrun --nproc-per-node 2 examples/engines/torch_ddp.py --train train.h5

prints a line for each rank at the end (`rank 1 of 2: loss 0.6427, weights 0c4eac5ad9b2`). The same again goes on from the last
save, which all processes read.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras
import torch
import tyro
from keras import layers
from torch import distributed

import fastprep


def network(shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Build a small network that ends in logits."""
    x = inputs = keras.Input(shape)
    for filters in (8, 16):
        x = layers.MaxPooling2D()(layers.Conv2D(filters, 3, padding="same", activation="relu")(x))
    return keras.Model(inputs, layers.Dense(classes)(layers.GlobalAveragePooling2D()(x)))


def save(path: Path, model: keras.Model, optimizer: torch.optim.Optimizer, loader: fastprep.Loader) -> None:
    """Write weights, optimizer and position in the data to a single file; the old file stays until the new one is complete."""
    temporary = path.with_suffix(".tmp")
    states = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "loader": loader.state_dict()}
    torch.save(states, temporary)
    os.replace(temporary, path)


def main(
    train: Path,
    *,
    epochs: int = 3,
    size: int = 64,
    batch_size: int = 32,
    classes: int = 2,
    every: int = 50,
    out: Path = Path("runs/torch_ddp.pt"),
) -> None:
    """Train with batches of `batch_size` on each process, saving every so many steps, and going on from `out` if that exists."""
    out.parent.mkdir(parents=True, exist_ok=True)
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")  # by the variables that torchrun sets
    rank, world = distributed.get_rank(), distributed.get_world_size()
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))  # before Keras and the loader take a device
    keras.utils.set_random_seed(0)  # all processes begin with the same weights
    crop = fastprep.RandomCrop(size, mirror=True)
    options: dict[str, Any] = {"shuffle": True, "shard": "auto", "drop_remainder": True}
    with fastprep.Loader(train, batch_size, crop, scale=1 / 64, **options) as loader:
        model = network(loader.output_shape, classes)
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        if out.exists():
            saved = torch.load(out, map_location="cpu", weights_only=True)
            model.load_state_dict(saved["model"])
            optimizer.load_state_dict(saved["optimizer"])
            loader.load_state_dict(saved["loader"])
        parallel = torch.nn.parallel.DistributedDataParallel(model)  # which averages the gradients of all ranks
        compute_loss = torch.nn.CrossEntropyLoss()
        for epoch in range(loader.next_epoch, epochs):
            for step, (x, y) in enumerate(loader.tensors(), loader.next_step):
                optimizer.zero_grad()
                loss = compute_loss(parallel(x), y)
                loss.backward()
                optimizer.step()
                if rank == 0 and (step + 1) % every == 0:
                    save(out, model, optimizer, loader)
            if rank == 0:
                print(f"epoch {epoch + 1}: loss {loss.item():.4f} in the last batch", flush=True)
                save(out, model, optimizer, loader)
    digest = hashlib.sha256(b"".join(weights.tobytes() for weights in model.get_weights())).hexdigest()[:12]
    print(f"rank {rank} of {world}: weights {digest}", flush=True)
    distributed.destroy_process_group()


if __name__ == "__main__":
    tyro.cli(main)
