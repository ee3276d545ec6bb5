"""Configuration of a training run: one frozen dataclass, its rules, and the JSON file that stores it."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from tyro.conf import arg

from fastprep.cli.help import flowing
from fastprep.dataset.dataset import expand_paths
from fastprep.errors import InputError, input_errors

_OF_A_HOST = ("train", "val", "workers", "grace", "tensorboard", "rank_timeout")
# Options that may change when a run is resumed; any other change would make it another run.
# Naming the axes settles a doubt, and changes no image.
MAY_CHANGE = (*_OF_A_HOST, "epochs", "early_stop", "save_every", "on_corrupt", "shuffle_window", "axes")
# Options that may differ between the ranks of a run: paths on their hosts, and how long to wait there.
MAY_DIFFER = (*_OF_A_HOST, "mean", "weights", "out", "resume", "config", "trust")
_NEVER_SAVED = frozenset({"trust"})  # a file does not say whether it is to be trusted
_LARGEST = 2**20  # bytes of a config.json that is read


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
    axes: Annotated[Literal["NHWC", "NHW"] | None, arg(metavar="AXES")] = None
    """Axes of the images: NHWC or NHW. Default: whichever fits the rank, if the shape makes it plausible."""
    labels: Annotated[str, arg(metavar="NAME")] = "labels"
    """Dataset of labels in the files: one integer, from 0, for each image."""
    classes: Annotated[int | None, arg(metavar="INT")] = None
    """Number of classes. Default: as many as the training file names (attribute class_names), or has labels."""
    demo: bool = False
    """Train and test on 2,624 photographs of solar cells from the package elpv-dataset. --demo --help shows its defaults."""
    full: bool = False
    """With --demo: images of 256 pixels and crops of 227 instead of the quick sizes. Takes half an hour or more without a GPU."""
    out: Annotated[str | None, arg(metavar="FOLDER")] = None
    """Run folder to create. Default: runs/DATE-TIME."""
    resume: Annotated[str | None, arg(metavar="RUN")] = None
    """Resume an interrupted run at the batch after its last save. Its configuration stays; only epochs, early-stop, workers,
    save-every, grace, on-corrupt, axes, shuffle-window, tensorboard, rank-timeout, the paths of the files and the number of ranks
    may change."""
    config: Annotated[str | None, arg(metavar="FILE")] = None
    """The config.json of another run as a starting point. Other options of the command line take precedence."""

    trust: bool = False
    """Import the modules, and run the code, that the files of --resume, --config and --weights name, if these files are your own.
    Without it, a module is imported only if --model names it."""

    model: Annotated[str, arg(metavar="alexnet|MODULE:FUNCTION")] = "alexnet"
    """Network: alexnet, one such as `keras.applications:MobileNetV2`, or your own function, which takes the shape of an image and
    the number of classes and returns a Keras model."""
    weights: Annotated[str | None, arg(metavar="FILE.keras")] = None
    """Start from the weights of a saved model. Layers whose shapes differ (the last one, for other classes) are initialised
    anew."""
    freeze: Annotated[str | None, arg(metavar="INT|PATTERN")] = None
    """Freeze the first INT layers that have weights, or the layers whose names match a pattern such as `conv2d*`."""

    epochs: int = 75
    """Passes over the training file."""
    batch_size: int = 128
    """Images in a step. With several ranks (docs/guide/distributed.md) this is the number for each rank; --lr is not scaled."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """sgd uses Nesterov momentum."""
    lr: float = 1e-3
    """Highest learning rate. For sgd, 1e-2 is a common choice."""
    momentum: float = 0.9
    """Momentum of sgd."""
    weight_decay: Annotated[float | None, arg(metavar="FLOAT")] = None
    """Weight decay, decoupled from the gradient and not applied to biases and normalisations. Default: 0.004 for adamw, 0 for the
    others."""
    l2: Annotated[float | None, arg(metavar="FLOAT")] = None
    """L2 penalty on AlexNet's kernels. Default: 2e-4, as in the tutorial. Other networks define their own."""
    pool_dropout: Annotated[float | None, arg(metavar="FLOAT")] = None
    """Rate of the dropout after AlexNet's pooling layers. Default: 0.25, as in the tutorial; the AlexNet paper has none (0)."""
    schedule: Literal["constant", "cosine", "step", "plateau"] = "constant"
    """Learning rate after the warm-up: constant; decreasing to 0 along half a cosine; multiplied by --factor after every
    --step-every epochs (step), or after --patience epochs without a better validation loss (plateau)."""
    warmup: Annotated[float | None, arg(metavar="EPOCHS")] = None
    """Epochs during which the learning rate rises from a tenth of --lr. Default: 1 for cosine, 0 for the others."""
    factor: float = 0.1
    """Factor of the learning rate; see --schedule."""
    step_every: int = 25
    """Epochs between two steps; see --schedule."""
    patience: int = 5
    """Epochs without a better validation loss; see --schedule."""
    monitor: Literal["accuracy", "loss"] = "accuracy"
    """How the best model, which is kept, is chosen: by validation accuracy, with the loss to break ties, or the other way
    round."""
    early_stop: Annotated[int | None, arg(metavar="EPOCHS")] = None
    """Stop after this many epochs without a better model."""
    label_smoothing: float = 0.0
    """Share of each label that is spread over all classes, 0..1. It applies to the validation loss as well."""
    class_weight: Annotated[str, arg(metavar="none|balanced|CLASS:WEIGHT,...")] = "none"
    """Weights of the classes in the training loss: `balanced` (N divided by the number of classes times the images of the class),
    or by number or name, such as `cat:1,dog:2.5`; classes that are not named have weight 1."""
    sample_weight: Annotated[str | None, arg(metavar="NAME")] = None
    """Dataset in the training file with a weight for each image in the training loss, multiplied by that of --class-weight."""
    batchnorm_steps: Annotated[int | None, arg(metavar="STEPS")] = None
    """Before each validation, replace the moving averages of batch normalisation by means and variances measured on this many
    training batches, with dropout off. The moving averages lag behind the weights, and dropout distorts them. 0: keep them.
    Default: 16, or as many as have 1,024 images, where the network has batch normalisation that learns."""
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """Keras' dtype policy for the network. mixed_float16 suits GPUs, and scales the loss."""

    crop: Annotated[int | None, arg(metavar="PIXELS")] = None
    """Side of the crops in pixels: random crops for training, the centre crop for validation. Default: 227 of 256 pixels, about
    seven eighths of the shorter side of the training images, but no more than the validation images have."""
    mirror: bool = True
    """Mirror half of the training crops left-right."""
    flip: bool = False
    """Flip half of the training crops top-bottom."""
    mean: Annotated[str, arg(metavar="file|compute|none|JSON")] = "file"
    """Mean to subtract: `file` (stored in the training file), `compute`, `none`, or the path of a JSON file with R, G and B."""
    on_corrupt: Literal["raise", "skip"] = "raise"
    """How to treat images that can't be read: `skip` takes the next ones in the file, and reports their number at the end."""
    shuffle_window: Annotated[int | None, arg(metavar="IMAGES")] = None
    """Images that are shuffled together where chunks hold several images (0: all, whatever that costs). Default: enough to mix
    the classes, as far as 1 GiB of memory allows it."""
    seed: int = 42
    """Seed of weights, dropout, order and crops."""
    deterministic: bool = False
    """Restrict Keras' backend to operations that give the same bits every time, as resuming with equal bits requires on GPUs.
    Slower there."""
    workers: Annotated[int | None, arg(metavar="INT")] = None
    """Threads that prepare batches. Default: one for each processor, but at most eight."""
    save_every: Annotated[int | None, arg(metavar="STEPS")] = None
    """Save the run for --resume every this many steps. Default: every ten minutes. It is also saved after every epoch."""
    grace: Annotated[float, arg(metavar="SECONDS")] = 25.0
    """How long the run may take to save after SIGTERM or SIGHUP before it ends all the same. Schedulers kill after about 30 s."""
    tensorboard: bool = False
    """Write RUN/tensorboard as well."""
    rank_timeout: Annotated[float, arg(metavar="SECONDS")] = 300.0
    """With several ranks (TF_CONFIG): how long a rank waits for the others, at the start and in a step, before it ends.
    FASTPREP_RANK_SECRET in the environment of all ranks keeps strangers out of their meeting at the start."""


def option(name: str) -> str:
    """Return the name of a field on the command line."""
    return "--" + name.replace("_", "-")


class _Rule(NamedTuple):
    """Range of some options; None, where an option may be left out, obeys every rule."""

    options: tuple[str, ...]
    text: str
    holds: Callable[[Any], bool]


class _Conflict(NamedTuple):
    """Combination of options that is an error; the text is a format string for `config`."""

    text: str
    applies: Callable[[Config], bool]


_RULES = (
    _Rule(("epochs", "crop", "step_every", "patience", "early_stop", "save_every"), "at least 1", lambda value: value >= 1),
    _Rule(("batchnorm_steps", "shuffle_window"), "at least 0", lambda value: value >= 0),
    _Rule(("classes",), "at least 2", lambda value: value >= 2),
    _Rule(("lr", "rank_timeout"), "above 0", lambda value: np.isfinite(value) and value > 0),
    _Rule(("momentum", "label_smoothing", "pool_dropout"), "at least 0 and below 1", lambda value: 0 <= value < 1),
    _Rule(("factor",), "above 0 and below 1", lambda value: 0 < value < 1),
    _Rule(("weight_decay", "l2", "warmup", "grace"), "at least 0", lambda value: np.isfinite(value) and value >= 0),
)


def _only_alexnet(name: str) -> _Conflict:
    text = f"{option(name)} goes with --model alexnet only, got --model {{config.model}}"
    return _Conflict(text, lambda config: getattr(config, name) is not None and config.model != "alexnet" and not config.demo)


_CONFLICTS = (
    _Conflict(
        "--trust goes with --resume, --config or --weights, whose files it trusts",
        lambda config: config.trust and config.resume is None and config.config is None and config.weights is None,
    ),
    _Conflict("--full goes with --demo only", lambda config: config.full and not config.demo),
    _Conflict(
        "--model must be alexnet or MODULE:FUNCTION, such as keras.applications:MobileNetV2, got {config.model!r}",
        lambda config: config.model != "alexnet" and ":" not in config.model,
    ),
    _only_alexnet("l2"),
    _only_alexnet("pool_dropout"),
    _Conflict(
        "--freeze keeps random weights for ever without --weights FILE.keras",
        lambda config: config.freeze is not None and config.weights is None and config.model == "alexnet",
    ),
    _Conflict(
        "--train FILE and --val FILE are needed, or --demo, or --resume RUN",
        lambda config: not config.demo and (config.train is None or config.val is None),
    ),
    _Conflict(
        "--out: {config.out!r} exists already; a run never writes over another",
        lambda config: config.out is not None and config.resume is None and os.path.lexists(config.out),
    ),
    _Conflict(
        "--tensorboard needs a package that is not installed: pip install tensorboard",
        lambda config: config.tensorboard and importlib.util.find_spec("tensorboard") is None,
    ),
    _Conflict(
        "--tensorboard needs TensorFlow, which writes its files whatever Keras runs on: pip install tensorflow",
        lambda config: config.tensorboard and importlib.util.find_spec("tensorflow") is None,
    ),
)


def check(config: Config) -> None:
    """Check everything that neither the loaders nor the network check, before anything slow begins.

    Raises
    ------
    InputError
        If an option breaks its rule or has no effect, or a file does not exist.
    """
    for rule in _RULES:
        for name in rule.options:
            value = getattr(config, name)
            if value is not None and not rule.holds(value):
                raise InputError(f"{option(name)} must be {rule.text}, got {value}")
    for conflict in _CONFLICTS:
        if conflict.applies(config):
            raise InputError(conflict.text.format(config=config))
    with input_errors(OSError):
        for path in _input_files(config):
            open(path, "rb").close()


def _input_files(config: Config) -> list[str]:
    files = [path for pattern in (config.train, config.val) if pattern is not None for path in _expanded(pattern)]
    if config.resume is None:  # a saved run has its own weights and mean
        files += [config.weights] if config.weights is not None else []
        files += [config.mean] if config.mean not in ("file", "compute", "none") else []
    return files


def _expanded(pattern: str) -> list[str]:
    with input_errors(OSError):
        return expand_paths(pattern)


def shared_options(config: Config) -> dict[str, str]:
    """Return the options that are the same on all ranks of one run, by their names on the command line."""
    names = [field.name for field in dataclasses.fields(config) if field.name not in MAY_DIFFER]
    return {option(name): str(getattr(config, name)) for name in names}


def save(config: Config, path: str | Path) -> None:
    """Write a configuration as JSON."""
    values = {name: value for name, value in dataclasses.asdict(config).items() if name not in _NEVER_SAVED}
    Path(path).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def load(path: str | Path) -> dict[str, Any]:
    """Read a file that `save` wrote, or one written by hand with some of the options.

    Returns
    -------
    dict
        Values by field; their types are not checked.

    Raises
    ------
    InputError
        If the file can't be read, is not JSON, or has unknown options.
    """
    with input_errors(OSError), open(path, "rb") as file:
        text = file.read(_LARGEST + 1)
    if len(text) > _LARGEST:
        raise InputError(f"{str(path)!r} must be a file of options of at most {_LARGEST:,} bytes, it has more")
    try:
        values = json.loads(text)
    except ValueError as error:
        raise InputError(f"{str(path)!r} is not JSON: {error}") from None
    except RecursionError:
        raise InputError(f"{str(path)!r} is nested too deeply: options are text, numbers, true, false or null") from None
    if not isinstance(values, dict):
        raise InputError(f"{str(path)!r} must hold an object of options, found {type(values).__name__}")
    known = {field.name for field in dataclasses.fields(Config)} - _NEVER_SAVED
    if unknown := sorted(set(values) - known):
        raise InputError(f"{str(path)!r} has unknown options: {', '.join(unknown)}")
    return values


def arguments(values: dict[str, Any]) -> list[str]:
    """Return values of fields as a command line, so that one parser checks both.

    Raises
    ------
    InputError
        If a value is not text, a number, true, false or null.
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
