"""Workers of Ray Train that train one Keras model on torch; Ray starts them again if one is lost.

    python examples/engines/ray_train.py --train train.h5 --world 2

prints the results of the last epoch (`{'loss': 0.6931, 'weights': '0c4eac5ad9b2', ...}`). A worker that is killed costs the steps
since the last save: Ray Train ends the others, starts all anew, and hands them the checkpoint.
"""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras
import ray.train.torch
import torch
import tyro
from keras import layers

import fastprep


def network(shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Build a small network that ends in logits."""
    x = inputs = keras.Input(shape)
    for filters in (8, 16):
        x = layers.MaxPooling2D()(layers.Conv2D(filters, 3, padding="same", activation="relu")(x))
    return keras.Model(inputs, layers.Dense(classes)(layers.GlobalAveragePooling2D()(x)))


def report(metrics: dict[str, Any], model: keras.Model, optimizer: torch.optim.Optimizer, loader: fastprep.Loader) -> None:
    """Report metrics to Ray Train, and from rank 0 a checkpoint of weights, optimizer and position in the data; for all ranks."""
    if ray.train.get_context().get_world_rank():
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        states = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "loader": loader.state_dict()}
        torch.save(states, Path(folder, "states.pt"))
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


def work(config: dict[str, Any]) -> None:
    """Train on one worker, from the checkpoint that Ray Train has, if there is one."""
    keras.utils.set_random_seed(0)  # all workers begin with the same weights
    crop = fastprep.RandomCrop(config["size"], mirror=True)
    options: dict[str, Any] = {"shuffle": True, "shard": "auto", "drop_remainder": True}
    with fastprep.Loader(config["train"], config["batch_size"], crop, scale=1 / 64, **options) as loader:
        model = network(loader.output_shape, config["classes"])
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        if checkpoint := ray.train.get_checkpoint():
            with checkpoint.as_directory() as folder:
                saved = torch.load(Path(folder, "states.pt"), map_location="cpu", weights_only=True)
            model.load_state_dict(saved["model"])
            optimizer.load_state_dict(saved["optimizer"])
            loader.load_state_dict(saved["loader"])
        parallel = ray.train.torch.prepare_model(model)  # DistributedDataParallel, where there are several workers
        compute_loss = torch.nn.CrossEntropyLoss()
        for epoch in range(loader.next_epoch, config["epochs"]):
            for step, (x, y) in enumerate(loader.tensors(), loader.next_step):
                optimizer.zero_grad()
                loss = compute_loss(parallel(x), y)
                loss.backward()
                optimizer.step()
                if (step + 1) % config["every"] == 0:
                    report({"epoch": epoch, "loss": loss.item()}, model, optimizer, loader)
            digest = hashlib.sha256(b"".join(weights.tobytes() for weights in model.get_weights())).hexdigest()[:12]
            print(f"rank {loader.shard[0]} of {loader.shard[1]}: epoch {epoch + 1}, weights {digest}", flush=True)
            report({"epoch": epoch, "loss": loss.item(), "weights": digest}, model, optimizer, loader)


def main(
    train: Path,
    *,
    world: int = 2,
    epochs: int = 3,
    size: int = 64,
    batch_size: int = 32,
    classes: int = 2,
    every: int = 50,
    out: Path = Path("runs"),
) -> None:
    """Train on `world` workers with batches of `batch_size` each, saving every so many steps; the checkpoints are in `out`."""
    config = {"train": str(train.absolute()), "epochs": epochs, "size": size}
    config |= {"batch_size": batch_size, "classes": classes, "every": every}
    run = ray.train.RunConfig(
        name="ray_train", storage_path=str(out.absolute()), failure_config=ray.train.FailureConfig(max_failures=3)
    )
    scaling = ray.train.ScalingConfig(num_workers=world, use_gpu=torch.cuda.is_available())
    trainer = ray.train.torch.TorchTrainer(work, train_loop_config=config, scaling_config=scaling, run_config=run)
    print(trainer.fit().metrics)


if __name__ == "__main__":
    tyro.cli(main)
