"""The configuration of a training run: one frozen dataclass, its rules, and the JSON it is saved as."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from tyro.conf import arg

from fastprep.cli.help import flowing
from fastprep.dataset.dataset import expand_paths
from fastprep.errors import InputError, input_errors

_PLACES = ("train", "val", "workers", "grace", "tensorboard", "rank_timeout")
# What a resumed run may be told anew; anything else would make it another run.
MAY_CHANGE = (*_PLACES, "epochs", "early_stop", "save_every", "on_corrupt")
# What ranks of one run may be told differently: where things are on their host, and how long to wait there.
MAY_DIFFER = (*_PLACES, "mean", "weights", "out", "resume", "config")


@flowing
@dataclass(frozen=True)
class Config:
    """Train a network on images in HDF5 files: --train FILE --val FILE, or --demo, or --resume RUN."""

    train: Annotated[str | None, arg(metavar="FILE")] = None
    """Training file, or a glob pattern of files, in quotes."""
    val: Annotated[str | None, arg(metavar="FILE")] = None
    """Validation file."""
    images: Annotated[str, arg(metavar="NAME")] = "images"
    """Dataset of images in the files."""
    labels: Annotated[str, arg(metavar="NAME")] = "labels"
    """Dataset of labels in the files: one integer, from 0, for each image."""
    classes: Annotated[int | None, arg(metavar="INT")] = None
    """Number of classes. Default: as many as the training file names (attribute class_names), or has labels."""
    demo: bool = False
    """Train on 2,624 photographs of solar cells from the package elpv-dataset, and test. Its own defaults: --demo --help."""
    full: bool = False
    """With --demo: images of 256 and crops of 227 instead of the quick sizes. Half an hour or more without a GPU."""
    out: Annotated[str | None, arg(metavar="FOLDER")] = None
    """Run folder to make. Default: runs/DATE-TIME."""
    resume: Annotated[str | None, arg(metavar="RUN")] = None
    """Go on with an interrupted run, at the batch after its last save. Its configuration holds; epochs, early-stop, workers,
    save-every, grace, on-corrupt, tensorboard, rank-timeout and the places of the files may be given anew, and the number of
    ranks be another."""
    config: Annotated[str | None, arg(metavar="FILE")] = None
    """The config.json of another run, to start from: what else is on the command line wins."""

    model: Annotated[str, arg(metavar="alexnet|MODULE:FUNCTION")] = "alexnet"
    """The network: `keras.applications:MobileNetV2`, or a function of your own that takes the shape of an image and the number
    of classes and returns a Keras model."""
    weights: Annotated[str | None, arg(metavar="FILE.keras")] = None
    """Begin with the weights of a saved model; layers of another shape (the last one, for other classes) begin anew."""
    freeze: Annotated[str | None, arg(metavar="INT|PATTERN")] = None
    """Keep the first layers that have weights, as many as said, as they are; or those whose names match: `conv2d*`."""

    epochs: int = 75
    """Passes over the training file."""
    batch_size: int = 128
    """Images a step; of several ranks (see docs/distributed.md) those of each, and --lr stays what it is."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """sgd is with Nesterov's momentum."""
    lr: float = 1e-3
    """Highest learning rate. For sgd, 1e-2 is a usual one."""
    momentum: float = 0.9
    """Of sgd."""
    weight_decay: Annotated[float | None, arg(metavar="FLOAT")] = None
    """Decoupled from the gradient; biases and normalisations are left out. Default: 0.004 for adamw, 0 for the others."""
    l2: Annotated[float | None, arg(metavar="FLOAT")] = None
    """L2 penalty on AlexNet's kernels. Default: 2e-4, as the tutorial has it. Other networks bring their own."""
    pool_dropout: Annotated[float | None, arg(metavar="FLOAT")] = None
    """Rate of the dropout after AlexNet's poolings. Default: 0.25, as the tutorial has it; 0 is as in the paper of AlexNet."""
    schedule: Literal["constant", "cosine", "step", "plateau"] = "constant"
    """Of the learning rate after the warm-up: keep it; let it fall to 0 along half a cosine; multiply it by --factor after every
    --step-every epochs; or after --patience epochs without a better validation loss."""
    warmup: Annotated[float | None, arg(metavar="EPOCHS")] = None
    """Let the learning rate rise from a tenth. Default: during 1 epoch for cosine, else not."""
    factor: float = 0.1
    """See --schedule."""
    step_every: int = 25
    """See --schedule."""
    patience: int = 5
    """See --schedule."""
    monitor: Literal["accuracy", "loss"] = "accuracy"
    """What makes a model the best one, which is kept: its validation accuracy, and of equals the loss, or the other way round."""
    early_stop: Annotated[int | None, arg(metavar="EPOCHS")] = None
    """Stop when as many epochs have brought no better model."""
    label_smoothing: float = 0.0
    """Part of each label that is spread over all classes, 0..1; the validation loss has it, too."""
    class_weight: Annotated[str, arg(metavar="none|balanced|CLASS:WEIGHT,...")] = "none"
    """Weight of the classes in the loss of training: `balanced` (N over classes times images of the class), or one by one, by
    number or name: `cat:1,dog:2.5`; 1 for those not named."""
    sample_weight: Annotated[str | None, arg(metavar="NAME")] = None
    """Dataset of a weight for each image in the training file, for the loss of training; with --class-weight, their product."""
    batchnorm_steps: Annotated[int, arg(metavar="STEPS")] = 0
    """Before each validation, measure the means and variances of batch normalisation anew on as many batches of training, with
    dropout off, in the place of their moving averages: these lag behind, and dropout distorts them. 0: leave them."""
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """Keras' policy for the network. mixed_float16 suits GPUs, and scales the loss."""

    crop: int = 227
    """Side of the patches in pixels: random ones for training, the centre for validation."""
    mirror: bool = True
    """Mirror half of the training patches left-right."""
    flip: bool = False
    """Flip half of the training patches top-bottom."""
    mean: Annotated[str, arg(metavar="file|compute|none|JSON")] = "file"
    """What is subtracted: `file` (stored in the training file), `compute`, `none`, or the path of a JSON with R, G and B."""
    on_corrupt: Literal["raise", "skip"] = "raise"
    """What to do about images that can't be read: `skip` takes the next ones in the file, and says in the end how many."""
    seed: int = 42
    """Of weights, dropout, order and patches."""
    deterministic: bool = False
    """Let TensorFlow use only operations that give the same bits every time. Slower on GPUs; see --resume."""
    workers: Annotated[int | None, arg(metavar="INT")] = None
    """Threads that prepare batches. Default: one for each processor, eight at most."""
    save_every: Annotated[int | None, arg(metavar="STEPS")] = None
    """Save the run, for --resume, after as many steps. Default: every ten minutes. After every epoch in any case."""
    grace: Annotated[float, arg(metavar="SECONDS")] = 25.0
    """How long SIGTERM and SIGHUP may take to save the run before they end it all the same. Schedulers kill after 30 s or so."""
    tensorboard: bool = False
    """Write RUN/tensorboard as well."""
    rank_timeout: Annotated[float, arg(metavar="SECONDS")] = 300.0
    """With several ranks (TF_CONFIG): how long to wait for the others, at the start and in a step, before this one ends."""


def check(config: Config) -> None:
    """Check what neither the loaders nor the network check, before anything slow begins.

    Raises
    ------
    InputError
        If an argument breaks its rule, or does nothing, or a file is not there.
    """
    leasts = {name: 1 for name in ("epochs", "crop", "step_every", "patience", "early_stop", "save_every")}
    for name, least in (leasts | {"batchnorm_steps": 0}).items():
        value = getattr(config, name)
        if value is not None and value < least:
            raise InputError(f"{option(name)} must be at least {least}, got {value}")
    if config.classes is not None and config.classes < 2:
        raise InputError(f"--classes must be at least 2, got {config.classes}")
    if not (np.isfinite(config.lr) and config.lr > 0):
        raise InputError(f"--lr must be above 0, got {config.lr}")
    if not (np.isfinite(config.rank_timeout) and config.rank_timeout > 0):
        raise InputError(f"--rank-timeout must be above 0, got {config.rank_timeout}")
    for name in ("momentum", "label_smoothing", "pool_dropout"):
        value = getattr(config, name)
        if value is not None and not 0 <= value < 1:
            raise InputError(f"{option(name)} must be at least 0 and below 1, got {value}")
    if not 0 < config.factor < 1:
        raise InputError(f"--factor must be above 0 and below 1, got {config.factor}")
    for name in ("weight_decay", "l2", "warmup", "grace"):
        value = getattr(config, name)
        if value is not None and not (np.isfinite(value) and value >= 0):
            raise InputError(f"{option(name)} must be at least 0, got {value}")
    if config.full and not config.demo:
        raise InputError("--full goes with --demo only")
    if config.model != "alexnet" and ":" not in config.model:
        raise InputError(
            f"--model must be alexnet or MODULE:FUNCTION, such as keras.applications:MobileNetV2, got {config.model!r}"
        )
    for name in ("l2", "pool_dropout"):
        if getattr(config, name) is not None and config.model != "alexnet" and not config.demo:
            raise InputError(f"{option(name)} goes with --model alexnet only, got --model {config.model}")
    if config.freeze is not None and config.weights is None and config.model == "alexnet":
        raise InputError("--freeze keeps random weights for ever without --weights FILE.keras")
    if not config.demo and (config.train is None or config.val is None):
        raise InputError("--train FILE and --val FILE are needed, or --demo, or --resume RUN")
    if config.out is not None and config.resume is None and os.path.exists(config.out):
        raise InputError(f"--out: {config.out!r} exists already; a run never writes over another")
    if config.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise InputError("--tensorboard needs a package that is not installed: pip install tensorboard")
    files = [path for pattern in (config.train, config.val) if pattern is not None for path in _expanded(pattern)]
    if config.resume is None:  # a saved run has weights and mean of its own
        files += [config.weights] if config.weights is not None else []
        files += [config.mean] if config.mean not in ("file", "compute", "none") else []
    with input_errors(OSError):
        for path in files:
            open(path, "rb").close()


def _expanded(pattern: str) -> list[str]:
    with input_errors(OSError):
        return expand_paths(pattern)


def option(name: str) -> str:
    """Return what a field is called on the command line."""
    return "--" + name.replace("_", "-")


def shared_options(config: Config) -> dict[str, str]:
    """Return the options that are the same on all ranks of one run, by what they are called on the command line."""
    names = [field.name for field in dataclasses.fields(config) if field.name not in MAY_DIFFER]
    return {option(name): str(getattr(config, name)) for name in names}


def save(config: Config, path: str | Path) -> None:
    """Write a configuration as JSON."""
    Path(path).write_text(json.dumps(dataclasses.asdict(config), indent=2) + "\n", encoding="utf-8")


def load(path: str | Path) -> dict[str, Any]:
    """Read what `save` wrote, or a part of it written by hand.

    Returns
    -------
    dict
        Values by field; the types are not checked.

    Raises
    ------
    InputError
        If it is not there, or no JSON of such fields.
    """
    with input_errors(OSError):
        text = Path(path).read_bytes()
    try:
        values = json.loads(text)
    except ValueError as error:
        raise InputError(f"{str(path)!r} is no JSON: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{str(path)!r} must hold an object of options, found {type(values).__name__}")
    known = {field.name for field in dataclasses.fields(Config)}
    if unknown := sorted(set(values) - known):
        raise InputError(f"{str(path)!r} has options that there are not: {', '.join(unknown)}")
    return values


def arguments(values: dict[str, Any]) -> list[str]:
    """Write values of fields as a command line, so that one parser checks both.

    Raises
    ------
    InputError
        If a value is neither text, number, true, false nor null.
    """
    words = []
    for name, value in values.items():
        if isinstance(value, bool):
            words.append(option(name) if value else option("no_" + name))
        elif isinstance(value, str | int | float):
            words += [option(name), str(value)]
        elif value is not None:
            raise InputError(f"{name} must be text, a number, true, false or null, found {value!r}")
    return words
